#!/usr/bin/python3
"""How long a killed sidecar is away: from kill -9 over the start to streaming and to the next change at a consumer, with
a million lines in the journal. The last segment is read again, line by line; the others are sealed.

PostgreSQL decodes again from the slot's restart_lsn, which follows the confirmed position at its own pace: every 15 s, at a
checkpoint, and never past the oldest open transaction. The rounds begin when it has come behind the load; --at-once begins
without, and so shows what the server's second reading of the whole load costs."""

import argparse
import statistics
import time

import bench
from consumer import Consumer
from waiting import wait_until

INSERT = """
    INSERT INTO operations (id, type, collection, doc_id, data, timestamp, client_id, vector_clock)
    SELECT %s || n, 'insert', 'todos', 'doc', jsonb_build_object('title', repeat('x', 150)), n, 'c', '{}'
    FROM generate_series(1, %s) n"""


def fill(rig, sidecar, lines):
    for part in range(10):
        rig.execute(INSERT, f"part{part}-", lines // 10)
    wait_until(lambda: sidecar.metrics()["syncflow_changes_total"] >= lines, "the journal to be filled")
    end = rig.execute("SELECT pg_current_wal_lsn()")[0][0]
    wait_until(lambda: has_passed(rig, sidecar, "confirmed_flush_lsn", end), "everything to be confirmed")
    return end


def has_passed(rig, sidecar, column, position):
    return rig.execute(f"SELECT {column} >= %s FROM pg_replication_slots WHERE slot_name = %s", position, sidecar.slot)[0][0]


def let_restart_follow(rig, sidecar, position):
    def follows():
        rig.execute("CHECKPOINT")
        return has_passed(rig, sidecar, "restart_lsn", position)

    wait_until(follows, "restart_lsn to come behind the load", every=1)


def away(rig, sidecar, number):
    """Seconds until it streams, and until a consumer has what was committed meanwhile."""
    sidecar.kill()
    began = time.monotonic()
    rig.execute(INSERT, f"round{number}-", 1)
    sidecar.start()
    wait_until(lambda: '"streaming"' in sidecar.get("/status")[1], "streaming", every=0.005)
    streaming = time.monotonic() - began
    consumer = Consumer(sidecar.feed, start=rig.cursor).start()
    wait_until(lambda: consumer.has(f"round{number}-1"), "the next change", every=0.005)
    delivered = time.monotonic() - began
    rig.cursor = consumer.cursor
    consumer.stop()
    return streaming, delivered


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--lines", type=int, default=1_000_000)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--at-once", action="store_true")
    arguments = parser.parse_args()
    with bench.rig() as rig:
        sidecar = rig.sidecar().start_ready()
        rig.wait_slot(sidecar.slot)
        end = fill(rig, sidecar, arguments.lines)
        if not arguments.at_once:
            let_restart_follow(rig, sidecar, end)
        rig.cursor = sidecar.status()["journal"]["head"]
        rounds = [away(rig, sidecar, number) for number in range(arguments.rounds)]
    streaming, delivered = (statistics.median(column) for column in zip(*rounds))
    print(f"{arguments.lines} lines in the journal, median of {arguments.rounds}: streaming after {streaming:.2f} s, "
          f"the next change delivered after {delivered:.2f} s (worst {max(row[1] for row in rounds):.2f} s); goal 2 s")


if __name__ == "__main__":
    main()
