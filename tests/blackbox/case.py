"""What the tests of bad input share: a rig, a few committed operations, what must be said, and what
must be delivered."""

import unittest

from consumer import Consumer
from rig import Rig
from waiting import end_on_signals, wait_until

FAILED = 1
CONFIGURATION = 78
INSERT = """
    INSERT INTO operations (id, type, collection, doc_id, data, timestamp, client_id, vector_clock)
    SELECT %s || '-' || n, 'insert', 'todos', 'doc', jsonb_build_object('text', repeat('x', %s)),
           n, 'client-1', '{}'
    FROM generate_series(1, %s) n"""

end_on_signals()


class Case(unittest.TestCase):
    def rig(self, **postgres):
        return self.enterContext(Rig(**postgres))

    def commit(self, rig, name, rows=10, size=10):
        """One transaction of operations NAME-1, NAME-2, …"""
        rig.execute(INSERT, name, size, rows)

    def assert_sentence(self, sidecar, problem, remedy):
        """One line of the log names the problem and the remedy."""
        line = sidecar.wait_log(problem)[0]
        self.assertRegex(line, remedy)
        return line

    def assert_ends(self, sidecar, code, problem, remedy):
        self.assertEqual(sidecar.wait_exit(), code, sidecar.log_tail())
        self.assert_sentence(sidecar, problem, remedy)

    def assert_retries(self, sidecar, problem, remedy):
        """It stays alive, says it again at its next attempt, and admits that it does not stream."""
        self.assert_sentence(sidecar, problem, remedy)
        sidecar.wait_log(problem, times=2)
        self.assertTrue(sidecar.running())
        self.assertEqual(sidecar.get("/livez")[0], 200)
        self.assertRegex(sidecar.status()["last_error"], problem)

    def assert_delivers(self, rig, sidecar, names):
        """Exactly the committed operations of these names, each once."""
        rows = rig.execute(
            "SELECT id FROM operations WHERE split_part(id, '-', 1) = ANY(%s)", names
        )
        expected = {row[0] for row in rows}
        self.assertTrue(expected)
        consumer = Consumer(sidecar.feed).start()
        try:
            wait_until(
                lambda: consumer.ids >= expected,
                f"the operations {names}",
                context=sidecar.log_tail,
            )
            self.assertCountEqual([delivery.id for delivery in consumer.deliveries], expected)
            self.assertEqual(consumer.gaps + consumer.refusals + consumer.broken, [])
        finally:
            consumer.stop()
