-- Requests for wrk: operations RUN (batches of 50 new documents), changes RUN or clock RUN (pages of 100 from anywhere in the table).
local what, run, made = "", "", 0

function init(words)
  what, run = words[1], words[2]
  wrk.method = "POST"
  wrk.headers["Content-Type"] = "application/json"
end

local function operations()
  local batch = {}
  for _ = 1, 50 do
    made = made + 1
    batch[#batch + 1] = string.format(
      '{"id":"r%s-%d","type":"insert","collection":"todos","docId":"r%s-%d","data":{"title":"%s","done":false,"position":%d},' ..
      '"timestamp":%d,"clientId":"r%s","synced":false,"vectorClock":{"r%s":%d}}',
      run, made, run, made, string.rep("x", 150), made, 1800000000000 + made, run, run, made)
  end
  return '{"clientId":"r' .. run .. '","operations":[' .. table.concat(batch, ",") .. "]}"
end

-- As a client that has seen everything up to its place; with `clock` it says so, as SyncFlow's clients do.
local function changes(clock)
  local place = math.random(0, 90000)
  local seen = clock and string.format(',"vectorClock":{"fill":%d,"reader":1}', place) or ""
  return string.format('{"clientId":"reader","limit":100,"since":%d%s}', 1700001000000 + place, seen)
end

function request()
  if what == "operations" then return wrk.format(nil, "/operations", nil, operations()) end
  return wrk.format(nil, "/changes", nil, changes(what == "clock"))
end

function done(summary, latency)
  io.write(string.format("result %d %d %d %d %d\n", summary.requests, summary.duration, summary.errors.status + summary.errors.read +
    summary.errors.write + summary.errors.connect + summary.errors.timeout, latency:percentile(50), latency:percentile(99)))
end
