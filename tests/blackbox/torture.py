#!/usr/bin/python3
"""Writers commit, consumers read, and each round takes something away without warning.

    torture.py --rounds 50 --seed 1 --sidecar build/debug/syncflow-sidecar

At the end everything drains and each consumer is compared with PostgreSQL's own account (oracle.py, checker.py). The exit code
is 1 on any violation; then the journal and the logs are kept. The seed decides what the writers write, which faults come, and
how; the interleaving with the machine is its own.
"""

import argparse
import contextlib
import collections
import json
import os
import random
import re
import resource
import shutil
import sys
import tempfile
import threading
import time

import nemesis
import sidecar as sidecar_module
import torture_page
from checker import Checker
from consumer import Consumer
from durable_test import Named
from nemesis import Disk, Nemesis
from oracle import Oracle
from records import Delivery, Lines
from rig import Rig
from table import table
from waiting import end_on_signals, wait_until
from wire import Wire
from writer import Writers

COLUMNS = "consumer delivered recovered lost reordered torn silent false others repeated connections".split()
FAULTS = ["fault", "times", "seconds each"]
SHOWN = ["lost", "reordered", "torn", "silent gap", "false gap"]
COUNTED = re.compile(r"(op-\d+)-(\d+)")  # a writer, and how far it has counted
MARKER = """INSERT INTO operations (id, type, collection, doc_id, data, timestamp, client_id, vector_clock)
            VALUES ('the end', 'insert', 'todos', 'end', '{}', 1, 'end', '{}')"""
SAMPLES_EVERY = 0.5  # seconds
BEHIND_MAX = 5000  # operations; the writers wait then, so that a slow machine has no more to do in the end
BAR = 30


class Filtered(Consumer):
    def __init__(self, address, name, wanted, **options):
        super().__init__(address, name, **options)
        self.collections = wanted

    def _hello(self):
        hello = {**json.loads(super()._hello()), "collections": self.collections}
        return json.dumps(hello).encode() + b"\n"


class FromSnapshot(Consumer):
    """The documents, then every change behind them. The writers' ledger among the documents says which these are."""

    def __init__(self, address, name, **options):
        super().__init__(address, name, start="snapshot", **options)
        self.ledger = {}
        self.snapshot = None
        self.number = 0

    def has_already(self, id):
        counted = COUNTED.match(id)
        return bool(counted) and int(counted[2]) <= self.ledger.get(counted[1], 0)

    def _hello(self):
        hello = json.loads(super()._hello())
        if self.cursor == "snapshot" and self.snapshot:
            hello.update(snapshot=self.snapshot, number=self.number)
        return json.dumps(hello).encode() + b"\n"

    def _take_message(self, message, line):
        kind = message["type"]
        if kind == "snapshot_begin" and message["snapshot"] != self.snapshot:
            self.ledger, self.number, self.snapshot = {}, 0, message["snapshot"]
        elif kind == "document":
            self.number = message["number"] + 1
            document = message["document"]
            if document["collection"] == "ledger":
                self.ledger[document["id"]] = document["data"]
        elif kind == "snapshot_end":
            self.cursor = message["cursor"]
        elif kind != "heartbeat" or "cursor" in message:
            super()._take_message(message, line)


class Samples(threading.Thread):
    """How many operations are committed and how many each consumer has, again and again."""

    def __init__(self, torture):
        super().__init__(daemon=True)
        self.torture = torture
        self.taken = []  # (seconds, committed, {consumer: delivered})
        self.faults = []  # (seconds, name)
        self.began = time.monotonic()
        self.stopping = threading.Event()

    def now(self):
        return time.monotonic() - self.began

    def run(self):
        while not self.stopping.wait(SAMPLES_EVERY):
            delivered = {consumer.name: len(consumer.ids) for consumer in self.torture.consumers}
            self.taken.append((self.now(), self.torture.writers.count(), delivered))

    def stop(self):
        self.stopping.set()
        if self.ident:
            self.join()


class Torture:
    def __init__(self, rig, seed, library):
        self.rig = rig
        self.seed = seed
        self.counts = collections.Counter()
        self.seconds = collections.Counter()  # that its faults took
        self.lines = Lines()
        self.verdicts = []
        self.wire = rig.stops(Wire(rig.server.url))
        disk = rig.stops(Disk(os.path.join(rig.folder, "disk")))
        settings = {"postgres.url": self.wire.url, "feed.heartbeat": "1s", "journal.segment_size": "1MiB", "feed.tail_memory": "1MiB"}
        if not disk.refusal:
            settings["journal.directory"] = os.path.join(disk.folder, "journal")
        self.sidecar = rig.sidecar(**settings)
        self.nemesis = Nemesis(rig, self.sidecar, self.wire, disk, library)
        self.nemesis.start()
        self.sidecar.wait_ready()
        self.oracle = self.nemesis.oracle = Oracle(rig.server.url)
        self.oracle.create()
        self.writers = self.nemesis.writers = rig.stops(
            Writers(rig.server.url, seed, rest=0.02, huge=5000, ledger=True, hurried=lambda: self.lag() < BEHIND_MAX)
        )
        self.consumers = [
            *(self._make(Consumer, pace, pace=pace) for pace in ("fast", "slow", "dying")),
            self._make(Filtered, "filtered", wanted=["todos"], pace="dying"),
            self._make(Named, "named", pace="dying"),
            self._make(Named, "named-window", collections=["todos", "notes"], window=500),
        ]
        self.consumers[4].lives = (20_000, 4_000_000)  # it begins again where it acknowledged, long ago
        self.everything = [*self.consumers[:3], self.consumers[4]]
        self.nemesis.consumers = list(self.consumers)
        self.plain = self._make(Consumer, "plain", pace="plain", heartbeat=30)
        self.samples = rig.stops(Samples(self))

    def _make(self, kind, name, **options):
        return self.rig.stops(kind(self.sidecar.feed, name, seed=self.seed, lines=self.lines, **options))

    def _join(self, consumer):
        self.consumers.append(consumer.start())
        self.nemesis.consumers.append(consumer)

    # ---- the rounds ----

    def run(self, plan, progress):
        for thing in [*self.consumers, self.plain, self.writers, self.samples]:
            thing.start()
        for number, fault in enumerate(plan, 1):
            chance = random.Random(f"{self.seed}/{number}")
            time.sleep(chance.uniform(0.2, 1.0))
            if number == len(plan) // 3 + 1:
                self._join(self._make(FromSnapshot, "snapshot", pace="dying"))
            self.samples.faults.append((self.samples.now(), fault))
            began = time.monotonic()
            self.nemesis.strike(fault, chance)
            self.seconds[fault] += time.monotonic() - began
            self.counts[fault] += 1
            self.oracle.read_some()
            progress.show(number, fault, self)

    def lag(self):
        """Of the slowest of those that get everything."""
        return max(0, self.writers.count() - min(len(consumer.ids) for consumer in self.everything))

    # ---- the reckoning ----

    def drain(self):
        """The marker is behind everything, in the journal too."""
        self.writers.stop()
        self.nemesis.expect_alive()
        self.nemesis.wait_streaming()
        self.rig.execute(MARKER)
        self.oracle.read()
        committed = set(self.oracle.ids())
        unknown = self.writers.resolve(committed)
        if committed != {*self.writers.committed(), "the end"}:
            raise AssertionError("the oracle and the writers do not agree on what was committed")
        rolled_back = len(self.writers.outcomes) - len(committed) + 1
        print(
            f"{len(self.oracle.transactions)} transactions with {len(committed)} operations; {rolled_back} operations rolled"
            f" back, {unknown} unknown for a while, {self.nemesis.compacted} compacted",
            flush=True,
        )
        self._join(self._make(Consumer, "second reading"))
        for consumer in self.consumers:
            consumer.pace = "fast"
            wait_until(
                lambda: consumer.refusals or consumer.broken or consumer.has("the end"),  # noqa: B023
                f"{consumer.name} to have everything",
                context=self.sidecar.log_tail,
            )
        self.samples.stop()

    def check(self):
        """True if nothing is wrong."""
        self.nemesis.terminate()
        complaints = self.nemesis.complaints + self.sidecar.sanitizer_reports()
        checker = Checker(self.oracle.transactions, self.nemesis.losses)
        for consumer in [*self.consumers, self.plain]:
            more = {"collections": getattr(consumer, "collections", ())}
            if isinstance(consumer, FromSnapshot):
                more["has_already"] = consumer.has_already
            self.verdicts.append((consumer, checker.check_consumer(consumer, consumer is not self.plain, **more)))
        together = checker.compare(Delivery("anybody", *line) for line in self.lines.taken)
        if not together.clean():
            complaints.append(f"consumers differ:\n{together.explain()}")
        print(table(FAULTS, self.fault_rows()))
        print(table(COLUMNS, self.rows()))
        for consumer, verdict in self.verdicts:
            if not verdict.clean():
                print(f"{consumer.name}:\n{verdict.explain()}")
        for complaint in complaints:
            print(complaint)
        return not complaints and all(verdict.clean() for _, verdict in self.verdicts)

    def fault_rows(self):
        return [(fault, times, f"{self.seconds[fault] / times:.1f}") for fault, times in sorted(self.counts.items())]

    def rows(self):
        rows = []
        for consumer, verdict in self.verdicts:
            shown = [verdict.count(kind) for kind in SHOWN]
            others = sum(map(len, verdict.violations.values())) - sum(shown)
            if consumer is self.plain:
                shown[0] = "(asks for none)"
            facts = [verdict.delivered, verdict.recovered, *shown, others, verdict.repeated]
            rows.append([consumer.name, *facts, consumer.connections])
        return rows

    def keep(self):
        """The journal, the logs and the configuration, where the rig does not take them away."""
        folder = tempfile.mkdtemp(prefix="syncflow-torture-")
        shutil.copytree(self.sidecar.settings["journal"]["directory"], os.path.join(folder, "journal"))
        for path in (self.sidecar.log, self.sidecar.config):
            shutil.copy(path, folder)
        shutil.copy(self.rig.server.log, os.path.join(folder, "postgres.log"))
        return folder


class Progress:
    """A bar on a terminal, else a line for each ten rounds."""

    def __init__(self, rounds):
        self.rounds = rounds
        self.began = time.monotonic()
        self.bar = sys.stdout.isatty()

    def rate(self, number):
        return round(number * 3600 / (time.monotonic() - self.began))

    def show(self, number, fault, torture):
        facts = f"{torture.writers.count()} committed, {torture.lag()} behind, {self.rate(number)} rounds/hour"
        if self.bar:
            done = "█" * (BAR * number // self.rounds)
            end = "\n" if number == self.rounds else ""
            print(f"\r\x1b[K{done:░<{BAR}} {number}/{self.rounds}, {facts}, {fault}", end=end, flush=True)
        elif number % 10 == 0 or number == self.rounds:
            print(f"round {number}: {facts}", flush=True)


def stall_library(program):
    """The library that makes disks slow and failing, or None."""
    built = os.path.join(os.path.dirname(os.path.abspath(program)), "tests", "blackbox", "libstall.so")
    path = os.environ.get("SYNCFLOW_STALL_LIBRARY", built)
    return path if os.path.exists(path) else None


def arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=50)
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(1_000_000))
    parser.add_argument("--faults", help=f"only these, with commas between: {', '.join(nemesis.WEIGHTS)}")
    parser.add_argument("--report", metavar="FILE", help="writes an HTML page with the course of it")
    sidecar_module.add_argument(parser)
    chosen = parser.parse_args()
    if chosen.rounds < 1:
        parser.error("--rounds: at least 1")
    names = chosen.faults.split(",") if chosen.faults else list(nemesis.WEIGHTS)
    if unknown := set(names) - nemesis.WEIGHTS.keys():
        parser.error(f"--faults: there is no {', '.join(sorted(unknown))}; there are: {', '.join(nemesis.WEIGHTS)}")
    again = f"scripts/torture --rounds {chosen.rounds} --seed {chosen.seed}"
    again += f" --faults '{chosen.faults}'" if chosen.faults else ""
    return chosen, names, again


def tell_failure(torture, chosen, again):
    with contextlib.suppress(OSError, shutil.Error):
        print(f"journal and logs are kept in {torture.keep()}")
    print(f"VIOLATIONS with seed {chosen.seed}; again: {again}", flush=True)


def run(torture, chosen, names, again):
    """True if nothing is wrong."""
    skipped = torture.nemesis.skipped()
    for fault in sorted(skipped.keys() & set(names)):
        print(f"without '{fault}': {skipped[fault]}")
    faults = [fault for fault in names if fault not in skipped]
    if not faults:
        sys.exit("no fault is left")
    progress = Progress(chosen.rounds)
    clean = False
    try:
        torture.run(nemesis.plan(chosen.seed, chosen.rounds, faults), progress)
        torture.drain()
        clean = torture.check()
    except KeyboardInterrupt:
        print(f"\ninterrupted; again: {again}", flush=True)
        raise
    except BaseException:
        tell_failure(torture, chosen, again)
        raise
    finally:
        torture.samples.stop()
        if chosen.report:
            rate = progress.rate(sum(torture.counts.values()))
            torture_page.write(chosen.report, torture, COLUMNS, FAULTS, again, clean, rate)
    if not clean:
        tell_failure(torture, chosen, again)
    else:
        print(f"clean; {progress.rate(chosen.rounds)} rounds/hour")
    return clean


def main():
    chosen, names, again = arguments()
    end_on_signals()
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    print(f"seed {chosen.seed}", flush=True)
    with Rig(chosen.sidecar, settings={"wal_sender_timeout": "'5s'"}) as rig:
        torture = Torture(rig, chosen.seed, stall_library(chosen.sidecar))
        clean = run(torture, chosen, names, again)
    return 0 if clean else 1


if __name__ == "__main__":
    sys.exit(main())
