"""The adapter from the command line: init, accept, get, query, stats, compact."""

import contextlib
import json
import os
import subprocess
import sys
import tempfile
import time
import unittest

import psycopg2

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "..", "support"))

from postgres import PrivatePostgres  # noqa: E402

PROGRAM = os.environ["SYNCFLOW_SIDECAR"]
DONE, FAILED, USAGE, CONFIGURATION = 0, 1, 2, 78
NOW = int(time.time() * 1000)
DAY = 86_400_000


def operation(number, **changes):
    return {
        "id": f"op-{number}", "type": "insert", "collection": "todos", "docId": f"doc-{number}",
        "data": {"n": number, "title": "Müll \U0001f418"}, "timestamp": NOW - number * DAY, "clientId": "c", "synced": False,
        "vectorClock": {"c": 1}, **changes,
    }


class Commands(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.server = cls.enterClassContext(PrivatePostgres())

    def setUp(self):
        self.assertEqual(self.run_program("init", "--index", "data", "clock")[0], DONE)
        self.run_program("compact", "--older-than", "0ms")

    def run_program(self, *words, given="", url=None):
        environment = {**os.environ, "DATABASE_URL": self.server.url if url is None else url}
        done = subprocess.run([PROGRAM, *words], input=given, env=environment, capture_output=True, text=True,
                              timeout=120, check=False)
        return done.returncode, [json.loads(line) for line in done.stdout.splitlines()], done.stderr

    def execute(self, sql):
        with contextlib.closing(psycopg2.connect(self.server.url)) as connection:
            connection.autocommit = True
            connection.cursor().execute(sql)

    def accept(self, *operations):
        lines = [one if isinstance(one, str) else json.dumps(one) for one in operations]
        return self.run_program("accept", given="\n".join(lines))

    def test_accepted_operations_are_documents(self):
        self.assertEqual(self.accept(*map(operation, range(2500)), ""),
                         (DONE, [], "2500 accepted, 0 in conflict, 0 rejected\n"))
        self.assertEqual(self.accept(operation(1))[0], DONE)
        code, output, _ = self.run_program("get", "todos", "doc-7")
        self.assertEqual((code, output), (DONE, [{"_id": "doc-7", "_rev": 1, **operation(7)["data"]}]))
        code, output, _ = self.run_program("query", "todos", '{"n":{"$gte":2497}}', "--order=-n", "--limit", "2")
        self.assertEqual((code, [one["n"] for one in output]), (DONE, [2499, 2498]))
        self.assertEqual(self.run_program("stats")[1],
                         [{"totalOperations": 2500, "totalDocuments": 2500, "unsyncedOperations": 2500}])

    def test_each_line_that_is_not_stored_is_named(self):
        late = operation(101, id="late", vectorClock={"d": 1})
        bad = operation(102, data={"text": "\0"})
        code, output, errors = self.accept(operation(101), "{", "", late, bad, "[]", operation(103))
        self.assertEqual(code, FAILED)
        self.assertEqual(errors, "2 accepted, 1 in conflict, 3 rejected\n")
        rejected = {one["rejected"]["line"]: one["rejected"] for one in output if "rejected" in one}
        self.assertEqual(sorted(rejected), [2, 5, 6])
        self.assertEqual(rejected[5]["id"], "op-102")
        self.assertIn("u0000", rejected[5]["reason"])
        conflict, = (one["conflict"] for one in output if "conflict" in one)
        self.assertEqual((conflict["id"], conflict["vectorClock"]), ("late", {"c": 1}))

    def test_accept_reads_a_file(self):
        with tempfile.NamedTemporaryFile("w", suffix=".ndjson") as file:
            file.write(json.dumps(operation(200)))
            file.flush()
            self.assertEqual(self.run_program("accept", file.name)[0], DONE)
        code, _, errors = self.run_program("accept", file.name)
        self.assertEqual(code, USAGE)
        self.assertIn("cannot open", errors)

    def age(self):
        self.execute("UPDATE operations SET received_at = 'epoch'")

    def test_compact_deletes_what_is_old(self):
        self.accept(*map(operation, range(60)))
        self.assertEqual(self.run_program("compact", "--older-than", "30d", "--dry-run")[1][0]["deletedCount"], 0, "they were stored today")
        self.age()
        code, output, errors = self.run_program("compact", "--older-than", "30d", "--dry-run", "--share-max", "0.25")
        self.assertEqual((code, output), (DONE, [{"message": "Compaction completed", "deletedCount": 15}]))
        self.assertRegex(errors, "would delete 15 of (29|30) .*share-max")
        _, output, _ = self.run_program("compact", "--older-than", "10d", "--batch-rows", "7", "--pause", "1ms", "--vacuum")
        deleted = output[0]["deletedCount"]
        self.assertIn(deleted, (49, 50))
        self.assertEqual(self.run_program("stats")[1][0]["totalOperations"], 60 - deleted)

    def test_compact_leaves_what_the_slot_has_not_confirmed(self):
        self.accept(*map(operation, range(60)))
        self.execute("SELECT pg_create_logical_replication_slot('syncflow_sidecar', 'test_decoding')")
        self.addCleanup(self.execute, "SELECT pg_drop_replication_slot('syncflow_sidecar')")
        self.accept(operation(100))
        self.age()
        code, output, errors = self.run_program("compact", "--older-than", "30d")
        self.assertEqual((code, output), (FAILED, []))
        self.assertRegex(errors, "has not come to what is committed now.*start the sidecar.*--past-slot")
        self.assertEqual(self.run_program("stats")[1][0]["totalOperations"], 61)
        advance = "SELECT pg_replication_slot_advance('syncflow_sidecar', pg_current_wal_insert_lsn())"
        with subprocess.Popen([PROGRAM, "compact", "--older-than", "30d"], env={**os.environ, "DATABASE_URL": self.server.url},
                              stdout=subprocess.PIPE, text=True) as waiting:
            while waiting.poll() is None:
                self.execute(advance)
            self.assertIn(json.loads(waiting.stdout.read())["deletedCount"], (30, 31))
        self.accept(operation(100))
        self.age()
        self.assertEqual(self.run_program("compact", "--older-than", "30d", "--past-slot")[1][0]["deletedCount"], 1)

    def test_what_is_wrong_is_one_sentence(self):
        for words, code, sentence in [
            (("get", "todos", "missing"), FAILED, "no such document"),
            (("query", "todos", "{"), USAGE, "query: the filter cannot be used: it is no JSON"),
            (("query", "todos", '{"a":{"$like":1}}'), USAGE, r"'\$like' at 'a' is none of"),
            (("compact", "--older-than", "soon"), USAGE, "'soon' is no duration"),
            (("compact", "--share-max", "2"), USAGE, "share_max is not greater than 0 and at most 1"),
            (("stats", "--schema", "nowhere"), FAILED, "stats: .*nowhere"),
            (("stats", "--config", "/nonexistent"), CONFIGURATION, "/nonexistent"),
            (("get", "todos"), USAGE, "ID is required"),
        ]:
            with self.subTest(words=words):
                got, output, errors = self.run_program(*words)
                self.assertEqual((got, output), (code, []), errors)
                self.assertRegex(errors, sentence)
        code, _, errors = self.run_program("stats", url="")
        self.assertEqual(code, USAGE)
        self.assertIn("Give --config, --url or DATABASE_URL", errors)


if __name__ == "__main__":
    unittest.main(verbosity=2)
