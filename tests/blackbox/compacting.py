"""What tests and benchmarks of compaction share: a look at its transactions, and a job that is due."""

import glob
import json
import os
import sys
import threading


class Watch(threading.Thread):
    """Looks again and again how long the transactions of who compacts have been open: seconds in `longest`."""

    def __init__(self, server, every=0.002):
        super().__init__(daemon=True)
        self.connection = server.connect()
        self.every = every
        self.longest = 0.0
        self.seen = 0  # looks that found one open
        self.stopping = threading.Event()

    def run(self):
        with self.connection.cursor() as cursor:
            while not self.stopping.wait(self.every):
                cursor.execute(
                    "SELECT coalesce(max(extract(epoch FROM clock_timestamp() - a.xact_start)), 0)::float8, count(a.xact_start)"
                    " FROM pg_locks l JOIN pg_stat_activity a USING (pid) WHERE l.locktype = 'advisory'")
                age, seen = cursor.fetchone()
                self.longest = max(self.longest, age)
                self.seen += seen

    def stop(self):
        self.stopping.set()
        if self.ident:
            self.join()
        self.connection.close()


def false_clock(offset):
    """Words before a program, whose wall clock is off by that, as libfaketime takes it."""
    found = glob.glob("/usr/lib/*/faketime/libfaketimeMT.so.1")
    if not found:
        sys.exit("libfaketime is not installed: run scripts/setup test")
    return ["env", f"LD_PRELOAD={found[0]}", f"FAKETIME={offset}", "FAKETIME_DONT_FAKE_MONOTONIC=1",
            f"ASAN_OPTIONS={os.environ.get('ASAN_OPTIONS', '')}:verify_asan_link_order=0"]


def put_off(sidecar, hours):
    """While it does not run: as if its jobs had been there for so long, so that they are due. Their runs."""
    path = os.path.join(sidecar.journal, "compaction.json")
    with open(path, encoding="utf-8") as file:
        history = json.load(file)
    for one in history["jobs"]:
        one["since"] -= hours * 3600 * 1000000
    with open(path, "w", encoding="utf-8") as file:
        json.dump(history, file)
    return [run for one in history["jobs"] for run in one["runs"]]
