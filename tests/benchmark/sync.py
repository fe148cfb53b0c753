#!/usr/bin/python3
"""The sync API under load from wrk: requests and operations a second of /operations (batches of 50 new documents) and
/changes (pages of 100 out of 100 000, without a vector clock and with one), with 1 and 32 connections."""

import argparse
import os
import shutil
import subprocess
import sys

import bench
from postgres import free_port

SCRIPT = os.path.join(bench.HERE, "sync.lua")
OPERATIONS = {"operations": 50, "changes": 100, "clock": 100}  # of each request
NAMES = {"operations": "/operations", "changes": "/changes", "clock": "/changes with a clock"}
FILL = """
    INSERT INTO operations (id, type, collection, doc_id, data, timestamp, client_id, vector_clock)
    SELECT 'fill-' || n, 'insert', 'todos', 'fill-' || n, jsonb_build_object('title', repeat('x', 150), 'done', false, 'position', n),
           1700001000000 + n, 'fill', jsonb_build_object('fill', n)
    FROM generate_series(1, 100000) n"""


def load(port, what, connections, seconds, run):
    """(requests a second, p50 and p99 in milliseconds)"""
    command = ["wrk", "-t1", f"-c{connections}", f"-d{seconds}s", "--timeout", "60s", "-s", SCRIPT, f"http://127.0.0.1:{port}", "--",
               what, str(run)]
    output = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    line = next(line for line in output.splitlines() if line.startswith("result "))
    requests, microseconds, errors, p50, p99 = map(int, line.split()[1:])
    if errors:
        sys.exit(f"{errors} of {requests} requests ({what}) failed:\n{output}")
    return requests / microseconds * 1e6, p50 / 1000, p99 / 1000


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=int, default=5, help="each measurement")
    arguments = parser.parse_args()
    if not shutil.which("wrk"):
        sys.exit("wrk is not installed: scripts/setup test")
    measured = {}
    with bench.rig() as server:
        port = free_port()
        sidecar = server.sidecar("sync", **{"sync_api.listen": f"127.0.0.1:{port}", "postgres.pool_max": 16, "notify.mode": "off",
                                            "notify.watch": False, "log.level": "warning"})
        sidecar.start_ready()
        server.execute(FILL)
        server.execute("CREATE INDEX idx_ops_clock ON operations (client_id, (vector_clock -> client_id))")  # init --index clock
        server.execute("VACUUM ANALYZE operations")
        for number in range(arguments.rounds):
            for what in ("changes", "clock", "operations"):
                for connections in (1, 32):
                    result = load(port, what, connections, arguments.seconds, f"{number}-{connections}")
                    measured.setdefault((what, connections), []).append(result)
        sidecar.terminate()
    rows = []
    for (what, connections), rounds in measured.items():
        rate, p50, p99 = (bench.median(values) for values in zip(*rounds))
        rows.append([f"{NAMES[what]}, {connections} connections", f"{rate:,.0f}", f"{rate * OPERATIONS[what]:,.0f}", f"{p50:.1f}", f"{p99:.1f}"])
    bench.table(f"sync: medians of {arguments.rounds} rounds of {arguments.seconds} s",
                ["", "requests/s", "operations/s", "p50 ms", "p99 ms"], rows)


if __name__ == "__main__":
    main()
