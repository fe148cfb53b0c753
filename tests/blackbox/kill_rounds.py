#!/usr/bin/python3
"""Kill rounds: writers commit, consumers read, and each round takes something away without warning.

    kill_rounds.py --rounds 50 --seed 1 --sidecar build/debug/syncflow-sidecar

At the end everything drains and each consumer is compared with PostgreSQL's own account (oracle.py,
checker.py). The exit code is 1 on any violation. The seed decides what the writers write and what
is killed when; the interleaving with the machine is its own.
"""

import argparse
import collections
import random
import sys
import time

import sidecar as sidecar_module
from checker import Checker
from consumer import Consumer
from oracle import Oracle
from rig import Rig
from table import table
from waiting import end_on_signals, wait_until
from writer import Writers

WEIGHTS = {
    "sidecar": 40,
    "sidecar twice": 8,
    "server": 12,
    "sidecar and server": 5,
    "walsender": 12,
    "consumer": 12,
    "pause": 6,
    "terminate": 5,
}
TERMINATE_WALSENDER = """SELECT pg_terminate_backend(active_pid) FROM pg_replication_slots
                         WHERE slot_name = %s AND active_pid IS NOT NULL"""
COLUMNS = "consumer delivered lost reordered torn others repeated connections".split()


class KillRounds:
    def __init__(self, rig, seed):
        self.rig = rig
        self.chance = random.Random(seed)
        self.counts = collections.Counter()
        self.complaints = []
        self.sidecar = rig.sidecar(
            **{"feed.heartbeat": "1s", "journal.segment_size": "1MiB", "feed.tail_memory": "1MiB"}
        )
        self.sidecar.start_ready()
        self.oracle = Oracle(rig.server.url)
        self.oracle.create()
        self.consumers = [
            rig.stops(Consumer(self.sidecar.feed, pace, pace, seed=seed))
            for pace in ("fast", "slow", "dying")
        ]
        self.plain = rig.stops(
            Consumer(self.sidecar.feed, "plain", "plain", heartbeat=30, seed=seed)
        )
        self.writers = rig.stops(Writers(rig.server.url, seed))

    # ---- the rounds ----

    def run(self, rounds):
        for thing in [*self.consumers, self.plain, self.writers]:
            thing.start()
        for number, fault in enumerate(self._plan(rounds), 1):
            time.sleep(self.chance.uniform(0.2, 1.0))
            self._expect_alive()
            getattr(self, "take_" + fault.replace(" ", "_"))()
            self.counts[fault] += 1
            if number % 10 == 0 or number == rounds:
                print(
                    f"round {number}: {self.writers.count()} committed, killed "
                    + ", ".join(f"{name} {count}" for name, count in self.counts.items()),
                    flush=True,
                )

    def _plan(self, rounds):
        """Each fault once, as far as the rounds reach, the rest by weight."""
        once = self.chance.sample(list(WEIGHTS), min(rounds, len(WEIGHTS)))
        plan = once + self.chance.choices(list(WEIGHTS), WEIGHTS.values(), k=rounds - len(once))
        self.chance.shuffle(plan)
        return plan

    def _expect_alive(self):
        if not self.sidecar.running():
            self.complaints.append(
                f"the sidecar ended by itself with {self.sidecar.process.returncode}"
            )
            print(self.sidecar.log_tail(), file=sys.stderr)
            self.sidecar.start()

    # ---- the faults ----

    def take_sidecar(self):
        self._expect_alive()
        self.sidecar.kill()
        time.sleep(self.chance.choice([0, 0, self.chance.uniform(0, 0.5)]))
        self.sidecar.start()
        if self.chance.random() < 0.5:
            self.sidecar.wait_ready()

    def take_sidecar_twice(self):
        """The second time while it recovers from the first."""
        self.sidecar.kill()
        self.sidecar.start()
        time.sleep(self.chance.uniform(0, 0.3))
        self.take_sidecar()

    def take_server(self):
        self.rig.server.stop("immediate")
        time.sleep(self.chance.choice([0, self.chance.uniform(0, 0.5)]))
        self.rig.server.start()

    def take_sidecar_and_server(self):
        self.sidecar.kill()
        self.take_server()
        self.sidecar.start()

    def take_walsender(self):
        self.rig.execute(TERMINATE_WALSENDER, self.sidecar.slot)

    def take_consumer(self):
        self.chance.choice(self.consumers).cut()

    def take_pause(self):
        self.sidecar.pause()
        time.sleep(1)
        if self.chance.random() < 0.5:
            self.sidecar.resume()
        else:
            self.take_sidecar()

    def take_terminate(self):
        self.sidecar.wait_ready()
        code = self.sidecar.terminate()
        if code != 0:
            self.complaints.append(f"SIGTERM ended the sidecar with {code}")
        self.sidecar.start()

    # ---- the reckoning ----

    def drain(self):
        self.writers.stop()
        unknown = self.writers.resolve()
        self.oracle.read()
        committed = self.oracle.ids()
        if set(committed) != set(self.writers.committed()):
            raise AssertionError("the oracle and the writers do not agree on what was committed")
        self._expect_alive()
        rolled_back = len(self.writers.outcomes) - len(committed)
        print(f"{len(self.oracle.transactions)} transactions with {len(committed)} operations;")
        print(f"{rolled_back} operations rolled back, {unknown} unknown for a while", flush=True)
        self.consumers.append(self.rig.stops(Consumer(self.sidecar.feed, "second reading").start()))
        for consumer in self.consumers:
            consumer.pace = "fast"
            wait_until(
                lambda: consumer.refusals or consumer.has(committed[-1]),
                f"{consumer.name} to have everything",
                context=self.sidecar.log_tail,
            )

    def check(self):
        """True if nothing is wrong."""
        self.take_terminate()
        self.sidecar.kill()
        self.complaints += self.sidecar.sanitizer_reports()
        checker = Checker(self.oracle.transactions)
        verdicts = [
            (consumer, checker.check_consumer(consumer, consumer is not self.plain))
            for consumer in [*self.consumers, self.plain]
        ]
        self._compare_consumers(checker)
        print(table(COLUMNS, [self._row(consumer, verdict) for consumer, verdict in verdicts]))
        for consumer, verdict in verdicts:
            if not verdict.clean():
                print(f"{consumer.name}:\n{verdict.explain()}")
        for complaint in self.complaints:
            print(complaint)
        return not self.complaints and all(verdict.clean() for _, verdict in verdicts)

    def _compare_consumers(self, checker):
        """Everybody must have got the same bytes under the same cursor."""
        everything = [
            delivery
            for consumer in [*self.consumers, self.plain]
            for delivery in consumer.deliveries
        ]
        verdict = checker.check(everything)
        for kind in ("other bytes", "two cursors", "two operations"):
            if verdict.count(kind):
                self.complaints.append(f"consumers differ: {kind} {verdict.violations[kind][:3]}")

    def _row(self, consumer, verdict):
        shown = [verdict.count(kind) for kind in ("lost", "reordered", "torn")]
        others = sum(map(len, verdict.violations.values())) - sum(shown)
        if consumer is self.plain:
            shown[0] = "(asks for none)"
        counts = [*shown, others, verdict.repeated, consumer.connections]
        return [consumer.name, verdict.delivered, *counts]


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=50)
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(1_000_000))
    sidecar_module.add_argument(parser)
    arguments = parser.parse_args()
    end_on_signals()
    print(f"seed {arguments.seed}", flush=True)
    with Rig(arguments.sidecar) as rig:
        rounds = KillRounds(rig, arguments.seed)
        rounds.run(arguments.rounds)
        rounds.drain()
        clean = rounds.check()
    print("clean" if clean else f"VIOLATIONS with seed {arguments.seed}")
    return 0 if clean else 1


if __name__ == "__main__":
    sys.exit(main())
