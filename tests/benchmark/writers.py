#!/usr/bin/python3
"""What listening costs the writers: 32 clients, one operation a commit, with SyncFlow's NOTIFY trigger and one listener,
with the sidecar's feed and one consumer, and with nobody, in turn on one server."""

import argparse
import contextlib
import os
import re
import select
import socket
import subprocess
import threading

import bench

CLIENTS = 32
SCRIPT = """\\set n random(1, 1000000)
INSERT INTO operations (id, type, collection, doc_id, data, timestamp, client_id, vector_clock)
VALUES (gen_random_uuid()::text, 'update', 'todos', 'doc-' || :n,
        jsonb_build_object('title', repeat('x', 150), 'position', :n), 1700000000000 + :n, 'client-1', '{"client-1": 1}');
"""


class Reads(threading.Thread):
    """Reads whatever comes until stopped; counts what `pattern` tells from it."""

    def __init__(self):
        super().__init__(daemon=True)
        self.count = 0
        self.stopping = threading.Event()

    def stop(self):
        self.stopping.set()
        self.join()


class Listener(Reads):
    """LISTEN, and nothing more: SyncFlow's own listener also fetches each row."""

    def __init__(self, server):
        super().__init__()
        self.connection = server.connect()
        self.connection.cursor().execute("LISTEN operation_inserted")

    def run(self):
        with contextlib.closing(self.connection):
            while not self.stopping.is_set():
                if select.select([self.connection], [], [], 0.1)[0]:
                    self.connection.poll()
                    self.count += len(self.connection.notifies)
                    self.connection.notifies.clear()


class Consumer(Reads):
    def __init__(self, address):
        super().__init__()
        self.socket = socket.create_connection(address)
        self.socket.sendall(b'{"type":"hello","version":1}\n')

    def run(self):
        rest = b""
        with self.socket:
            while not self.stopping.is_set():
                if select.select([self.socket], [], [], 0.1)[0]:
                    whole, _, rest = (rest + self.socket.recv(1 << 20)).rpartition(b"\n")
                    self.count += whole.count(b'{"type":"change"')


def commits_per_second(server, script, seconds):
    program = os.path.join(server.server.bin, "pgbench")
    output = subprocess.run([program, "-n", "-c", str(CLIENTS), "-j", "2", "-T", str(seconds), "-f", script,
                             server.server.url], check=True, capture_output=True, text=True).stdout
    return float(re.search(r"tps = ([0-9.]+)", output)[1])


def with_reader(reader, action):
    reader.start()
    try:
        result = action()
    finally:
        reader.stop()
    assert reader.count > 0, "the reader heard nothing"
    return result


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=int, default=4, help="each round, each way")
    arguments = parser.parse_args()
    ways = {"nobody": [], "sidecar feed": [], "NOTIFY trigger": []}
    with bench.rig() as server:
        sidecar = server.sidecar("feed", **{"notify.mode": "trigger", "notify.watch": False, "log.level": "warning"})
        sidecar.start_ready()
        script = os.path.join(server.folder, "writers.sql")
        with open(script, "w", encoding="utf-8") as file:
            file.write(SCRIPT)

        def measure():
            return commits_per_second(server, script, arguments.seconds)

        for _ in range(arguments.rounds):
            server.execute("ALTER TABLE operations DISABLE TRIGGER USER")
            ways["sidecar feed"].append(with_reader(Consumer(sidecar.feed), measure))
            sidecar.pause()
            ways["nobody"].append(measure())
            server.execute("ALTER TABLE operations ENABLE TRIGGER USER")
            ways["NOTIFY trigger"].append(with_reader(Listener(server), measure))
            server.execute("TRUNCATE operations")
            sidecar.resume()
    ratios = {way: bench.median([ours / alone for ours, alone in zip(rates, ways["nobody"])]) for way, rates in ways.items()}
    bench.table(f"writers: commits a second of {CLIENTS} clients, medians of {arguments.rounds} rounds",
                ["who listens", "commits/s", "ratio"],
                [[way, f"{bench.median(rates):,.0f}", f"{ratios[way]:.2f}"] for way, rates in ways.items()])
    print("\n  goal: sidecar feed >= 0.90")


if __name__ == "__main__":
    main()
