// What a Node program would use in the sidecar's place, as its library's page shows it; says the id of every operation it was
// given, a line each, on standard output or in a file.
//
//   reader.mjs wal2json|pgoutput|notify URL [--slot NAME] [--file FILE] [--sink MS] [--waits] [--until COUNT]
//
// --sink: so long does the place where an operation goes take for each, one after another, as a connection to a database would.
// --waits: the library's flow control, which acknowledges behind the sink. --until: only counts, and says "all" when it has so many.
import { appendFileSync, writeSync } from "node:fs";
import { createRequire } from "node:module";
import { setTimeout as sleep } from "node:timers/promises";
import { parseArgs } from "node:util";

const text = { type: "string" };
const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: { slot: text, file: text, sink: text, until: text, waits: { type: "boolean" } },
});
const [kind, connectionString] = positionals;
const until = Number(values.until ?? 0);
const require = createRequire(process.env.SYNCFLOW_PEERS + "/");
let count = 0;
let sink = Promise.resolve();

function take(id) {
  if (until) {
    if (++count === until) writeSync(1, "all\n");
    return undefined;
  }
  if (!values.sink) return put(id);
  sink = sink.then(() => sleep(Number(values.sink))).then(() => put(id));
  return sink;
}

function put(id) {
  const line = JSON.stringify(id) + "\n";
  values.file ? appendFileSync(values.file, line) : writeSync(1, line);
}

async function followSlot() {
  const { LogicalReplicationService, PgoutputPlugin, Wal2JsonPlugin } = require("pg-logical-replication");
  const config = values.waits ? { flowControl: { enabled: true } } : {};
  const service = new LogicalReplicationService({ connectionString }, { acknowledge: { auto: true, timeoutSeconds: 10 }, ...config });
  const plugin = kind === "pgoutput"
    ? new PgoutputPlugin({ protoVersion: 1, publicationNames: ["syncflow_sidecar"] })
    : new Wal2JsonPlugin({ formatVersion: 2, addTables: "public.operations", actions: "insert", includeTypes: false });
  service.on("start", () => writeSync(2, "ready\n"));
  service.on("error", () => {});
  service.on("data", async (_, message) => {
    if (kind === "pgoutput" && message.tag === "insert") await take(message.new.id);
    if (kind === "wal2json" && message.action === "I") await take(message.columns.find(({ name }) => name === "id").value);
  });
  for (;;) {
    await service.subscribe(plugin, values.slot).catch(() => {});
    await sleep(100);
  }
}

// NOTIFY carries the id; the operation is read from the table.
async function listen() {
  const createSubscriber = require("pg-listen").default;
  const { Pool } = require("pg");
  const pool = new Pool({ connectionString, max: 1 });
  pool.on("error", () => {});
  const subscriber = createSubscriber({ connectionString }, { retryTimeout: Infinity });
  subscriber.events.on("error", () => {});
  subscriber.notifications.on("operation_inserted", async ({ id }) => {
    const found = await pool.query("SELECT * FROM operations WHERE id = $1", [id]).catch(() => undefined);
    if (found?.rowCount) await take(id);
  });
  await subscriber.connect();
  await subscriber.listenTo("operation_inserted");
  writeSync(2, "ready\n");
}

process.on("unhandledRejection", () => {});
await (kind === "notify" ? listen() : followSlot());
