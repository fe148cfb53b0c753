"""Durable consumers: what has a name is told everything, whatever is killed when."""

import json
import os
import pty
import random
import re
import subprocess
import time
import unittest

from case import Case
from consumer import Consumer
from records import Position
from waiting import wait_until
from writer import Writers

SEED = int(os.environ.get("SYNCFLOW_SEED", "301"))


class Named(Consumer):
    """Remembers nothing: the feed knows where it stands. It acknowledges now and then, and dies now and then."""

    def __init__(self, address, name, collections=(), window=0, **options):
        super().__init__(address, name, **options)
        self.collections = list(collections)
        self.window = window
        self.greeted = False  # ever
        self.acked = []

    def _start(self):
        return self.acked[-1] if self.acked else None

    def _hello(self):
        self.unacknowledged = 0
        hello = {"type": "hello", "version": 1, "name": self.name, "heartbeat": 1, "collections": self.collections,
                 "window": self.window}
        if not self.greeted:
            hello["from"] = "earliest"
        return json.dumps(hello).encode() + b"\n"

    def _take(self, line):
        super()._take(line)
        kind = json.loads(line)["type"]
        self.greeted = self.greeted or (kind == "hello" and self.answered)
        if kind == "acked":
            self.acked.append(json.loads(line)["cursor"])
        if kind in ("change", "heartbeat", "live") and self.greeted:
            self.unacknowledged += 1
            if self.chance.random() < 0.02 or kind != "change" or (self.window and self.unacknowledged >= self.window):
                self._acknowledge()

    def _acknowledge(self):
        self.unacknowledged = 0
        connection = self.socket
        if connection is not None:
            connection.sendall(json.dumps({"type": "ack", "cursor": self.cursor}).encode() + b"\n")

    def _forget(self):
        pass


class Durable(Case):
    def begin(self, **settings):
        self.server = self.rig()
        self.sidecar = self.server.sidecar(**settings).start_ready()
        self.server.wait_slot(self.sidecar.slot)

    def program(self, *words, **options):
        command = [self.sidecar.program, *words]
        return subprocess.run(command, check=False, capture_output=True, text=True, timeout=60, **options)

    def consumers(self, *words):
        return self.program("consumers", "--config", self.sidecar.config, *words)

    def listed(self):
        answer = self.consumers("--json")
        self.assertEqual(answer.returncode, 0, answer.stderr)
        return {one["name"]: one for one in json.loads(answer.stdout)["consumers"]}

    def assert_everything_in_order(self, consumer, collections):
        rows = self.server.execute("SELECT id, collection FROM operations")
        expected = {id for id, collection in rows if not collections or collection in collections}
        wait_until(lambda: consumer.ids >= expected, f"{consumer.name}: everything", context=self.sidecar.log_tail)
        first_seen = list(dict.fromkeys(delivery.cursor for delivery in consumer.deliveries))
        self.assertEqual([Position.of(cursor) for cursor in first_seen], sorted(Position.of(cursor) for cursor in first_seen))
        ids = {delivery.cursor: delivery.id for delivery in consumer.deliveries}
        self.assertCountEqual(ids.values(), expected, consumer.name)
        self.assertEqual(consumer.gaps + consumer.broken + consumer.refusals, [], consumer.name)

    def test_random_consumers_get_exactly_theirs(self):
        """Fast, slow, dying, filtered, with windows; the sidecar is killed and stopped meanwhile."""
        self.begin(**{"feed.tail_memory": "1MiB", "journal.segment_size": "1MiB"})
        chance = random.Random(SEED)
        writers = Writers(self.server.server.url, SEED, threads=3, limit=12000).start()
        people = []
        for number in range(12):
            wanted = chance.choice([[], ["todos"], ["notes"], ["todos", "notes", "none"]])
            pace = chance.choice(["fast", "slow", "dying", "dying"])
            window = chance.choice([0, 0, 1, 7, 500])
            name = f"n{number}-{pace}"
            consumer = Named(self.sidecar.feed, name, wanted, window, pace=pace, seed=SEED)
            people.append((self.server.stops(consumer.start()), wanted))
        for number in range(6):
            time.sleep(chance.uniform(0.3, 1))
            (self.sidecar.kill if number % 3 else self.sidecar.terminate)()
            self.sidecar.start_ready()
        writers.join()
        writers.resolve()
        for consumer, wanted in people:
            consumer.pace = "fast"
            with self.subTest(consumer=consumer.name, seed=SEED):
                self.assert_everything_in_order(consumer, wanted)
        self.assertGreater(sum(consumer.connections for consumer, _ in people), 3 * len(people))

    def test_acked_is_durable(self):
        """What was called acked is not sent again, however soon the sidecar is killed."""
        self.begin()
        self.commit(self.server, "one", rows=50)
        consumer = Named(self.sidecar.feed, "billing").start()
        wait_until(lambda: consumer.has("one-50") and consumer.acked, "an ack", context=self.sidecar.log_tail)
        last = consumer.acked[-1]
        self.sidecar.kill()
        consumer.stop()
        self.sidecar.start_ready()
        self.assertGreaterEqual(Position.of(self.listed()["billing"]["acknowledged"]), Position.of(last))
        again = self.server.stops(Named(self.sidecar.feed, "billing"))
        again.greeted = True
        again.start()
        self.commit(self.server, "two")
        wait_until(lambda: again.has("two-10"), "the rest", context=self.sidecar.log_tail)
        self.assertTrue(all(Position.of(delivery.cursor) > Position.of(last) for delivery in again.deliveries))

    def test_tail_with_a_name(self):
        """Killed, it goes on with the next line it has not acknowledged; none is missing."""
        self.begin()
        printed = []
        for number in range(3):
            command = [self.sidecar.program, "tail", "%s:%s" % self.sidecar.feed, "--name", "printer", "--from", "earliest"]
            with subprocess.Popen(command[:-2] if number else command, stdout=subprocess.PIPE, text=True) as tail:
                wait_until(lambda: self.listed().get("printer", {}).get("connected"), "it to connect")
                self.commit(self.server, f"part{number}", rows=20)
                while not (printed and f'"part{number}-20"' in printed[-1]):
                    printed.append(tail.stdout.readline())
                tail.kill()
            self.commit(self.server, f"between{number}", rows=5)
        ids = [json.loads(line)["op"]["id"] for line in printed]
        rows = self.server.execute("SELECT id FROM operations WHERE id NOT LIKE 'between2-%%'")
        self.assertEqual(set(ids), {row[0] for row in rows})
        self.assertLess(len(ids), len(rows) + 3 * 20)

    def test_tail_on_a_terminal(self):
        """For people: one readable line a change, unless --json asks for the feed's own."""
        self.begin()
        self.commit(self.server, "one", rows=3)
        lines = {}
        for words in ((), ("--json",)):
            screen, terminal = pty.openpty()
            command = [self.sidecar.program, "tail", "%s:%s" % self.sidecar.feed, "--from", "earliest", *words]
            with subprocess.Popen(command, stdout=terminal) as tail, open(screen, encoding="utf-8") as shown:
                os.close(terminal)
                lines[words] = [shown.readline().rstrip() for _ in range(3)]
                tail.terminate()
        for line, cursor in zip(lines[()], [json.loads(line)["cursor"] for line in lines["--json",]]):
            self.assertRegex(line, r'^2\d{3}-\d\d-\d\dT[0-9:.]{12}Z insert todos/doc %s \{"text":"x{10}"\}$' % re.escape(cursor))

    def test_consumers_are_listed_moved_and_removed(self):
        self.begin()
        self.commit(self.server, "one")
        consumer = Named(self.sidecar.feed, "billing").start()
        wait_until(lambda: consumer.has("one-10") and consumer.acked, "an ack", context=self.sidecar.log_tail)
        one = self.listed()["billing"]
        self.assertEqual((one["connected"], one["state"]), (True, "kept"))
        self.assertEqual(one["acknowledged"], consumer.acked[-1])
        self.assertRegex(self.consumers().stdout, r"(?m)^billing +- +yes +kept +[0-9a-f.]+ +\d+  2")
        for words in [("move", "billing", "earliest"), ("give", "billing", "another"), ("remove", "billing")]:
            answer = self.consumers(*words)
            self.assertEqual((answer.returncode, answer.stdout), (1, ""))
            self.assertIn("is connected: stop it first", answer.stderr)
        consumer.stop()
        wait_until(lambda: not self.listed()["billing"]["connected"], "it to be gone")
        first = consumer.deliveries[0].cursor
        self.assertEqual(self.consumers("move", "billing", first).returncode, 0)
        self.assertEqual(self.listed()["billing"]["acknowledged"], first)
        for place, problem in [("nonsense", "cursor of this feed"), ("00000000.0000000000002000.0", "another history"),
                               (first[:8] + ".ffffffffffffffff.0", "beyond the head")]:
            answer = self.consumers("move", "billing", place)
            self.assertEqual(answer.returncode, 1)
            self.assertIn(problem, answer.stderr)
        self.assertEqual(self.consumers("give", "billing", "invoicing").returncode, 0)
        self.assertIn("printable ASCII", self.consumers("give", "billing", "two words").stderr)
        one = self.listed()["billing"]
        self.assertEqual((one["acknowledged"], one["token"]), (first, "invoicing"))
        self.assertEqual(self.consumers("give", "billing", "").returncode, 0)
        self.assertEqual(self.listed()["billing"]["token"], "")
        self.sidecar.kill()
        self.sidecar.start_ready()
        again = self.server.stops(Named(self.sidecar.feed, "billing"))
        again.greeted = True
        again.start()
        wait_until(lambda: again.has("one-10"), "the rest", context=self.sidecar.log_tail)
        self.assertFalse(again.has("one-1"), "it was moved behind the first")
        again.stop()
        wait_until(lambda: not self.listed()["billing"]["connected"], "it to be gone")
        self.assertEqual(self.consumers("remove", "billing").returncode, 0)
        self.assertEqual(self.listed(), {})
        self.assertIn("no consumer has this name", self.consumers("remove", "billing").stderr)
        self.sidecar.terminate()
        answer = self.consumers()
        self.assertEqual(answer.returncode, 1)
        self.assertRegex(answer.stderr, re.escape(f"127.0.0.1:{self.sidecar.http_port}") + ".*is the sidecar running")

    def test_what_a_name_still_needs_is_kept(self):
        """Retention lets the plain cursor starve and the named consumer not, up to the size for it."""
        small = {"journal.segment_size": "1MiB", "journal.retain_size": "2MiB", "feed.tail_memory": "1MiB"}
        self.begin(**small)
        consumer = Named(self.sidecar.feed, "away").start()
        self.commit(self.server, "early")
        wait_until(lambda: consumer.has("early-10") and consumer.acked, "an ack", context=self.sidecar.log_tail)
        consumer.stop()
        for number in range(10):
            self.commit(self.server, f"bulk{number}", rows=1000, size=1000)
        self.assert_delivers(self.server, self.sidecar, ["early", *(f"bulk{number}" for number in range(10))])
        self.assertEqual(self.listed()["away"]["state"], "kept")
        self.sidecar.terminate()
        self.sidecar.configure(**{"journal.pin_size_max": "4MiB"})
        self.sidecar.start_ready()
        self.assertEqual(self.listed()["away"]["state"], "history_lost")
        answer = self.consumers("move", "away", self.listed()["away"]["acknowledged"])
        self.assertIn("no longer holds", answer.stderr)
        lost = Named(self.sidecar.feed, "away")
        lost.greeted = True
        self.server.stops(lost.start())
        wait_until(lambda: lost.refusals, "the refusal", context=self.sidecar.log_tail)
        self.assertIn(b"history_lost", lost.refusals[0])


if __name__ == "__main__":
    unittest.main()
