#!/usr/bin/python3
"""Ten thousand consumers that have caught up and wait, each with a heartbeat a second: what each costs, and that nothing grows.

A consumer with the usual heartbeat of 15 s hears 5760 in a day; so many heartbeats as the crowd hears here in SECONDS are a day of the
number of consumers that is printed. The bounds: an idle consumer adds CONSUMER bytes of the process's own memory at most (RssAnon: whole
pages, the allocator's gaps included), and from the first heartbeats to the last nothing is added beyond GROWTH. For release builds.
"""

import argparse
import resource
import select
import socket
import sys
import time

import sidecar as sidecar_module
from rig import Rig
from waiting import PATIENCE, end_on_signals

SKIPPED = 77  # as ctest is told
CONSUMER = 1024
GROWTH = 1 << 20
A_DAY = 24 * 3600 // 15  # heartbeats
SPARE = 300  # descriptors that both processes need for other things


class Crowd:
    """Consumers that only listen, in one thread."""

    def __init__(self, address, heartbeat):
        self.address = address
        self.hello = b'{"type":"hello","version":1,"heartbeat":%d}\n' % heartbeat
        self.sockets = {}
        self.poll = select.epoll()
        self.heartbeats = 0
        self.silent = set()  # those that have heard none since the last listen() began

    def join(self, count):
        """So many more, each caught up."""
        joined = []
        for _ in range(count):
            one = socket.create_connection(self.address, timeout=PATIENCE)
            one.sendall(self.hello)
            joined.append(one)
        for one in joined:
            said = b""
            while b'"type":"live"' not in said:
                chunk = one.recv(4096)
                assert chunk, f"the feed closed a connection after {said}"
                said += chunk
            self.sockets[one.fileno()] = one
            self.poll.register(one, select.EPOLLIN)

    def listen(self, seconds):
        """Counts heartbeats, for so long and until everybody has heard one."""
        self.silent = set(self.sockets)
        end = time.monotonic() + seconds
        while time.monotonic() < end or self.silent:
            assert time.monotonic() < end + PATIENCE, f"{len(self.silent)} consumers have heard nothing"
            for fd, _ in self.poll.poll(1):
                chunk = self.sockets[fd].recv(4096)
                assert chunk, "the feed closed a connection"
                self.heartbeats += chunk.count(b'"type":"heartbeat"')
                self.silent.discard(fd)


def measure(sidecar, count, seconds):
    """Bytes of a consumer, bytes that were added while they listened, heartbeats heard."""
    crowd = Crowd(sidecar.feed, heartbeat=1)
    crowd.join(count // 5)  # what the first ones set up is not theirs alone
    before = sidecar.memory()["RssAnon"]
    crowd.join(count - count // 5)
    each = (sidecar.memory()["RssAnon"] - before) // (count - count // 5)
    crowd.listen(seconds / 5)
    first = sidecar.memory()["RssAnon"]
    heard = crowd.heartbeats
    crowd.listen(seconds * 4 / 5)
    return each, sidecar.memory()["RssAnon"] - first, crowd.heartbeats - heard


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--consumers", type=int, default=10_000)
    parser.add_argument("--seconds", type=int, default=40)
    sidecar_module.add_argument(parser)
    arguments = parser.parse_args()
    end_on_signals()
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    if hard != resource.RLIM_INFINITY and hard < arguments.consumers + SPARE:
        print(f"a process may open only {hard} files here: too few for {arguments.consumers} consumers")
        return SKIPPED
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    with Rig(arguments.sidecar) as rig:
        # A small journal: it keeps descriptors for its segments.
        sidecar = rig.sidecar(**{"journal.pin_size_max": "2GiB", "journal.retain_size": "1GiB", "journal.retain_age": "1h",
                                 "journal.pin_age_max": "1h"}).start_ready()
        each, growth, heartbeats = measure(sidecar, arguments.consumers, arguments.seconds)
    print(f"{each} bytes for each of {arguments.consumers} idle consumers, allowed {CONSUMER}")
    print(f"{growth // 1024} KiB added over {heartbeats} heartbeats, {heartbeats // A_DAY} consumers' day at one in 15 s;"
          f" allowed {GROWTH // 1024}")
    return 0 if each <= CONSUMER and growth <= GROWTH else 1


if __name__ == "__main__":
    sys.exit(main())
