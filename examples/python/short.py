import contextlib, itertools, json, socket, sys, time
host, port, cursor = sys.argv[1], sys.argv[2], "latest"
while True:
    with contextlib.suppress(OSError, ValueError), socket.create_connection((host, port), 40) as feed:
        feed.sendall(json.dumps({"type": "hello", "version": 1, "from": cursor, "heartbeat": 15}).encode() + b"\n")
        unasked = lambda line: line.get("mode") != "negotiated" and not line.get("fatal")
        for line in itertools.dropwhile(unasked, map(json.loads, feed.makefile("rb"))):
            if line["type"] == "error" and line["fatal"] and not line["retry"]: sys.exit(line["message"])
            if line["type"] == "change": print(json.dumps(line["op"]), flush=True)
            cursor = line.get("cursor") or line.get("start") or cursor
    time.sleep(1)
