#!/usr/bin/python3
"""Memory stays flat: over a transaction of a million rows, with one consumer that reads everything
and one that never reads, and when a sidecar without a journal takes the whole table.

The bound: resident memory never exceeds that of the idle process by more than the tail the
settings allow plus MARGIN. When the slot is lost, what the journal holds is remembered by 16 bytes
a line as well, for as long as the table is compared with it. The server is impatient, and the stream
is never interrupted for all that. For release builds; a sanitizer's shadow memory says nothing
about the program. What idle consumers cost is in idle.py.
"""

import argparse
import contextlib
import json
import socket
import sys
import threading
import time

import psycopg2

import sidecar as sidecar_module
from rig import Rig
from table import table
from waiting import end_on_signals, wait_until

MIB = 1 << 20
TAIL = 8 * MIB
MARGIN = (
    24 * MIB
)  # blocks in flight, one line of the largest size, socket buffers, the allocator's own
LINE_KNOWN = 16  # bytes
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


def measure(rig, rows, notify):
    """The meters' rows and the greatest excess over the idle process, by what is allowed for it."""
    sidecar = rig.sidecar(**{"feed.tail_memory": "8MiB", "notify.mode": notify}).start_ready()
    reader = rig.stops(Counter(sidecar.feed)).start()
    meter = rig.stops(Meter(sidecar)).start()
    fill(rig, reader, "warm", 1000)
    idle = meter.phase("idle, 1000 rows delivered")
    rig.stops(Counter(sidecar.feed, reads=False)).start()
    fill(rig, reader, "million", rows)
    peak = meter.phase(f"one transaction of {rows} rows")
    time.sleep(3)
    peak = max(peak, meter.phase("a consumer that does not read"))
    fill(rig, reader, "again", rows // 10, transactions=10)
    peak = max(peak, meter.phase(f"ten transactions, {rows // 10} rows in all"))
    connects = sidecar.metrics()['syncflow_source_connects_total{result="ok"}']
    if connects != 1:
        raise AssertionError(f"the stream was opened {connects:.0f} times\n{sidecar.log_tail()}")
    lose_slot(rig, sidecar)
    fill(rig, reader, "healed", 1)
    compared = meter.phase("the slot lost, the table compared with the journal")
    print(json.dumps(sidecar.status()["journal"]))
    meter.stop()
    sidecar.terminate()
    from_table, its_rows = measure_backfill(rig, reader.count)
    known = LINE_KNOWN * reader.count
    return meter.rows + its_rows, [
        ["the stream", peak - idle, TAIL + MARGIN],
        ["the table compared with the journal", compared - idle, TAIL + MARGIN + known],
        ["everything from the table", from_table - idle, TAIL + MARGIN],
    ]


def lose_slot(rig, sidecar):
    def dropped():
        try:
            rig.execute(
                "SELECT pg_terminate_backend(active_pid), pg_sleep(0.1) FROM pg_replication_slots"
                " WHERE slot_name = %s",
                sidecar.slot,
            )
            rig.execute("SELECT pg_drop_replication_slot(%s)", sidecar.slot)
            return True
        except psycopg2.errors.ObjectInUse:
            return False

    wait_until(dropped, "the slot to be dropped")
    wait_until(
        lambda: sidecar.metrics()["syncflow_source_history_losses_total"] == 1,
        "the table to be compared",
        seconds=600,
        context=sidecar.log_tail,
    )


def measure_backfill(rig, rows):
    """A sidecar that has nothing yet: the greatest it came to, and its meter's rows."""
    sidecar = rig.sidecar("new", **{"feed.tail_memory": "8MiB", "notify.mode": "off"}).start_ready()
    meter = rig.stops(Meter(sidecar)).start()
    reader = rig.stops(Counter(sidecar.feed)).start()
    wait_until(lambda: reader.count >= rows, f"{rows} rows from the table", seconds=1200, context=sidecar.log_tail)
    return meter.phase(f"a new journal, {rows} rows from the table"), meter.rows


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
    with Rig(arguments.sidecar, settings={"wal_sender_timeout": "'4s'"}) as rig:
        rows, excesses = measure(rig, arguments.rows, arguments.notify)
    print(table(["phase", "greatest RSS, KiB", "at its end, KiB"], rows))
    for what, excess, allowed in excesses:
        print(f"{what}: {excess // 1024} KiB above idle, allowed {allowed // 1024}")
    return 0 if all(excess <= allowed for _, excess, allowed in excesses) else 1


if __name__ == "__main__":
    sys.exit(main())
