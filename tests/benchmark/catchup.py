#!/usr/bin/python3
"""Catching up from the journal: one and ten consumers that want everything, beside a bare sendfile of the same files over loopback to as
many, in turn. The same program listens to both (catchup.cc); everything is in the page cache."""

import argparse
import glob
import os
import subprocess

import bench
from waiting import wait_until

PROGRAM = os.path.join(bench.BUILD, "catchup")
INSERT = """
    INSERT INTO operations (id, type, collection, doc_id, data, timestamp, client_id, vector_clock)
    SELECT %s || n, 'insert', 'todos', 'doc', jsonb_build_object('title', repeat('x', 180)), n, 'client-1', '{"client-1": 2}'
    FROM generate_series(1, %s) n"""


def run(*words):
    seconds, received = subprocess.run([PROGRAM, *map(str, words)], check=True, capture_output=True, text=True).stdout.split()
    return float(seconds), int(received)


def fill(rig, sidecar, operations):
    for part in range(10):
        rig.execute(INSERT, f"part{part}-", operations // 10)
    wait_until(lambda: sidecar.metrics()["syncflow_changes_total"] >= operations, "the journal to be filled")


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--operations", type=int, default=1_000_000)
    parser.add_argument("--rounds", type=int, default=5)
    arguments = parser.parse_args()
    rows = []
    with bench.rig() as rig:
        sidecar = rig.sidecar(**{"notify.mode": "off", "notify.watch": False, "log.level": "warning"}).start_ready()
        fill(rig, sidecar, arguments.operations)
        files = sorted(glob.glob(os.path.join(sidecar.journal, "*.ndjson")))
        for consumers in (1, 10):
            rounds = []
            run("feed", sidecar.feed[1], consumers)  # warms the page cache
            for _ in range(arguments.rounds):
                ours, bare = run("feed", sidecar.feed[1], consumers), run("sendfile", consumers, *files)
                assert ours[1] > bare[1] * 0.999, "the feed sent less than the journal holds"
                rounds.append((ours[1] / ours[0] / 1e6, bare[1] / bare[0] / 1e6))
            ratio = bench.median([ours / bare for ours, bare in rounds])
            rates = [f"{bench.median(column):,.0f}" for column in zip(*rounds)]
            rows.append([f"{consumers} consumer{'s' * (consumers > 1)}", *rates, f"{ratio:.2f}"])
    bench.table(f"catch-up: MB/s over {arguments.operations} operations, medians of {arguments.rounds} rounds",
                ["", "feed", "sendfile", "ratio (goal >= 0.80)"], rows)


if __name__ == "__main__":
    main()
