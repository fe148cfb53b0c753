#!/usr/bin/python3
"""Commit to consumer: the sidecar's feed beside a bare slot reader and NOTIFY + SELECT, in turn on one server. Counted
from the moment the INSERT is sent, one commit at a time."""

import argparse
import os
import subprocess

import bench

PROGRAM = os.path.join(bench.BUILD, "latency")


def run(*words):
    output = subprocess.run([PROGRAM, *map(str, words)], check=True, capture_output=True, text=True).stdout
    return [int(line) / 1000 for line in output.split()]  # microseconds


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--commits", type=int, default=1000, help="each round, each way")
    arguments = parser.parse_args()
    ways = {"bare slot read": [], "NOTIFY + SELECT": [], "sidecar feed": []}
    with bench.rig() as server:
        bench.create_schema(server)
        url = server.server.url
        server.execute("SELECT pg_create_logical_replication_slot('bare', 'wal2json')")
        sidecar = server.sidecar("feed", **{"notify.mode": "trigger", "notify.watch": False, "log.level": "warning"})
        sidecar.start_ready()
        for _ in range(arguments.rounds):
            # Only the way that is measured costs anything: the others' processes are stopped or idle meanwhile.
            server.execute("ALTER TABLE operations DISABLE TRIGGER USER")
            ways["sidecar feed"].append(run("feed", url, *sidecar.feed, arguments.commits))
            sidecar.pause()
            ways["bare slot read"].append(run("slot", url, "bare", arguments.commits))
            server.execute("ALTER TABLE operations ENABLE TRIGGER USER")
            ways["NOTIFY + SELECT"].append(run("notify", url, arguments.commits))
            sidecar.resume()
        sidecar.terminate()
    report(ways, arguments)


def report(ways, arguments):
    p50 = {way: [bench.percentile(values, 0.5) for values in rounds] for way, rounds in ways.items()}
    p99 = {way: bench.median([bench.percentile(values, 0.99) for values in rounds]) for way, rounds in ways.items()}

    def against(other):
        return bench.median([ours / theirs for ours, theirs in zip(p50["sidecar feed"], p50[other])])

    bench.table(f"latency: microseconds from INSERT sent to row received, {arguments.commits} commits, "
                f"medians of {arguments.rounds} rounds",
                ["", "p50", "p99"], [[way, f"{bench.median(p50[way]):.0f}", f"{p99[way]:.0f}"] for way in ways])
    print(f"\n  p50 against a bare slot read   {against('bare slot read'):.2f} (goal <= 1.25)")
    print(f"  p50 against NOTIFY + SELECT    {against('NOTIFY + SELECT'):.2f} (goal < 0.60)")
    print(f"  p99 against NOTIFY + SELECT    {p99['sidecar feed'] / p99['NOTIFY + SELECT']:.2f} (goal <= 1.00)")


if __name__ == "__main__":
    main()
