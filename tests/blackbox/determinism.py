#!/usr/bin/python3
"""One history, read through four fresh journals and two plugins, gives the same bytes under the same
cursors four times.

The first sidecar streams live while the writers write and is killed in the middle; the second
streams live undisturbed; the third was away during all of it and reads the backlog in one go; the
fourth streams with pgoutput, the others with wal2json. Each has its own slot. Their journals' segment files are compared with what went over the wire as well:
bytes on disk are bytes on the wire.
"""

import argparse
import glob
import os
import sys

import sidecar as sidecar_module
from consumer import Consumer
from rig import Rig
from waiting import end_on_signals, wait_until
from writer import Writers


def segments(sidecar):
    """The lines of the journal's files, whose names are cursors and sort as the feed does."""
    lines = []
    for path in sorted(glob.glob(os.path.join(sidecar.journal, "*.ndjson"))):
        with open(path, "rb") as file:
            lines += file.read().splitlines()
    return lines


def first_difference(one, other):
    for number, (left, right) in enumerate(zip(one, other)):
        if left != right:
            return f"line {number}:\n  {left!r}\n  {right!r}"
    return f"{len(one)} lines against {len(other)}"


def compare(rig, operations, seed):
    """What differs; empty if nothing does."""
    killed, undisturbed, later, pgoutput = sidecars = [
        rig.sidecar(
            name, **{"journal.segment_size": "1MiB", "replication.plugin": plugin}
        ).start_ready()
        for name, plugin in (
            ("killed", "wal2json"),
            ("undisturbed", "wal2json"),
            ("later", "wal2json"),
            ("pgoutput", "pgoutput"),
        )
    ]
    later.terminate()
    writers = rig.stops(Writers(rig.server.url, seed, limit=operations, rest=0)).start()
    wait_until(
        lambda: writers.count() > operations // 2, "half of the operations", context=killed.log_tail
    )
    killed.kill()
    killed.start()
    writers.join()
    writers.resolve()
    later.start_ready()
    pgoutput.kill()
    pgoutput.start()
    read = [read_all(rig, sidecar, set(writers.committed())) for sidecar in sidecars]
    pairs = {
        "killed against undisturbed": (read[0], read[1]),
        "later against undisturbed": (read[2], read[1]),
        "pgoutput against wal2json": (read[3], read[1]),
    }
    pairs |= {
        f"journal against wire of {sidecar.slot}": (segments(sidecar), lines)
        for sidecar, lines in zip(sidecars, read)
    }
    return [
        f"{name}: {first_difference(*pair)}" for name, pair in pairs.items() if pair[0] != pair[1]
    ]


def read_all(rig, sidecar, committed):
    consumer = rig.stops(Consumer(sidecar.feed, keep_lines=True)).start()
    wait_until(
        lambda: consumer.ids >= committed,
        f"{len(committed)} operations from {sidecar.slot}",
        context=sidecar.log_tail,
    )
    consumer.stop()
    print(
        f"{sidecar.slot}: {len(consumer.lines)} lines, {sum(map(len, consumer.lines))} bytes",
        flush=True,
    )
    return consumer.lines


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--operations", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=1)
    sidecar_module.add_argument(parser)
    arguments = parser.parse_args()
    end_on_signals()
    with Rig(arguments.sidecar) as rig:
        differences = compare(rig, arguments.operations, arguments.seed)
    print("\n".join(differences) if differences else "identical bytes and cursors")
    return 1 if differences else 0


if __name__ == "__main__":
    sys.exit(main())
