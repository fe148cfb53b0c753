#!/usr/bin/python3
"""What bad input costs the other consumers: commit to consumer, one commit at a time, with nobody beside it, beside strangers who say
a proper hello and go, and beside as many who send what is wrong, all kinds of it in turn."""

import argparse
import contextlib
import itertools
import socket
import threading
import time

import bench
from feed_conformance_test import GARBAGE, WRONG_HELLOS
from latency import run
from peer import hello

ENDLESS = b"x" * (256 << 10)  # a line that does not end; shed long before
PROPER = [hello(start="latest", heartbeat=300)]
WRONG = [said for said, _ in GARBAGE] + [hello(**fields) for fields, _ in WRONG_HELLOS] + [ENDLESS, PROPER[0][:20]]


class Strangers:
    """So many a second, each by itself: connects, says its word, hears what it is told, and goes."""

    def __init__(self, address, words, rate):
        self.address, self.words, self.rate = address, words, rate
        self.over = threading.Event()
        self.came = 0
        self.told = 0
        self.thread = threading.Thread(target=self.come)

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.over.set()
        self.thread.join()

    def come(self):
        due = began = time.monotonic()
        for said in itertools.cycle(self.words):
            due = max(due + 1 / self.rate, time.monotonic())
            if self.over.wait(due - time.monotonic()):
                self.came /= time.monotonic() - began
                return
            self.came += 1
            with contextlib.suppress(OSError), socket.create_connection(self.address, timeout=5) as stranger:
                stranger.sendall(said)
                if said.endswith(b"\n"):
                    self.told += bool(stranger.recv(4096))


def measure(server, sidecar, words, arguments):
    with contextlib.ExitStack() as stack:
        strangers = words and stack.enter_context(Strangers(sidecar.feed, words, arguments.rate))
        values = run("feed", server.server.url, *sidecar.feed, arguments.commits)
    if words and (strangers.came < 0.9 * arguments.rate or not strangers.told):
        raise AssertionError(f"{strangers.came:.0f} strangers a second came, {strangers.told} were told something")
    return values


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--commits", type=int, default=3000, help="each round, each way")
    parser.add_argument("--rate", type=int, default=50, help="strangers a second")
    arguments = parser.parse_args()
    ways = {"nobody": [], f"{len(PROPER)} kind of proper hello": PROPER, f"{len(WRONG)} kinds of bad input": WRONG}
    seen = {way: [] for way in ways}
    with bench.rig() as server:
        sidecar = server.sidecar("hostile", **{"notify.mode": "off", "notify.watch": False, "log.level": "error"})
        sidecar.start_ready()
        for number in range(arguments.rounds):
            order = list(ways)[number % len(ways):] + list(ways)[:number % len(ways)]
            for way in order:
                seen[way].append(measure(server, sidecar, ways[way], arguments))
    alone = next(iter(seen.values()))
    rows = [[way, *(f"{bench.median([bench.percentile(values, share) for values in rounds]):,.0f}" for share in (0.5, 0.99)),
             f"{bench.median([bench.percentile(mine, 0.99) / bench.percentile(theirs, 0.99) for mine, theirs in zip(rounds, alone)]):.2f}"]
            for way, rounds in seen.items()]
    bench.table(f"beside {arguments.rate} strangers a second: us from INSERT sent to row received, {arguments.commits} commits, medians of"
                f" {arguments.rounds} rounds", ["beside it", "p50", "p99", "p99, ratio (goal < 1.2)"], rows)


if __name__ == "__main__":
    main()
