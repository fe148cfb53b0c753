#!/usr/bin/python3
"""What a user would pick instead, on the same server and data, in turn: pg_recvlogical, Node readers of a slot (npm's
pg-logical-replication, with wal2json and pgoutput), a Node listener of NOTIFY (pg-listen and a SELECT). For NATS and Redis, the
half that fans out, see fanout.

  drain    a filled slot: changes a second, the reader's processor time for a change, its greatest resident memory
  latency  from INSERT sent to row received, one commit at a time
  loss     writers go on while the reader is killed (-9) and started again, and PostgreSQL is (immediate): what never arrives, and
           what arrives twice (from the sidecar, under the same cursor). The place where a Node reader's operations go takes 2 ms for each, one after another, as a
           database would: who acknowledges what was merely received loses what was on its way. Settled when nothing more has come
           for five seconds.
"""

import argparse
import collections
import json
import os
import platform
import select
import socket
import subprocess
import time

import bench
import drain
from waiting import wait_until
from writer import Writers

READER = os.path.join(bench.HERE, "peers", "reader.mjs")
MODULES = os.path.join(bench.ROOT, "build", "tools", "peers")
ENVIRONMENT = {**os.environ, "SYNCFLOW_PEERS": MODULES}
INSERT = """INSERT INTO operations (id, type, collection, doc_id, data, timestamp, client_id, vector_clock)
            VALUES (%s, 'insert', 'todos', 'doc-1', '{"title": "x"}', 1700000000000, 'client-1', '{"client-1": 1}')"""
SINK = "2"  # milliseconds


class Node:
    """reader.mjs, running and ready."""

    def __init__(self, server, kind, slot=None, *words):
        self.command = ["setpriv", "--pdeathsig=KILL", "node", READER, kind, server.server.url, *(["--slot", slot] if slot else []), *words]
        self.start()

    def start(self):
        self.process = subprocess.Popen(self.command, env=ENVIRONMENT, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        line = self.process.stderr.readline()
        assert line == b"ready\n", line + self.process.stderr.read()

    def kill(self):
        self.process.kill()
        self.process.communicate()

    stop = kill


# ---- drain ----

def node_drain(server, kind, slot, total):
    began = time.monotonic()
    node = Node(server, kind, slot, "--until", str(total))
    assert node.process.stdout.readline() == b"all\n"
    elapsed = time.monotonic() - began
    spent, peak = drain.processor_seconds(node.process.pid), drain.memory_peak(node.process.pid)
    node.stop()
    return elapsed, spent, peak


def recvlogical_drain(server, plugin, slot, end):
    output = os.path.join(server.folder, "recvlogical.out")
    command = [os.path.join(server.server.bin, "pg_recvlogical"), "-d", server.server.url, "--slot", slot, "--start", "--endpos", end,
               "-f", output, "--no-loop", *(word for option in bench.PLUGIN_OPTIONS[plugin] for word in ("-o", option))]
    began = time.monotonic()
    process = subprocess.Popen(command)
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    assert process.returncode == 0
    elapsed = time.monotonic() - began
    os.remove(output)
    return elapsed, [usage.ru_utime, usage.ru_stime], usage.ru_maxrss / 1024


def drains(server, total, rounds):
    results = collections.defaultdict(list)
    for plugin in ("wal2json", "pgoutput"):
        base = f"base_{plugin}"
        end = drain.fill(server, base, plugin, 100, total)
        ways = {
            f"pg_recvlogical to a file, {plugin}": lambda slot: recvlogical_drain(server, plugin, slot, end),  # noqa: B023
            f"Node, pg-logical-replication, {plugin}": lambda slot: node_drain(server, plugin, slot, total),  # noqa: B023
            f"syncflow-sidecar and a consumer, {plugin}": lambda slot: drain.sidecar_drain(server, slot, total),
        }
        for number in range(rounds):
            for order, (way, run) in enumerate(ways.items()):
                slot = f"{plugin}_{number}_{order}"
                drain.copy_slot(server, base, slot)
                results[way].append(run(slot))
                drain.drop_slot(server, slot)
        drain.drop_slot(server, base)
    return [[way, f"{total / bench.median([run[0] for run in runs]):,.0f}", f"{bench.median([sum(run[1]) for run in runs]) / total * 1e6:.1f}",
             f"{max(run[2] for run in runs):.0f}"] for way, runs in results.items()]


# ---- latency ----

class Lines:
    """Waits for a line that has an id in it."""

    def __init__(self, fd):
        self.fd = fd
        self.rest = b""

    def wait_for(self, id):
        while id not in self.rest:
            assert select.select([self.fd], [], [], 60)[0], f"nothing about {id}"
            self.rest += os.read(self.fd, 1 << 16)
        self.rest = b""


def commit_by_commit(server, fd, prefix, commits):
    """Microseconds for each."""
    lines, times = Lines(fd), []
    connection = server.connect()
    with connection.cursor() as cursor:
        for number in range(commits + 20):
            id = f"{prefix}-{number}-"
            began = time.perf_counter_ns()
            cursor.execute(INSERT, (id,))
            lines.wait_for(id.encode())
            if number >= 20:
                times.append((time.perf_counter_ns() - began) / 1000)
    connection.close()
    return times


def trigger(server, state):
    server.execute(f"ALTER TABLE operations {state} TRIGGER USER")


def through_node(server, kind, prefix, commits):
    slot = None if kind == "notify" else f"latency_{kind}"
    if slot:
        server.execute("SELECT pg_create_logical_replication_slot(%s, %s)", slot, kind)
    node = Node(server, kind, slot)
    try:
        return commit_by_commit(server, node.process.stdout.fileno(), prefix, commits)
    finally:
        node.stop()
        if slot:
            wait_until(lambda: drain.drop_slot(server, slot) or server.slot_fact(slot, "slot_name") is None, "the slot to be free")


def through_sidecar(server, sidecar, prefix, commits):
    with socket.create_connection(sidecar.feed) as consumer:
        consumer.sendall(b'{"type":"hello","version":1,"from":"latest"}\n')
        Lines(consumer.fileno()).wait_for(b'"type":"live"')
        return commit_by_commit(server, consumer.fileno(), prefix, commits)


def latencies(server, commits, rounds):
    ways = collections.defaultdict(list)
    sidecar = server.sidecar("latency", **{"notify.mode": "trigger", "notify.watch": False, "log.level": "warning"}).start_ready()
    trigger(server, "DISABLE")
    for number in range(rounds):
        ways["syncflow-sidecar, wal2json"].append(through_sidecar(server, sidecar, f"s{number}", commits))
        sidecar.pause()  # costs the others nothing
        for plugin in ("wal2json", "pgoutput"):
            ways[f"Node, pg-logical-replication, {plugin}"].append(through_node(server, plugin, f"{plugin}{number}", commits))
        trigger(server, "ENABLE")
        ways["Node, pg-listen and SELECT"].append(through_node(server, "notify", f"n{number}", commits))
        trigger(server, "DISABLE")
        sidecar.resume()
    sidecar.terminate()
    server.execute("SELECT pg_drop_replication_slot(%s)", sidecar.slot)
    trigger(server, "ENABLE")
    return [[way, *(f"{bench.median([bench.percentile(run, share) for run in runs]):.0f}" for share in (0.5, 0.99))] for way, runs in ways.items()]


# ---- loss ----

class SidecarAndTail:
    """The sidecar, and `tail --name`, which acknowledges what it has written into a file; both are killed."""

    def __init__(self, server, file):
        self.file = file
        self.sidecar = server.sidecar("loss", **{"notify.mode": "trigger", "log.level": "warning"}).start_ready()
        self.start_tail()
        wait_until(lambda: '"peer"' in self.sidecar.get("/consumers")[1], "tail to be known", context=self.sidecar.log_tail)

    def start_tail(self):
        host, port = self.sidecar.feed
        with open(self.file, "ab") as output:
            self.tail = subprocess.Popen(["setpriv", "--pdeathsig=KILL", self.sidecar.program, "tail", f"{host}:{port}", "--name", "peer"], stdout=output, stderr=subprocess.DEVNULL)

    def kill(self):
        self.sidecar.kill()
        self.tail.kill()
        self.tail.wait()

    def start(self):
        self.sidecar.start()
        self.start_tail()

    def stop(self):
        self.kill()


def loss(server, reader, file, operations, seed):
    """Committed, lost, and arrived twice."""
    writers = server.stops(Writers(server.server.url, seed, limit=operations, rest=0.004, prefix=f"loss{seed}")).start()

    def wait_for(share):
        wait_until(lambda: writers.count() >= operations * share or not writers.running(), f"{share:.0%} of the operations")

    wait_for(0.25)
    reader.kill()
    time.sleep(1)
    reader.start()
    wait_for(0.5)
    server.server.stop("immediate")
    server.server.start()
    wait_for(0.75)
    reader.kill()
    time.sleep(1)
    reader.start()
    writers.join()
    writers.resolve()
    committed = set(writers.committed())
    received = settled(file)
    reader.stop()
    counts = collections.Counter(id for id in received if id in committed)
    return [len(committed), len(committed) - len(counts), sum(counts.values()) - len(counts)]


def settled(file):
    """The ids in the file once nothing more has come for five seconds."""
    size, since = -1, time.monotonic()
    while time.monotonic() - since < 5:
        now = os.path.getsize(file) if os.path.exists(file) else 0
        if now != size:
            size, since = now, time.monotonic()
        time.sleep(0.1)
    with open(file, encoding="utf-8", newline="\n") as lines:
        lines = [json.loads(line) for line in lines.read().split("\n")[:-1]]
    return [line if isinstance(line, str) else line["op"]["id"] for line in lines if isinstance(line, str) or line["type"] == "change"]


def losses(server, operations):
    rows = []
    for seed, (way, kind, words) in enumerate([
            ("Node, pg-listen and SELECT", "notify", ()),
            ("Node, pg-logical-replication, wal2json", "wal2json", ()),
            ("the same with its flow control", "wal2json", ("--waits",)),
            ("Node, pg-logical-replication, pgoutput", "pgoutput", ())]):
        file = os.path.join(server.folder, f"ids-{seed}")
        slot = None if kind == "notify" else f"loss_{seed}"
        if slot:
            server.execute("SELECT pg_create_logical_replication_slot(%s, %s)", slot, kind)
        node = Node(server, kind, slot, "--file", file, "--sink", SINK, *words)
        rows.append([way, *loss(server, node, file, operations, seed)])
        if slot:
            wait_until(lambda: drain.drop_slot(server, slot) or server.slot_fact(slot, "slot_name") is None, "the slot to be free")  # noqa: B023
    file = os.path.join(server.folder, "ids-sidecar")
    rows.append(["syncflow-sidecar and tail --name", *loss(server, SidecarAndTail(server, file), file, operations, 9)])
    return rows


def version(*command):
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--changes", type=int, default=200_000, help="to drain")
    parser.add_argument("--commits", type=int, default=500, help="one by one")
    parser.add_argument("--operations", type=int, default=4000, help="while things are killed")
    arguments = parser.parse_args()
    if not os.path.isdir(os.path.join(MODULES, "node_modules")):
        raise SystemExit(f"the npm packages are not in {MODULES}: run scripts/setup bench where npm can fetch them")
    with bench.rig() as server:
        bench.create_schema(server)
        trigger(server, "DISABLE")
        server.execute("CREATE PUBLICATION syncflow_sidecar FOR TABLE ONLY operations WITH (publish = 'insert')")
        print(f"{platform.machine()}, {os.cpu_count()} processors; {version(f'{server.server.bin}/postgres', '--version')}; Node.js {version('node', '--version')}")
        bench.table(f"drain: {arguments.changes} changes in 100-row transactions, medians of {arguments.rounds} rounds in turn",
                    ["", "changes/s", "CPU us/change", "peak MiB"], drains(server, arguments.changes, arguments.rounds))
        server.execute("TRUNCATE operations")
        bench.table(f"latency: microseconds from INSERT sent to row received, {arguments.commits} commits, medians of {arguments.rounds} rounds in turn",
                    ["", "p50", "p99"], latencies(server, arguments.commits, arguments.rounds))
        bench.table("loss: the reader is killed twice and PostgreSQL once while writers go on",
                    ["", "committed", "lost", "again"], losses(server, arguments.operations))


if __name__ == "__main__":
    main()
