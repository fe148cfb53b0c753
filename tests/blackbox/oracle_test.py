"""The oracle reads a real slot to its end, whatever else stands in the log."""

import unittest

from case import Case
from oracle import Oracle


class OracleTest(Case):
    def setUp(self):
        self.server = self.rig()
        self.server.execute("CREATE TABLE operations (id text)")
        self.oracle = Oracle(self.server.server.url)
        self.oracle.create()

    def commit_row(self, id):
        self.server.execute("INSERT INTO operations VALUES (%s)", id)

    def heartbeat(self, transactional):
        """What the sidecar leaves in the log of a quiet database."""
        self.server.execute("SELECT pg_logical_emit_message(%s, 'heartbeat', '')", transactional)

    def test_a_message_behind_the_last_transaction_ends_the_reading(self):
        for transactional in (True, False):
            self.commit_row(f"before {transactional}")
            self.heartbeat(transactional)
            self.oracle.read()
        self.commit_row("last")
        self.oracle.read()
        self.assertEqual(self.oracle.ids(), ["before True", "before False", "last"])
        self.assertEqual(self.oracle.read(), self.oracle.transactions)

    def test_messages_alone_end_the_reading(self):
        self.heartbeat(True)
        self.assertEqual(self.oracle.read(), [])


if __name__ == "__main__":
    unittest.main()
