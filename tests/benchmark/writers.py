#!/usr/bin/python3
"""What listening costs the writers: 32 clients, one operation a commit, with SyncFlow's NOTIFY trigger and one listener,
with the sidecar's feed and one consumer, with pg_recvlogical on a bare slot, and with nobody, in turn on one server."""

import argparse
import contextlib
import os
import re
import select
import subprocess
import threading

import bench
from waiting import wait_until

CLIENTS = 32
SCRIPT = """\\set n random(1, 1000000)
INSERT INTO operations (id, type, collection, doc_id, data, timestamp, client_id, vector_clock)
VALUES (gen_random_uuid()::text, 'update', 'todos', 'doc-' || :n,
        jsonb_build_object('title', repeat('x', 150), 'position', :n), 1700000000000 + :n, 'client-1', '{"client-1": 1}');
"""


class Listener(threading.Thread):
    """LISTEN, and nothing more: SyncFlow's own listener also fetches each row."""

    def __init__(self, server):
        super().__init__(daemon=True)
        self.connection = server.connect()
        self.connection.cursor().execute("LISTEN operation_inserted")
        self.count = 0
        self.stopping = threading.Event()

    def run(self):
        with contextlib.closing(self.connection):
            while not self.stopping.is_set():
                if select.select([self.connection], [], [], 0.1)[0]:
                    self.connection.poll()
                    self.count += len(self.connection.notifies)
                    self.connection.notifies.clear()

    def __enter__(self):
        self.start()

    def __exit__(self, *_):
        self.stopping.set()
        self.join()
        assert self.count > 0, "the listener heard nothing"


class Reader:
    """A process that writes what it hears to a file; ended and looked at afterwards."""

    def __init__(self, folder, *command):
        self.path = os.path.join(folder, "heard")
        self.command = command

    def __enter__(self):
        with open(self.path, "wb") as file:
            self.process = subprocess.Popen(self.command, stdout=file)

    def __exit__(self, *_):
        self.process.terminate()
        self.process.wait()
        assert os.path.getsize(self.path) > 0, f"{self.command[0]} heard nothing"


def commits_per_second(server, script, seconds):
    program = os.path.join(server.server.bin, "pgbench")
    output = subprocess.run([program, "-n", "-c", str(CLIENTS), "-j", "2", "-T", str(seconds), "-f", script,
                             server.server.url], check=True, capture_output=True, text=True).stdout
    return float(re.search(r"tps = ([0-9.]+)", output)[1])


def catch_up(server, slot):
    """What the others wrote is not to be paid for in the next round."""
    end = server.execute("SELECT pg_current_wal_lsn()")[0][0]
    wait_until(lambda: server.execute("SELECT confirmed_flush_lsn >= %s FROM pg_replication_slots WHERE slot_name = %s",
                                      end, slot)[0][0], "the sidecar to catch up")


def bare_reader(server):
    options = [word for option in bench.PLUGIN_OPTIONS["wal2json"] for word in ("-o", option)]
    program = os.path.join(server.server.bin, "pg_recvlogical")
    return Reader(server.folder, program, "-d", server.server.url, "--slot", "bare", "--start", "-f", "-", *options)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=int, default=4, help="each round, each way")
    arguments = parser.parse_args()
    ways = {"nobody": [], "pg_recvlogical": [], "sidecar feed": [], "NOTIFY trigger": []}
    with bench.rig() as server:
        sidecar = server.sidecar("feed", **{"notify.mode": "trigger", "notify.watch": False, "log.level": "warning"})
        sidecar.start_ready()
        script = os.path.join(server.folder, "writers.sql")
        with open(script, "w", encoding="utf-8") as file:
            file.write(SCRIPT)
        feed = Reader(server.folder, "bash", "-c", f"exec cat < /dev/tcp/{sidecar.feed[0]}/{sidecar.feed[1]}")

        def measure(way, reader):
            with reader:
                ways[way].append(commits_per_second(server, script, arguments.seconds))

        for _ in range(arguments.rounds):
            server.execute("ALTER TABLE operations DISABLE TRIGGER USER")
            measure("sidecar feed", feed)
            sidecar.pause()
            measure("nobody", contextlib.nullcontext())
            server.execute("SELECT pg_create_logical_replication_slot('bare', 'wal2json')")
            measure("pg_recvlogical", bare_reader(server))
            server.execute("SELECT pg_drop_replication_slot('bare')")
            server.execute("ALTER TABLE operations ENABLE TRIGGER USER")
            measure("NOTIFY trigger", Listener(server))
            server.execute("TRUNCATE operations")
            sidecar.resume()
            catch_up(server, sidecar.slot)
    ratios = {way: bench.median([ours / alone for ours, alone in zip(rates, ways["nobody"])]) for way, rates in ways.items()}
    bench.table(f"writers: commits a second of {CLIENTS} clients, medians of {arguments.rounds} rounds",
                ["who listens", "commits/s", "ratio"],
                [[way, f"{bench.median(rates):,.0f}", f"{ratios[way]:.2f}"] for way, rates in ways.items()])
    print("\n  goal: sidecar feed >= 0.90; pg_recvlogical shows what decoding on the server alone leaves of it")


if __name__ == "__main__":
    main()
