import { connect } from "node:net";
(function follow(host, port, cursor = "latest", rest = "", answered = false) {
  const feed = connect(port, host).setEncoding("utf8").setTimeout(40_000, () => feed.destroy());
  feed.on("error", () => {}).on("close", () => setTimeout(follow, 1000, host, port, cursor));
  feed.write(JSON.stringify({ type: "hello", version: 1, from: cursor, heartbeat: 15 }) + "\n");
  feed.on("data", (text) => {
    const lines = (rest + text).split("\n");
    rest = lines.pop();
    for (const line of lines.map((text) => JSON.parse(text))) {
      if (!(answered ||= line.mode === "negotiated" || line.fatal)) continue;
      if (line.type === "error" && line.fatal && !line.retry) throw new Error(line.message);
      if (line.type === "change") console.log(JSON.stringify(line.op));
      cursor = line.cursor || line.start || cursor;
    }
  });
})(process.argv[2], process.argv[3]);
