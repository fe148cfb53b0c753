"""Writers that commit operations as SyncFlow does, and know what became of each.

Each thread draws its transactions from its own seeded generator: single rows, many rows in one
statement or several, rollbacks, savepoints rolled back, transactions held open while later ones
commit (commit order is not id order), updates and deletes, which are not operations of the feed. A
connection lost during COMMIT leaves the outcome unknown until Writers.resolve() looks into the
table.
"""

import contextlib
import json
import random
import threading
import time

import psycopg2

INSERT = (
    "INSERT INTO operations (id, type, collection, doc_id, data, timestamp, client_id,"
    " vector_clock) VALUES "
)
ROW = "(%s, %s, %s, %s, %s, %s, %s, %s)"
LEDGER = (
    "INSERT INTO documents (id, collection, data, vector_clock, updated_at) VALUES (%s, 'ledger', %s, '{}', 1)"
    " ON CONFLICT (collection, id) DO UPDATE SET data = excluded.data"
)
ODD_TEXTS = [
    "",
    "plain",
    'it\'s "quoted"',
    "back\\slash \\u0041 \\n",
    "line\nfeed\r\ttab",
    "\x01\x1f\x7f",
    "ünïcödé 漢字 🚀",
    "e\u0301 \u2028\u2029 \ufeff",
    '</script>{"type":"change"}',
    "%s $1 ${HOME} $$",
    "\ud7ff\ue000\U0010ffff",
]
ODD_NUMBERS = [0, -1, 9007199254740993, 123456789012345678901234567890, 0.1, 1e300, -2.5e-10]
COMMITTED, ABORTED, UNKNOWN = "committed", "aborted", "unknown"


class Writers:
    """`rest`: seconds of pause between transactions; `limit`: operations after which it ends; `huge`: rows that a
    transaction in a hundred may have; `ledger`: each transaction writes into the document of its writer how far it has
    counted, so that a snapshot of the documents tells which operations it holds; `hurried`: while it is false they rest
    twenty times as long."""

    def __init__(
        self,
        url,
        seed,
        threads=4,
        rows_max=40,
        rest=0.003,
        limit=None,
        prefix="op",
        huge=0,
        ledger=False,
        hurried=lambda: True,
    ):
        self.url = url
        self.huge = huge
        self.ledger = ledger
        self.hurried = hurried
        self.limit = limit
        self.outcomes = {}  # operation id -> outcome; each id is written by one thread
        self.stopping = threading.Event()
        self.crash = None
        self.writers = [
            Writer(self, f"{prefix}-{number}", random.Random(f"{seed}/{number}"), rows_max)
            for number in range(threads)
        ]
        self.threads = [
            threading.Thread(target=self._run, args=(writer, rest), daemon=True)
            for writer in self.writers
        ]

    def start(self):
        for thread in self.threads:
            thread.start()
        return self

    def stop(self):
        self.stopping.set()
        self.join()

    def join(self):
        for thread in self.threads:
            if thread.ident:
                thread.join()

    def running(self):
        return any(thread.is_alive() for thread in self.threads)

    def count(self):
        """Operations known to be committed, now."""
        return sum(writer.committed for writer in self.writers)

    def committed(self):
        """Their ids. After resolve()."""
        return [id for id, outcome in self.outcomes.items() if outcome == COMMITTED]

    @contextlib.contextmanager
    def paused(self):
        """None of them is inside a transaction."""
        with contextlib.ExitStack() as held:
            for writer in self.writers:
                held.enter_context(writer.turn)
            yield

    def resolve(self, found=None):
        """Looks up what the clients could not know, in the table or in `found`. After stop()."""
        if self.crash:
            raise self.crash
        unknown = [id for id, outcome in self.outcomes.items() if outcome == UNKNOWN]
        if found is None:
            found = self._in_table(unknown)
        for id in unknown:
            self.outcomes[id] = COMMITTED if id in found else ABORTED
        return len(unknown)

    def _in_table(self, unknown):
        with psycopg2.connect(self.url) as connection, connection.cursor() as cursor:
            cursor.execute("SELECT id FROM operations WHERE id = ANY(%s)", (unknown,))
            found = {row[0] for row in cursor}
        connection.close()
        return found

    def _run(self, writer, rest):
        try:
            while not self._done():
                with writer.turn:
                    writer.write()
                self.stopping.wait(rest if self.hurried() else 20 * rest)
        except (
            Exception
        ) as error:  # shown by resolve(): a silent thread would look like a quiet table
            self.crash = error
        finally:
            writer.close()

    def _done(self):
        return self.stopping.is_set() or (self.limit is not None and self.count() >= self.limit)


class Writer:
    """One connection. Used on one thread."""

    def __init__(self, book, prefix, chance, rows_max):
        self.book = book
        self.prefix = prefix
        self.chance = chance
        self.rows_max = rows_max
        self.count = 0
        self.committed = 0
        self.connection = None
        self.turn = threading.Lock()  # held during a transaction
        self.kinds = {
            self._one: 50,
            self._many: 20,
            self._copy: 5,
            self._rollback: 8,
            self._savepoint: 8,
            self._long: 4,
            self._mixed: 5,
        }
        if book.huge:
            self.kinds[self._huge] = 1

    def write(self):
        """One transaction, whatever happens to the connection."""
        if not self._connected():
            return
        ids = []
        outcome = ABORTED
        (kind,) = self.chance.choices(list(self.kinds), self.kinds.values())
        try:
            commits = kind(ids)
            if self.book.ledger:
                self._execute(LEDGER, self.prefix, json.dumps(self.count))
            outcome = UNKNOWN if commits else ABORTED
            self.connection.commit() if commits else self.connection.rollback()
            outcome = COMMITTED if commits else ABORTED
            self.committed += len(ids) if commits else 0
        except psycopg2.Error:
            if not self.connection.closed:
                raise
            self.close()
        for id in ids:
            self.book.outcomes.setdefault(id, outcome)

    def close(self):
        if self.connection is not None:
            self.connection.close()
            self.connection = None

    def _connected(self):
        if self.connection is not None:
            return True
        try:
            self.connection = psycopg2.connect(self.book.url, connect_timeout=10)
        except psycopg2.OperationalError:
            time.sleep(self.chance.uniform(0.02, 0.2))
        return self.connection is not None

    # ---- kinds of transactions: append the ids that a commit keeps, say whether to commit ----

    def _one(self, ids):
        self._insert(ids, 1)
        return True

    def _many(self, ids):
        """Several statements."""
        for _ in range(self.chance.randint(1, 5)):
            self._insert(ids, self.chance.randint(1, max(1, self.rows_max // 5)))
        return True

    def _copy(self, ids):
        """Rows of one statement share one LSN in the log."""
        self._insert(ids, self.rows_max)
        return True

    def _rollback(self, ids):
        self._insert(ids, self.chance.randint(1, 3))
        return False

    def _savepoint(self, ids):
        self._insert(ids, self.chance.randint(1, 3))
        self._execute("SAVEPOINT s")
        dropped = []
        self._insert(dropped, self.chance.randint(1, 3))
        self._execute("ROLLBACK TO SAVEPOINT s")
        self.book.outcomes.update(dict.fromkeys(dropped, ABORTED))
        self._execute("SAVEPOINT kept")
        self._insert(ids, self.chance.randint(0, 2))
        return True

    def _long(self, ids):
        self._insert(ids, self.chance.randint(1, 5))
        self.book.stopping.wait(self.chance.uniform(0.05, 0.4))
        self._insert(ids, self.chance.randint(1, 5))
        return True

    def _huge(self, ids):
        """As often of ten rows to a hundred as of a hundred to a thousand."""
        self._insert(ids, int(self.book.huge ** self.chance.random()))
        return True

    def _mixed(self, ids):
        """Changes that are none of the feed's business between two that are."""
        self._insert(ids, 1)
        self._execute("UPDATE operations SET synced = true WHERE id = %s", ids[0])
        self._execute(
            (
                "INSERT INTO documents (id, collection, data, vector_clock, updated_at) VALUES (%s,"
                " 'todos', '{}', '{}', 1) ON CONFLICT (collection, id) DO UPDATE SET rev ="
                " documents.rev + 1"
            ),
            self.prefix,
        )
        self._insert(ids, 1)
        return True

    # ---- rows ----

    def _insert(self, ids, rows):
        if rows == 0:
            return
        operations = [self._operation() for _ in range(rows)]
        ids += [operation[0] for operation in operations]
        self._execute(
            INSERT + ", ".join([ROW] * rows),
            *[value for operation in operations for value in operation],
        )

    def _execute(self, sql, *values):
        with self.connection.cursor() as cursor:
            cursor.execute(sql, values)

    def _operation(self):
        self.count += 1
        odd = self.chance.choice(ODD_TEXTS) if self.chance.random() < 0.2 else ""
        kind = self.chance.choice(["insert", "update", "delete", "batch"])
        data = None if kind == "delete" else json.dumps(self._data())
        return (
            f"{self.prefix}-{self.count}{odd}",
            kind,
            self.chance.choice(["todos", "notes", f"c{odd}"]),
            f"doc-{self.chance.randrange(1000)}{odd}",
            data,
            1700000000000 + self.count,
            self.prefix,
            json.dumps({self.prefix: self.count}),
        )

    def _data(self):
        return {
            "title": self.chance.choice(ODD_TEXTS),
            "n": self.chance.choice(ODD_NUMBERS),
            "list": [None, True, {"deep": self.chance.choice(ODD_TEXTS)}],
            self.chance.choice(ODD_TEXTS): "x" * self.chance.randrange(100),
        }
