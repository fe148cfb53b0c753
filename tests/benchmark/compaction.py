#!/usr/bin/python3
"""What a compaction of a million rows costs the writers beside it: latencies of paced writers with and without it, in turn on one
server whose changes the sidecar streams all the while, how long its transactions are, how fast it is, and that a consumer beside it
and one that was away lose nothing."""

import argparse
import contextlib
import glob
import os
import subprocess
import sys
import threading
import time

import bench
from compacting import Watch, put_off
from consumer import Consumer
from durable_test import Named
from waiting import Expired, wait_until

LOAD = """
    INSERT INTO operations (id, type, collection, doc_id, data, timestamp, client_id, vector_clock, received_at)
    SELECT 'old-' || n, 'update', 'todos', 'doc-' || n %% 10000, jsonb_build_object('title', repeat('x', 150)), n, 'client-1', '{}', 'epoch'
    FROM generate_series(%s, %s) n"""
SCRIPT = """INSERT INTO operations (id, type, collection, doc_id, data, timestamp, client_id, vector_clock)
VALUES (gen_random_uuid()::text, 'update', 'todos', 'doc', jsonb_build_object('title', repeat('x', 150)),
        (extract(epoch FROM now()) * 1000)::bigint, 'client-1', '{}');
"""
JOB = {"name": "bench", "every": "20000h", "older_than": "30d", "share_max": 1}


class Writers:
    """pgbench at a fixed rate, so that latencies can be compared; milliseconds of each transaction afterwards."""

    def __init__(self, server, rate, name):
        self.prefix = os.path.join(server.folder, f"writers-{name}")
        script = self.prefix + ".sql"
        with open(script, "w", encoding="utf-8") as file:
            file.write(SCRIPT)
        program = os.path.join(server.server.bin, "pgbench")
        self.process = subprocess.Popen(
            [program, "-n", "-c", "8", "-j", "1", "-T", "100000", "-R", str(rate), "-l", f"--log-prefix={self.prefix}", "-f", script,
             server.server.url], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, cwd=server.folder)

    def stop(self):
        self.process.terminate()
        self.process.wait()

    def latencies(self):
        """Of the whole lines; pgbench is ended in the middle of one."""
        found = []
        for path in glob.glob(self.prefix + ".[0-9]*"):
            with open(path, encoding="utf-8") as file:
                rows = [line.split() for line in file]
            found += [int(row[2]) / 1000 for row in rows if len(row) >= 6 and row[2].isdigit()]
        return found


def measured(server, rate, name, until):
    writers = Writers(server, rate, name)
    try:
        until()
    finally:
        writers.stop()
    return writers.latencies()


def finished(sidecar):
    """The run that was done; the first attempt comes before the stream is open, and is skipped."""
    return next((run for run in sidecar.status()["compaction"]["jobs"][0]["runs"] if run["outcome"] == "done"), None)


def load(server, sidecar, rows):
    """One consumer that has read everything and stays, and one by name that goes away with the first few."""
    behind = Named(sidecar.feed, "behind").start()
    server.execute(LOAD, 1, 1000)
    wait_until(lambda: behind.acked, "an ack", seconds=600)
    behind.stop()
    for first in range(1001, rows + 1, 50_000):
        server.execute(LOAD, first, min(first + 49_999, rows))
    follower = server.stops(Consumer(sidecar.feed).start())
    wait_until(lambda: follower.has(f"old-{rows}"), "the sidecar to have all rows", seconds=1800)
    server.execute("VACUUM (ANALYZE) operations")
    server.execute("CHECKPOINT")  # what was loaded is not to be written beside those that are measured
    return follower


def lost(consumer, expected):
    """How many of them it never gets, with what it was told instead; 0 where all is well."""
    with contextlib.suppress(Expired):
        wait_until(lambda: consumer.ids >= expected, "everything", seconds=600)
    return len(expected - consumer.ids) + len(consumer.gaps + consumer.refusals + consumer.broken)


def measure(arguments):
    job = JOB | {"batch_rows": arguments.batch_rows, "pause": arguments.pause}
    with bench.rig() as server:
        sidecar = server.sidecar("compaction", **{"compaction.jobs": [job], "notify.mode": "off", "notify.watch": False,
                                                  "log.level": "warning"})
        sidecar.start_ready()
        follower = load(server, sidecar, arguments.rows)
        rest = threading.Event()
        watch = server.stops(Watch(server, every=0.05))
        watch.start()  # now, so that the writers differ by the compaction alone
        before = measured(server, arguments.rate, "before", lambda: rest.wait(arguments.seconds))
        sidecar.terminate()
        put_off(sidecar, 30_000)
        sidecar.start_ready()
        began = time.monotonic()
        beside = measured(server, arguments.rate, "beside", lambda: wait_until(lambda: finished(sidecar), "the run to end", seconds=3600))
        took = time.monotonic() - began
        watch.stop()
        after = measured(server, arguments.rate, "after", lambda: rest.wait(arguments.seconds))
        left = server.execute("SELECT count(*) FROM operations WHERE id LIKE 'old-%%'")[0][0]
        expected = {f"old-{n}" for n in range(1, arguments.rows + 1)}
        expected |= {row[0] for row in server.execute("SELECT id FROM operations")}
        again = server.stops(Named(sidecar.feed, "behind"))
        again.greeted = True  # it goes on where it stood
        again.start()
        return {"before": before, "beside": beside, "after": after, "run": finished(sidecar), "left": left, "took": took,
                "longest": watch.longest, "follower": lost(follower, expected),
                "behind": lost(again, {id for id in expected if not id.startswith("old-")} | {f"old-{n}" for n in range(1001, arguments.rows + 1)})}


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--rate", type=int, default=300, help="commits a second of the writers")
    parser.add_argument("--seconds", type=int, default=20, help="without compaction, before and after it")
    parser.add_argument("--batch-rows", type=int, default=1000)
    parser.add_argument("--pause", default="100ms")
    arguments = parser.parse_args()
    rounds = [measure(arguments) for _ in range(arguments.rounds)]
    rows = [[f"{name}, round {number}", f"{len(one[name]):,}", f"{bench.median(one[name]):.2f}", f"{bench.percentile(one[name], 0.99):.2f}",
             f"{max(one[name]):.1f}"] for number, one in enumerate(rounds, 1) for name in ("before", "beside", "after")]
    bench.table(f"compaction of {arguments.rows:,} rows beside writers at {arguments.rate} commits/s",
                ["writers", "commits", "p50 ms", "p99 ms", "max ms"], rows)
    ratios = [bench.percentile(one["beside"], 0.99) / bench.percentile(one["before"], 0.99) for one in rounds]
    rates = [one["run"]["deleted"] / one["took"] for one in rounds]
    bench.table(f"compaction, {arguments.rounds} rounds", ["", "", "goal"],
                [["deleted, of each", ", ".join(f"{one['run']['deleted']:,} ({one['left']:,} left)" for one in rounds), "all"],
                 ["rows/s, fence and pauses included, median", f"{bench.median(rates):,.0f}", ""],
                 ["longest transaction", f"{max(one['longest'] for one in rounds) * 1000:.0f} ms", "< 1000 ms"],
                 ["writers' p99, ratio, median", f"{bench.median(ratios):.2f}", "<= 2"],
                 ["lost to the consumer that is connected", sum(one["follower"] for one in rounds), "0"],
                 ["lost to the one by name that was away", sum(one["behind"] for one in rounds), "0"]])
    if any(one["left"] or one["follower"] or one["behind"] for one in rounds):
        sys.exit("something was lost, or not deleted")


if __name__ == "__main__":
    main()
