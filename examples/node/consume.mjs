#!/usr/bin/env node
// A complete client of the feed in one file, with Node's standard library only: prints changes, or keeps them in a file.
//
//   consume.mjs 127.0.0.1:7433                  what is new; comes back after every break
//   consume.mjs 127.0.0.1:7433 --name billing   the feed remembers the place: what was printed is acknowledged
//   consume.mjs 127.0.0.1:7433 --file copy.ndjson --from snapshot
//                                               all documents, then changes, into a file; started again, it goes on behind its last line
import { randomBytes } from "node:crypto";
import { appendFileSync, ftruncateSync, openSync, readFileSync } from "node:fs";
import net from "node:net";
import { setTimeout as sleep } from "node:timers/promises";
import tls from "node:tls";
import { parseArgs } from "node:util";

const HEARTBEAT = 15; // seconds
const PRINTED = ["change", "gap", "snapshot_begin", "document", "snapshot_end"];
// The key that says where to go on after a line of this type.
const PLACE = { hello: "start", gap: "resume", change: "cursor", snapshot_end: "cursor", live: "cursor", heartbeat: "cursor" };

// What the next hello says to get what follows this line; undefined: the line tells nothing about that.
function placeAfter(line) {
  if (line.type === "snapshot_begin" || line.type === "document") {
    return { from: "snapshot", snapshot: line.snapshot, number: (line.number ?? -1) + 1 };
  }
  const from = line[PLACE[line.type]];
  return from && { from };
}

class Client {
  constructor(options) {
    this.options = options;
    const [, host, port] = options.address.match(/^\[?(.*?)\]?:(\d+)$/) ?? this.end(`${options.address} is not host:port`);
    this.address = { host, port };
    this.place = options.from ? { from: options.from } : {};
    this.pause = 500;
    if (options.file) this.findPlace();
  }

  // The file's last line says where to go on; one that was not written to its end is cut off.
  findPlace() {
    this.file = openSync(this.options.file, "a+");
    const bytes = readFileSync(this.options.file);
    const whole = bytes.lastIndexOf("\n") + 1;
    ftruncateSync(this.file, whole);
    if (whole === 0) return;
    const start = bytes.lastIndexOf("\n", whole - 2) + 1;
    this.place = placeAfter(JSON.parse(bytes.subarray(start, whole)));
  }

  async run() {
    for (;;) {
      this.answered = false;
      this.wait = this.pause * (0.5 + Math.random() / 2);
      this.pause = Math.min(this.pause * 2, 30_000);
      const reason = await this.follow().catch((error) => error.message);
      console.error(`${reason}; once more in ${Math.round(this.wait)} ms`);
      await sleep(this.wait);
    }
  }

  connect() {
    const [ca, cert, key] = ["tls-ca", "tls-certificate", "tls-key"].map((name) => this.options[name] && readFileSync(this.options[name]));
    const feed = ca ? tls.connect({ ...this.address, ca, cert, key }) : net.connect(this.address);
    return feed.setEncoding("utf8").setTimeout(2.5 * HEARTBEAT * 1000, () => feed.destroy(new Error("no line came")));
  }

  async follow() {
    const { name, collection: collections, "token-file": tokenFile } = this.options;
    const token = tokenFile && readFileSync(tokenFile, "utf8").split("\n")[0];
    this.request = randomBytes(4).toString("hex");
    const feed = this.connect();
    const say = (line) => feed.write(JSON.stringify(line) + "\n");
    const asked = { request: this.request, token, name, collections, heartbeat: HEARTBEAT, on_gap: "continue" };
    say({ type: "hello", version: 1, ...asked, ...this.place });
    let acknowledged = this.place;
    let rest = "";
    for await (const text of feed) {
      const lines = (rest + text).split("\n");
      rest = lines.pop();
      const printed = lines.filter((line) => this.take(JSON.parse(line)));
      try {
        if (printed.length) this.print(printed.join("\n") + "\n");
      } catch (error) {
        this.end(`cannot be written: ${error.message}`); // the file knows its place, this.place is ahead of it
      }
      if (this.refused) this.end(this.refused);
      if (!name || !this.answered || this.place === acknowledged || this.place.from === "snapshot") continue;
      say({ type: "ack", cursor: this.place.from });
      acknowledged = this.place;
    }
    return "the feed closed the connection";
  }

  // True: the line is to be printed.
  take(line) {
    if (line.type === "error") {
      const sentence = `${line.code}: ${line.message}`;
      if (line.fatal && !line.retry) this.refused = sentence; // would only be refused again
      else console.error(sentence);
    }
    if (line.type === "bye") this.wait = line.retry_ms;
    if (line.code === "rights_changed" && this.place.from === "snapshot") this.place = { from: "snapshot" }; // some may have passed already
    if (line.type === "hello" && line.request === this.request) [this.answered, this.pause] = [true, 500];
    if (!this.answered) return false; // of the stream that began before the hello was heard
    const begins = line.type === "snapshot_begin";
    if (begins && line.snapshot === this.place.snapshot) return false; // goes on
    if (begins && this.file) ftruncateSync(this.file, 0); // what there is belongs to a snapshot that is gone
    this.place = placeAfter(line) ?? this.place;
    return PRINTED.includes(line.type);
  }

  print(text) {
    if (this.file) appendFileSync(this.file, text);
    else process.stdout.write(text); // into a pipe or a file, Node waits here
  }

  end(sentence) {
    console.error(sentence);
    process.exit(1);
  }
}

process.stdout.on("error", (error) => process.exit(error.code === "EPIPE" ? 0 : 1)); // 0: nobody reads any more
const text = { type: "string" };
const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: { from: text, collection: { ...text, multiple: true }, name: text, file: text, "token-file": text,
    "tls-ca": text, "tls-certificate": text, "tls-key": text },
});
new Client({ address: positionals[0] ?? "127.0.0.1:7433", ...values }).run();
