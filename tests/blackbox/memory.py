#!/usr/bin/python3
"""Memory stays flat: over a transaction of a million rows, with one consumer that reads everything
and one that never reads; and an idle consumer costs little.

The bounds: resident memory never exceeds that of the idle process by more than the tail the
settings allow plus MARGIN, and thousands of idle consumers cost CONSUMER bytes each at most. For
release builds; a sanitizer's shadow memory says nothing about the program.
"""

import argparse
import contextlib
import json
import socket
import sys
import threading
import time

import sidecar as sidecar_module
from rig import Rig
from table import table
from waiting import end_on_signals, wait_until

MIB = 1 << 20
TAIL = 8 * MIB
MARGIN = (
    24 * MIB
)  # blocks in flight, one line of the largest size, socket buffers, the allocator's own
CROWD = 4000
CONSUMER = 1536  # bytes; RSS counts whole pages and the allocator's gaps, so it is above what is used
FILL = """INSERT INTO operations (id, type, collection, doc_id, data, timestamp, client_id,
                                 vector_clock)
          SELECT %s || n, 'insert', 'todos', 'doc-' || n, '{"title": "x"}', 1700000000000 + n,
                 'client-1', '{"client-1": 1}'
          FROM generate_series(1, %s) n"""


class Meter:
    """The process's resident memory: a sample now and then, the greatest of each phase kept."""

    def __init__(self, sidecar):
        self.sidecar = sidecar
        self.greatest = 0
        self.rows = []
        self.stopping = threading.Event()
        self.thread = threading.Thread(target=self._run, daemon=True)

    def start(self):
        self.thread.start()
        return self

    def stop(self):
        self.stopping.set()
        self.thread.join()

    def phase(self, name):
        """Ends a phase: its greatest sample, and what is resident at its end."""
        now = self.sidecar.memory()["VmRSS"]
        greatest = max(self.greatest, now)
        self.rows.append([name, greatest // 1024, now // 1024])
        self.greatest = 0
        return greatest

    def _run(self):
        while not self.stopping.wait(0.02):
            self.greatest = max(self.greatest, self.sidecar.memory().get("VmRSS", 0))


class Counter:
    """A consumer that only counts change lines; parsing a million would take Python too long."""

    def __init__(self, address, reads=True):
        self.count = 0
        self.reads = reads
        self.socket = socket.create_connection(address)
        self.socket.sendall(b'{"type":"hello","version":1,"from":"earliest"}\n')
        self.thread = threading.Thread(target=self._run, daemon=True)

    def start(self):
        if self.reads:
            self.thread.start()
        return self

    def stop(self):
        with contextlib.suppress(OSError):
            self.socket.shutdown(socket.SHUT_RDWR)
        self.socket.close()

    def _run(self):
        rest = b""
        with contextlib.suppress(OSError):
            while chunk := self.socket.recv(MIB):
                whole, _, rest = (rest + chunk).rpartition(b"\n")
                self.count += whole.count(b'{"type":"change"')


def idle_consumer_bytes(sidecar):
    """What each of CROWD consumers that have caught up and wait adds to the resident memory."""
    address = sidecar.feed
    first = crowd(address, CROWD // 4)  # what the first ones set up is not theirs alone
    before = sidecar.memory()["VmRSS"]
    rest = crowd(address, CROWD)
    grown = sidecar.memory()["VmRSS"] - before
    for consumer in first + rest:
        consumer.close()
    return grown // CROWD


def crowd(address, count):
    sockets = []
    for _ in range(count):
        sockets.append(socket.create_connection(address))
        sockets[-1].sendall(b'{"type":"hello","version":1}\n')
    for consumer in sockets:
        seen = b""
        while b'"type":"live"' not in seen:
            chunk = consumer.recv(4096)
            assert chunk, seen
            seen += chunk
    return sockets


def measure(rig, rows, notify):
    """The meter's rows, the excess over the idle process, and the bytes of an idle consumer."""
    sidecar = rig.sidecar(**{"feed.tail_memory": "8MiB", "notify.mode": notify}).start_ready()
    reader = rig.stops(Counter(sidecar.feed)).start()
    meter = rig.stops(Meter(sidecar)).start()
    fill(rig, reader, "warm", 1000)
    idle = meter.phase("idle, 1000 rows delivered")
    each = idle_consumer_bytes(sidecar)
    meter.phase(f"{CROWD + CROWD // 4} idle consumers, gone again")
    rig.stops(Counter(sidecar.feed, reads=False)).start()
    fill(rig, reader, "million", rows)
    peak = meter.phase(f"one transaction of {rows} rows")
    time.sleep(3)
    peak = max(peak, meter.phase("a consumer that does not read"))
    fill(rig, reader, "again", rows // 10, transactions=10)
    peak = max(peak, meter.phase(f"ten transactions, {rows // 10} rows in all"))
    print(json.dumps(sidecar.status()["journal"]))
    return meter.rows, peak - idle, each


def fill(rig, reader, prefix, rows, transactions=1):
    expected = reader.count + rows
    for number in range(transactions):
        rig.execute(FILL, f"{prefix}-{number}-", rows // transactions)
    wait_until(lambda: reader.count >= expected, f"{rows} rows to be delivered", seconds=600)


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--notify", choices=["trigger", "off"], default="trigger")
    sidecar_module.add_argument(parser)
    arguments = parser.parse_args()
    end_on_signals()
    with Rig(arguments.sidecar) as rig:
        rows, excess, each = measure(rig, arguments.rows, arguments.notify)
    print(table(["phase", "greatest RSS, KiB", "at its end, KiB"], rows))
    flat = excess <= TAIL + MARGIN
    print(
        f"{excess // 1024} KiB above idle, allowed {(TAIL + MARGIN) // 1024} (tail_memory"
        f" {TAIL // 1024} + {MARGIN // 1024})"
    )
    print(f"{each} bytes for each idle consumer, allowed {CONSUMER}")
    return 0 if flat and each <= CONSUMER else 1


if __name__ == "__main__":
    sys.exit(main())
