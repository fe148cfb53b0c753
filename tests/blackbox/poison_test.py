"""A transaction that cannot be read: bounded attempts, a state that says so, and a command that leaves out
exactly it. Judged by what consumers get."""

import json
import re
import subprocess
import unittest

from case import INSERT, Case
from consumer import Consumer
from waiting import wait_until

HIDE = "ALTER TABLE operations RENAME COLUMN data TO hidden"
SHOW = "ALTER TABLE operations RENAME COLUMN hidden TO data"


class Poison(Case):
    def begin(self, **settings):
        self.server = self.rig()
        self.sidecar = self.server.sidecar(**settings).start_ready()
        self.commit(self.server, "before")
        self.follow("consumer")
        self.wait_for("before-10")

    def follow(self, name):
        self.consumer = self.server.stops(Consumer(self.sidecar.feed, name, keep_lines=True).start())

    def wait_for(self, id):
        wait_until(lambda: self.consumer.has(id), id, context=self.sidecar.log_tail)

    def poison(self):
        """Three operations that can be read and one that cannot, in one transaction."""
        connection = self.server.connect()
        with connection.cursor() as cursor:
            cursor.execute("BEGIN")
            cursor.execute(INSERT, ("half", 10, 3))
            cursor.execute(HIDE)
            cursor.execute(INSERT.replace("data,", "hidden,"), ("poison", 10, 1))
            cursor.execute(SHOW)
            cursor.execute("COMMIT")
        connection.close()
        self.commit(self.server, "after")

    def wait_stuck(self, **patience):
        wait_until(lambda: '"state": "stuck"' in self.sidecar.get("/status")[1], "state stuck", context=self.sidecar.log_tail, **patience)
        sentence = self.sidecar.status()["last_error"]
        return re.search(r"commits at ([0-9A-F]+/[0-9A-F]+) cannot be read.*syncflow-sidecar skip \1 --config", sentence)[1]

    def skip(self, lsn):
        command = [self.sidecar.program, "skip", lsn, "--config", self.sidecar.config]
        return subprocess.run(command, check=False, capture_output=True, text=True)

    def assert_skipped(self):
        """What can be read came, the gap stands where the rest was, and everything behind it came once."""
        self.wait_for("after-10")
        ids = [delivery.id for delivery in self.consumer.deliveries]
        expected = [f"before-{n}" for n in range(1, 11)] + ["half-1", "half-2"] + [f"after-{n}" for n in range(1, 11)]
        self.assertEqual(ids, expected)
        self.assertEqual(len(self.consumer.gaps), 1)
        gap = json.loads(self.consumer.gaps[0])
        self.assertEqual(gap["code"], "transaction_skipped")
        cursors = {delivery.id: delivery.cursor for delivery in self.consumer.deliveries}
        self.assertEqual(gap["after"], cursors["half-2"])
        self.assertEqual(gap["cursor"], cursors["half-2"][:-1] + "2")

    def try_plugin(self, plugin):
        self.begin(**{"replication.plugin": plugin})
        self.poison()
        lsn = self.wait_stuck()
        self.assertEqual(self.sidecar.metrics()['syncflow_state{state="stuck"}'], 1)
        attempts = self.sidecar.log_text().count("restore it")
        self.assertEqual(attempts, 4, "three attempts, and the sentence that sums up")
        self.assertEqual(self.skip("0/8").returncode, 0)  # of a transaction long gone
        self.sidecar.kill()
        self.sidecar.start()
        self.assertEqual(self.wait_stuck(), lsn)
        self.assertFalse(self.consumer.has("after-1"))
        self.assertEqual(self.skip(lsn).returncode, 0)
        self.assert_skipped()
        self.sidecar.kill()
        self.sidecar.start_ready()
        self.commit(self.server, "later")
        self.wait_for("later-10")
        self.assertEqual(len(self.consumer.gaps), 1)
        old = [delivery.cursor for delivery in self.consumer.deliveries]
        self.follow("new")
        self.wait_for("later-10")
        self.assertEqual([delivery.cursor for delivery in self.consumer.deliveries], old)

    def test_D9_column_was_away_wal2json(self):
        self.try_plugin("wal2json")

    def test_D9_column_was_away_pgoutput(self):
        self.try_plugin("pgoutput")

    def test_D9_row_that_the_server_cannot_send(self):
        """A control character takes six bytes of JSON: more than the gigabyte that PostgreSQL can put together."""
        self.begin(**{"notify.mode": "off"})
        connection = self.server.connect()
        with connection.cursor() as cursor:
            cursor.execute(INSERT.replace("'x'", "E'\\x01'"), ("poison", 180_000_000, 1))
        connection.close()
        self.commit(self.server, "after")
        lsn = self.wait_stuck(seconds=600)  # each attempt makes the server write a gigabyte
        self.sidecar.wait_log("string buffer|memory alloc")
        self.assertEqual(self.skip(lsn).returncode, 0)
        self.wait_for("after-10")
        self.assertEqual(json.loads(self.consumer.gaps[0])["code"], "transaction_skipped")
        self.assertFalse(self.consumer.has("poison-1"))

    def test_D9_killed_after_the_wish(self):
        """Asked while nobody runs, and again killed as soon as it is done: the gap stands once."""
        self.begin()
        self.poison()
        lsn = self.wait_stuck()
        self.sidecar.kill()
        self.assertEqual(self.skip(lsn).returncode, 0)
        for _ in range(2):
            self.sidecar.start()
            self.sidecar.wait_log("was left out, as an operator asked")
            self.sidecar.kill()
        self.sidecar.start_ready()
        self.assert_skipped()

    def test_D9_healed_from_the_table(self):
        """The other advice: without the slot, the rows come from the table."""
        self.begin()
        self.poison()
        self.wait_stuck()
        self.sidecar.terminate()
        self.server.execute("SELECT pg_drop_replication_slot(%s)", self.sidecar.slot)
        self.sidecar.start_ready()
        self.wait_for("poison-1")
        self.wait_for("after-10")
        ids = [delivery.id for delivery in self.consumer.deliveries]
        self.assertEqual(len(ids), len(set(ids)))
        self.assertEqual(len(ids), 24)
        self.assertEqual(json.loads(self.consumer.gaps[0])["code"], "history_recovered")

    def test_skip_refuses_nonsense(self):
        self.begin()
        self.assertEqual(self.skip("16").returncode, 2)
        self.sidecar.terminate()
        self.sidecar.configure(**{"journal.directory": self.sidecar.folder})
        answer = self.skip("0/8")
        self.assertEqual(answer.returncode, 1)
        self.assertIn("holds no journal", answer.stderr)


if __name__ == "__main__":
    unittest.main()
