#!/usr/bin/python3
"""Operations a second into `operations` and `documents`: AcceptOperations beside the same set-based SQL without checks
and beside one transaction for each operation, in turn on one server."""

import argparse
import itertools
import os
import subprocess

import bench

PROGRAM = os.path.join(bench.BUILD, "accept")
BATCHES = (1, 10, 100, 1000)
METHODS = ("each", "bare", "adapter")
DOCUMENTS = 20_000  # of each connection


def operations(method, batch):
    """So many that a run takes a second or two."""
    return 4_000 if method == "each" or batch == 1 else 20_000 if batch == 10 else 40_000


RUNS = itertools.count(1)  # each run's clocks are after those of the runs before


def store(server, method, batch, connections):
    words = (server.server.url, method, batch, connections, operations(method, batch), next(RUNS))
    output = subprocess.run([PROGRAM, *map(str, words)], check=True, capture_output=True, text=True).stdout
    return [float(word) for word in output.split()]


def measure(server, connections, rounds):
    """Of each batch size and method: a list of (operations/s, us/operation, allocations/operation), one for each round."""
    measured = {}
    for _ in range(rounds):
        each = None
        for batch in BATCHES:
            for method in METHODS:
                server.execute("CHECKPOINT")
                if method == "each" and each is not None:
                    result = each  # it knows no batches
                else:
                    result = store(server, method, batch, connections)
                each = each or result
                measured.setdefault((batch, method), []).append(result)
    return measured


def row(measured, connections, batch):
    adapter, bare, each = (measured[batch, method] for method in ("adapter", "bare", "each"))

    def ratio(others):
        return bench.median([ours[0] / theirs[0] for ours, theirs in zip(adapter, others)])

    rates = [f"{bench.median([one[0] for one in rounds]):,.0f}" for rounds in (each, bare, adapter)]
    return [f"{connections} x {batch}", *rates, f"{ratio(bare):.2f}", f"{ratio(each):.1f}",
            f"{bench.median([one[1] for one in adapter]):.1f}", f"{bench.median([one[2] for one in adapter]):.1f}"]


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    rounds = parser.parse_args().rounds
    rows = []
    with bench.rig() as server:
        bench.create_schema(server)
        server.execute("INSERT INTO documents (id, collection, data, vector_clock, updated_at) SELECT 'doc-' || c || '-' || d, "
                       "'todos', jsonb_build_object('title', repeat('y', 150)), '{}', 0 FROM generate_series(0, 3) c, "
                       "generate_series(0, %s) d", DOCUMENTS - 1)
        server.execute("VACUUM ANALYZE documents")
        for connections in (1, 4):
            measured = measure(server, connections, rounds)
            rows += [row(measured, connections, batch) for batch in BATCHES]
    bench.table(f"accept: operations a second, medians of {rounds} rounds, in turn",
                ["connections x batch", "one a transaction", "bare SQL", "AcceptOperations", "of bare", "times one",
                 "own CPU us/op", "allocations/op"], rows)
    print("\n  goals at 100: >= 0.8 of bare SQL, >= 10 times one operation a transaction")


if __name__ == "__main__":
    main()
