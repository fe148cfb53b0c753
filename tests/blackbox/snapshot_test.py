"""From the documents to the changes behind them: a consumer that begins with a snapshot has the table, at every moment."""

import json
import os
import random
import socket
import subprocess
import threading
import time
import unittest

import psycopg2
from case import Case
from consumer import Consumer
from waiting import wait_until

SEED = int(os.environ.get("SYNCFLOW_SEED", "401"))

# As SyncFlow's adapter does it: the operation, and what it makes of the document, in one transaction.
STORE = """
    WITH stored AS (
      INSERT INTO operations (id, type, collection, doc_id, data, timestamp, client_id, vector_clock)
      VALUES (%(id)s, %(type)s, %(collection)s, %(doc)s, %(data)s, 1, 'client-1', '{}'))
    INSERT INTO documents AS d (collection, id, data, rev, deleted, vector_clock, updated_at)
    VALUES (%(collection)s, %(doc)s, %(data)s, 1, %(type)s = 'delete', '{}', 1)
    ON CONFLICT (collection, id)
    DO UPDATE SET data = excluded.data, rev = d.rev + 1, deleted = excluded.deleted"""


class Replica(Consumer):
    """Keeps the documents from the feed alone. A change that is missing or comes twice shows in `rev`."""

    def __init__(self, address, name, collections=(), **options):
        super().__init__(address, name, start="snapshot", **options)
        self.collections = list(collections)
        self.documents = {}  # (collection, id) -> [data, rev, deleted]
        self.snapshot = None
        self.number = 0
        self.begun = 0
        self.resumed = 0
        self.complete = False

    def _hello(self):
        hello = {"type": "hello", "version": 1, "from": self.cursor, "heartbeat": 1, "collections": self.collections}
        if self.cursor == "snapshot" and self.snapshot:
            hello.update(snapshot=self.snapshot, number=self.number)
        return json.dumps(hello).encode() + b"\n"

    def _take(self, line):
        message = json.loads(line)
        if not self._is_asked_for(message):
            return
        kind = message["type"]
        if kind == "snapshot_begin":
            if message["snapshot"] != self.snapshot:
                self.documents, self.number, self.snapshot = {}, 0, message["snapshot"]
                self.begun += 1
            else:
                self.resumed += 1
        elif kind == "document":
            document = message["document"]
            key = (document["collection"], document["id"])
            if message["number"] < self.number or key in self.documents:
                self.broken.append(line)
            self.number = message["number"] + 1
            self.documents[key] = [document["data"], document["rev"], document["deleted"]]
        elif kind == "snapshot_end":
            if message["documents"] != len(self.documents):
                self.broken.append(line)
            self.cursor = message["cursor"]
            self.complete = True
        elif kind in ("heartbeat", "live"):
            self.cursor = message.get("cursor", self.cursor)
        else:
            super()._take(line)

    def _take_change(self, line):
        super()._take_change(line)
        operation = json.loads(line)["op"]
        key = (operation["collection"], operation["docId"])
        rev = self.documents.get(key, [None, 0, None])[1]
        self.documents[key] = [operation["data"], rev + 1, operation["type"] == "delete"]

    def _forget(self):
        pass


class DocumentWriters:
    """Transactions of some documents; with savepoints and rollbacks, long open, or waiting for a standby that never comes."""

    def __init__(self, url, seed, documents=60):
        self.url, self.documents = url, documents
        self.stopping = threading.Event()
        self.gate = threading.Lock()  # whoever holds it stops them between transactions
        self.paused = [threading.Lock() for _ in range(4)]
        self.count = 0
        self.cancelled = 0
        self.crash = None
        self.threads = [
            threading.Thread(target=self._run, args=(number, random.Random(f"{seed}/{number}")), daemon=True)
            for number in range(4)
        ]

    def start(self):
        for thread in self.threads:
            thread.start()
        return self

    def stop(self):
        self.stopping.set()
        for thread in self.threads:
            thread.join()

    def __enter__(self):
        """Between transactions."""
        self.gate.acquire()
        for lock in self.paused:
            lock.acquire()

    def __exit__(self, *_):
        for lock in self.paused:
            lock.release()
        self.gate.release()

    def _run(self, number, chance):
        try:
            connection = psycopg2.connect(self.url)
            while not self.stopping.is_set():
                with self.gate:
                    pass
                with self.paused[number]:
                    self._transaction(connection, number, chance)
                time.sleep(chance.uniform(0, 0.01))
            connection.close()
        except Exception as error:
            self.crash = error
            raise

    def _transaction(self, connection, number, chance):
        kind = chance.choice(["plain"] * 20 + ["rollback", "savepoint", "long"] + ["standby"] * (number == 0))
        with connection.cursor() as cursor:
            # In one order, or two writers could wait for each other.
            for document in sorted(chance.sample(range(self.documents), chance.randrange(1, 5))):
                if kind == "savepoint":
                    cursor.execute("SAVEPOINT s")
                    self._store(cursor, document, number, chance)
                    cursor.execute("ROLLBACK TO s")
                self._store(cursor, document, number, chance)
            if kind == "long":
                time.sleep(chance.uniform(0.5, 1.5))
            ended = threading.Event()
            if kind == "standby":
                cursor.execute("SET LOCAL synchronous_commit = on")
                timer = threading.Timer(chance.uniform(0.3, 1), self._cancel, [connection.get_backend_pid(), ended])
                timer.start()
        connection.rollback() if kind == "rollback" else connection.commit()
        ended.set()

    def _store(self, cursor, document, number, chance):
        self.count += 1
        cursor.execute(STORE, {
            "id": f"op-{number}-{self.count}", "type": chance.choice(["insert", "update", "delete"]),
            "collection": ["todos", "notes"][document % 2], "doc": f"doc-{document}",
            "data": json.dumps({"n": self.count, "text": "x" * chance.randrange(300)}),
        })

    def _cancel(self, pid, ended):
        """The commit that waits becomes visible then; until it waits, cancelling does nothing."""
        connection = psycopg2.connect(self.url)
        connection.autocommit = True
        cursor = connection.cursor()
        waits = "SELECT pg_cancel_backend(pid) FROM pg_stat_activity WHERE pid = %s AND wait_event = 'SyncRep'"
        while not ended.is_set():
            cursor.execute(waits, [pid])
            if cursor.fetchone():
                self.cancelled += 1
                break
            time.sleep(0.05)
        connection.close()


class Snapshot(Case):
    def begin(self, **settings):
        self.server = self.rig()
        self.sidecar = self.server.sidecar(**settings).start_ready()
        self.server.wait_slot(self.sidecar.slot)

    def table(self, collections=()):
        rows = self.server.execute("SELECT collection, id, data, rev, deleted FROM documents")
        return {(row[0], row[1]): list(row[2:]) for row in rows if not collections or row[0] in collections}

    def fill(self, documents, size=10):
        self.server.execute(
            "INSERT INTO documents SELECT 'filled-' || n, CASE n %% 2 WHEN 0 THEN 'todos' ELSE 'notes' END,"
            " jsonb_build_object('text', repeat('x', %s)), 1, false, '{}', 1 FROM generate_series(1, %s) n", size, documents)

    def test_documents_and_tail_are_the_table_at_every_look(self):
        self.begin()
        self.fill(20000, size=200)
        for statement in ("ALTER DATABASE postgres SET synchronous_commit = local",
                          "ALTER SYSTEM SET synchronous_standby_names = 'nobody'", "SELECT pg_reload_conf()"):
            self.server.execute(statement)
        chance = random.Random(SEED)
        url = self.server.server.url
        writers = self.server.stops(DocumentWriters(url, SEED).start())
        replicas = []
        for look in range(4):
            for number in range(5):
                name = f"{look}-{number}"
                collections = chance.choice([[], [], ["todos"], ["notes", "none"]])
                pace = chance.choice(["fast", "slow", "dying", "dying"])
                replicas.append(self.server.stops(Replica(self.sidecar.feed, name, collections, pace=pace, seed=SEED).start()))
                time.sleep(chance.uniform(0, 0.7))
            if look % 2:
                self.sidecar.kill()
                self.sidecar.start_ready()
            with writers:
                self.assertIsNone(writers.crash)
                for replica in replicas:
                    wanted = self.table(replica.collections)
                    wait_until(lambda: replica.complete and replica.documents == wanted,  # noqa: B023
                               f"replica {replica.name} to have the table, look {look}, seed {SEED}",
                               context=lambda: self.difference(replica, wanted))  # noqa: B023
                    self.assertEqual(replica.broken + replica.gaps + replica.refusals, [], replica.name)
        writers.stop()
        self.assertGreater(writers.cancelled, 0, "no commit waited for a standby")
        self.assertGreater(sum(replica.resumed for replica in replicas), 0, "no download went on where it broke")

    def difference(self, replica, wanted):
        wrong = {key for key in wanted.keys() | replica.documents.keys() if wanted.get(key) != replica.documents.get(key)}
        some = [(key, wanted.get(key), replica.documents.get(key)) for key in sorted(wrong)[:5]]
        return f"{len(wrong)} differ: {some}\n{replica.cursor} {replica.refusals}\n" + self.sidecar.log_tail()

    def test_own_heartbeats_wait_for_no_standby(self):
        """One that did would be an open transaction, which the slot of a snapshot would wait for."""
        self.begin()
        self.server.execute("ALTER SYSTEM SET synchronous_standby_names = 'nobody'")
        self.server.execute("SELECT pg_reload_conf()")
        answered = "syncflow_heartbeat_roundtrip_seconds_count"
        before = self.sidecar.metrics()[answered]
        # The first of these may have been written before the setting was in force.
        wait_until(lambda: self.sidecar.metrics()[answered] >= before + 2, "heartbeats without a standby", context=self.sidecar.log_tail)

    def test_hundred_joiners_read_the_table_once(self):
        """While it is written to, which scans nothing."""
        self.begin()
        self.fill(3000, size=300)
        scans = "SELECT seq_scan FROM pg_stat_user_tables WHERE relname = 'documents'"
        before = self.server.execute(scans)[0][0]
        writers = self.server.stops(DocumentWriters(self.server.server.url, SEED).start())
        replicas = [self.server.stops(Replica(self.sidecar.feed, f"r{n}").start()) for n in range(100)]
        for replica in replicas:
            wait_until(lambda: replica.complete, "the snapshot", context=self.sidecar.log_tail)  # noqa: B023
        after = wait_until(lambda: self.server.execute(scans)[0][0] - before, "the scan to be counted")
        self.assertEqual(after, 1)
        with writers:
            self.assertIsNone(writers.crash)
            wanted = self.table()
            for replica in replicas:
                wait_until(lambda: replica.documents == wanted, f"replica {replica.name} to have the table",  # noqa: B023
                           context=lambda: self.difference(replica, wanted))  # noqa: B023
        self.assertGreater(writers.count, 100, "hardly anything was written meanwhile")
        slots = self.server.execute("SELECT slot_name FROM pg_replication_slots")
        self.assertEqual(slots, [(self.sidecar.slot,)], "the temporary slot is gone")

    def test_waits_for_open_transactions_and_says_so(self):
        self.begin()
        self.fill(10)
        writer = psycopg2.connect(self.server.server.url)
        writer.cursor().execute("INSERT INTO documents VALUES ('late', 'todos', '1', 1, false, '{}', 1)")
        with socket.create_connection(self.sidecar.feed, timeout=30) as feed:
            feed.sendall(b'{"type":"hello","version":1,"from":"snapshot","heartbeat":1}\n')
            lines = map(json.loads, feed.makefile("rb"))
            self.assertEqual([next(lines)["type"] for _ in range(3)], ["hello", "heartbeat", "heartbeat"])
            writer.commit()
            kinds = [line["document"]["id"] if "document" in line else line["type"] for line, _ in zip(lines, range(13))]
        self.assertIn("late", [kind for kind in kinds if kind != "heartbeat"])

    def test_role_that_may_not_read_documents(self):
        self.server = self.rig()
        self.server.sidecar("owner").start_ready().terminate()
        self.server.execute("SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots")
        self.server.execute("CREATE ROLE blind LOGIN REPLICATION; GRANT SELECT ON operations TO blind")
        url = self.server.server.url.replace("postgres@", "blind@")
        sidecar = self.server.sidecar(**{"postgres.url": url, "postgres.initialize": "false"}).start_ready()
        self.server.wait_slot(sidecar.slot)
        with socket.create_connection(sidecar.feed, timeout=30) as feed:
            feed.sendall(b'{"type":"hello","version":1,"from":"snapshot"}\n')
            kinds = [json.loads(line) for line in feed.makefile("rb")]
        self.assertEqual([line["type"] for line in kinds], ["hello", "error"])
        self.assertEqual((kinds[1]["code"], kinds[1]["retry"]), ("snapshot_failed", True))
        self.assertRegex(sidecar.wait_log("could not be read for a snapshot")[0], "permission denied.*documents")

    def test_tail(self):
        self.begin()
        self.fill(300)
        command = [self.sidecar.program, "tail", "%s:%s" % self.sidecar.feed, "--from", "snapshot", "--collection", "todos"]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as tail:
            lines = [json.loads(tail.stdout.readline()) for _ in range(152)]
            self.commit(self.server, "after", rows=1)
            last = json.loads(tail.stdout.readline())
            tail.terminate()
        self.assertEqual([lines[0]["type"], lines[-1]["type"], lines[-1]["documents"]], ["snapshot_begin", "snapshot_end", 150])
        self.assertEqual({line["document"]["collection"] for line in lines[1:-1]}, {"todos"})
        self.assertEqual(last["op"]["id"], "after-1")


if __name__ == "__main__":
    unittest.main()
