"""What PostgreSQL itself says was committed, and in which order: a second slot with its own plugin
test_decoding, which the sidecar does not know.

    lsn       | xid | data
    0/153C5F0 | 727 | BEGIN 727
    0/153C640 | 727 | table public.operations: INSERT: id[text]:'op-1' type[text]:'insert' …
    0/153C858 | 727 | COMMIT 727

The LSN beside COMMIT is the end of the commit record; it only rises. After a crash the server may
repeat what was read before: such transactions end at or before the last one known, and are passed
over.
"""

import contextlib
import re
import sys
import time

import psycopg2

from records import Transaction
from waiting import PATIENCE

SLOT = "oracle"
BATCH = 20_000  # lines a read, rounded up to whole transactions
TEXT = r"'((?:[^']|'')*)'"
INSERT = re.compile(rf"table \S+\.operations: INSERT: id\[text\]:{TEXT}"
                    rf"(?: type\[[^]]*\]:{TEXT} collection\[[^]]*\]:{TEXT})?", re.DOTALL)


def lsn_number(text):
    high, low = text.split("/")
    return int(high, 16) << 32 | int(low, 16)


class Oracle:
    def __init__(self, url, slot=SLOT):
        self.url = url
        self.slot = slot
        self.transactions = []

    def create(self):
        """Before the first write that counts; it waits for open transactions."""
        self._ask("SELECT pg_create_logical_replication_slot(%s, 'test_decoding')", self.slot)

    def drop(self):
        self._ask("SELECT pg_drop_replication_slot(%s)", self.slot)

    def read(self):
        """Everything committed up to now; survives restarts of the server in the middle."""
        deadline = time.monotonic() + PATIENCE
        while True:
            try:
                if not self._read_batch():
                    return self.transactions
            except psycopg2.OperationalError:
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.2)

    def read_some(self):
        """A part of it, so that little is left to read under load; the server may be away."""
        with contextlib.suppress(psycopg2.OperationalError):
            self._read_batch()

    def ids(self):
        return [id for transaction in self.transactions for id in transaction.ids]

    def _read_batch(self):
        """Looks first and lets go afterwards: what is lost with the connection is read again.
        Only the end of a transaction is a place to go on from: whoever advances to a message, such
        as the sidecar's heartbeats, is shown it again for ever."""
        rows = self._ask(
            (
                "SELECT lsn::text, data FROM pg_logical_slot_peek_changes(%s, NULL, %s,"
                " 'include-xids', '1', 'skip-empty-xacts', '1')"
            ),
            self.slot,
            BATCH,
        )
        commits = [lsn for lsn, data in rows if data.startswith("COMMIT ")]
        if not commits:
            return False
        self._take(rows)
        self._ask("SELECT pg_replication_slot_advance(%s, %s::pg_lsn)", self.slot, commits[-1])
        return True

    def _take(self, rows):
        ids, collections = [], []
        known = self.transactions[-1].end if self.transactions else 0
        for lsn, data in rows:
            if data.startswith("BEGIN "):
                ids, collections = [], []
            elif data.startswith("COMMIT "):
                end = lsn_number(lsn)
                if ids and end > known:
                    known = end
                    self.transactions.append(Transaction(int(data.split()[1]), end, ids, collections))
            elif match := INSERT.match(data):
                ids.append(match[1].replace("''", "'"))
                collections.append(sys.intern((match[3] or "").replace("''", "'")))

    def _ask(self, sql, *parameters):
        connection = psycopg2.connect(self.url, connect_timeout=10)
        try:
            connection.autocommit = True
            with connection.cursor() as cursor:
                cursor.execute(sql, parameters)
                return cursor.fetchall() if cursor.description else None
        finally:
            connection.close()
