"""What the benchmarks share: a server with real fsync, filled slots, medians and a table."""

import os
import statistics
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.abspath(os.path.join(HERE, "..", ".."))
BUILD = os.environ.get("SYNCFLOW_BUILD") or os.path.join(ROOT, "build", "release")
sys.path[:0] = [os.path.join(HERE, "..", "blackbox"), os.path.join(HERE, "..", "support")]

from rig import Rig  # noqa: E402

PLUGIN_OPTIONS = {
    "wal2json": ("format-version=2", "add-tables=public.operations", "actions=insert", "include-lsn=true",
                 "include-xids=true", "include-timestamp=true", "include-types=false"),
    "pgoutput": ("proto_version=1", "publication_names=syncflow_sidecar"),
}


def rig():
    settings = {"fsync": "on", "shared_buffers": "512MB", "max_wal_size": "4GB", "checkpoint_timeout": "30min"}
    return Rig(program=os.path.join(BUILD, "syncflow-sidecar"), settings=settings)


def create_schema(server):
    """The tables as the sidecar makes them, without the NOTIFY trigger."""
    sidecar = server.sidecar("schema", **{"notify.mode": "off", "notify.watch": False})
    sidecar.start_ready()
    sidecar.terminate()
    server.execute("SELECT pg_drop_replication_slot(%s)", sidecar.slot)


def table(title, columns, rows):
    print(f"\n{title}\n")
    cells = [columns, *[[str(cell) for cell in row] for row in rows]]
    widths = [max(len(line[i]) for line in cells) for i in range(len(columns))]
    for line in cells:
        first, *others = [cell.ljust(width) if i == 0 else cell.rjust(width)
                          for i, (cell, width) in enumerate(zip(line, widths))]
        print("  " + "  ".join([first, *others]))


def median(values):
    return statistics.median(values)


def percentile(values, share):
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]
