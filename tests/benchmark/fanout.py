#!/usr/bin/python3
"""Fan-out: bursts of 1 to 256 operations to 1 to 1000 consumers, beside nats-server (core) and Redis pub/sub with payloads of the same
size, in turn. The same program listens to all three (fanout.cc). --tls: the feed's consumers with TLS as well.

Then the same bursts as a stream: each is published when every consumer has the one before the last.

Deliveries a second of a burst are counted from the first byte that any consumer has to the last byte of the last one, without the time that PostgreSQL
takes to commit; the processor time is the server's process's, all of it: the sidecar's decoding and journal too."""

import argparse
import os
import subprocess
import sys
import time

import bench
import certificate
from postgres import free_port
from sidecar import ROOT
from waiting import wait_until

PROGRAM = os.path.join(bench.BUILD, "fanout")
TOOLS = os.path.join(ROOT, "build", "tools")
CONSUMERS = (1, 10, 100, 1000)
MESSAGES = (1, 16, 64, 256)
BURSTS = 15
REDIS = "/usr/bin/redis-check-rdb"  # one program of many names; this one is in redis-tools, which starts no server


class Server:
    """What is measured: a process that listens on a port."""

    def __init__(self, kind, name, port, pid, more=()):
        self.kind, self.name, self.port, self.pid, self.more = kind, name, port, pid, more
        self.rows = {}  # (consumers, messages) -> [(spread, whole, used, added, stream, used in it) of each round]

    def measure(self, consumers, messages):
        words = [self.kind, self.port, self.pid, consumers, messages, BURSTS, *self.more]
        output = subprocess.run([PROGRAM, *map(str, words)], check=True, stdout=subprocess.PIPE, text=True).stdout
        self.rows.setdefault((consumers, messages), []).append([int(number) for number in output.split()])

    def median(self, at, column):
        return bench.median([row[column] for row in self.rows[at]])

    def rate(self, at):
        """Deliveries a second; 0 where there is only one."""
        spread = self.median(at, 0)
        return at[0] * at[1] / spread * 1e9 if at != (1, 1) else 0

    def stream_rate(self, at):
        """Deliveries a second while the next burst is waiting or on its way."""
        return at[0] * at[1] * BURSTS / self.median(at, 4) * 1e9

    def cost(self, at, column=2):
        """Microseconds of processor for a delivery."""
        return self.median(at, column) / 1000 / BURSTS / at[0] / at[1]


def start(rig, *command):
    """A process that goes with the rig, and with this one."""
    process = subprocess.Popen(["setpriv", "--pdeathsig=KILL", *command], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, cwd=rig.folder)

    class Stop:
        @staticmethod
        def stop():
            process.kill()
            process.wait()

    rig.stops(Stop)
    return process.pid


def nats(rig):
    port, conf = free_port(), os.path.join(rig.folder, "nats.conf")
    with open(conf, "w", encoding="utf-8") as file:
        file.write(f'host: 127.0.0.1\nport: {port}\nping_interval: "1h"\n')
    return Server("nats", "nats-server", port, start(rig, os.path.join(TOOLS, "nats-server"), "-c", conf))


def redis(rig):
    port = free_port()
    named = ["bash", "-c", 'exec -a redis-server "$0" "$@"', REDIS]
    words = ["--port", str(port), "--bind", "127.0.0.1", "--save", "", "--client-output-buffer-limit", "pubsub", "0", "0", "0"]
    return Server("redis", "Redis", port, start(rig, *named, *words))


def feed(rig, tls):
    name = "feed, TLS" if tls else "feed"
    settings = {"feed.tls": certificate.make(rig.folder)} if tls else {}
    sidecar = rig.sidecar("tls" if tls else "plain", **{"notify.mode": "off", "notify.watch": False, "log.level": "warning", **settings})
    sidecar.start_ready()
    return Server("feed", name, sidecar.feed[1], sidecar.process.pid, ("tls" if tls else "plain", rig.server.url))


def listens(port):
    with open("/proc/net/tcp", encoding="utf-8") as file:
        return f":{port:04X} 00000000:0000 0A" in file.read()


def report(servers, rounds):
    def line(at):
        cells = [f"{at[0]} x {at[1]}"]
        for server in servers:
            cells += [f"{server.rate(at):,.0f}" if at != (1, 1) else "-", f"{server.cost(at):.2f}", f"{server.median(at, 0) / 1000:,.0f}",
                      f"{server.stream_rate(at):,.0f}", f"{server.cost(at, 5):.2f}"]
        return cells

    columns = [""]
    for server in servers:
        columns += [f"{server.name}: deliveries/s", "CPU us each", "first to last us", "in a stream/s", "CPU us each"]
    sizes = [(consumers, messages) for consumers in CONSUMERS for messages in MESSAGES]
    bench.table(f"fan-out: consumers x operations at once, medians of {rounds} rounds of {BURSTS} bursts", columns, [line(at) for at in sizes])
    most = max(CONSUMERS), 64
    print()
    for other in servers[-2:]:
        spread, whole, stream = (bench.median([theirs[column] / ours[column] for ours, theirs in zip(servers[0].rows[most], other.rows[most])])
                                 for column in (0, 1, 4))
        print(f"  feed against {other.name}, {most[0]} x {most[1]}: {stream:.2f} of its deliveries/s in a stream (goal >= 2); of a burst"
              f" {spread:.2f} from the first delivery on, {whole:.2f} when the time before counts, the feed's with INSERT and COMMIT")
    print(f"  feed, {most[0]} x {most[1]}: {servers[0].rate(most) / 1e6:.2f} M deliveries/s of a burst, {servers[0].stream_rate(most) / 1e6:.2f} M in a stream (goal >= 3)")
    for server in servers:
        added = max(row[3] for at, rows in server.rows.items() if at[0] == most[0] for row in rows)  # later ones use it again
        late = (server.median((most[0], 1), 1) - server.median((1, 1), 1)) / 1000
        print(f"  {server.name}: {added / most[0]:,.0f} bytes of its memory for each of {most[0]} consumers; the last of them has a single operation"
              f" {late:,.0f} us later than a single consumer")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--tls", action="store_true")
    arguments = parser.parse_args()
    with bench.rig() as rig:
        servers = [feed(rig, tls=False), *([feed(rig, tls=True)] if arguments.tls else []), nats(rig), redis(rig)]
        for server in servers:
            wait_until(lambda port=server.port: listens(port), f"{server.name} to listen")
        for _ in range(arguments.rounds):
            for consumers in CONSUMERS:
                for messages in MESSAGES:
                    for server in servers:
                        server.measure(consumers, messages)
                        time.sleep(0.1)  # what it closed is its own affair
        report(servers, arguments.rounds)


if __name__ == "__main__":
    sys.exit(main())
