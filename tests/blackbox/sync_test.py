"""SyncFlow's clients at the sync API: offline, diverging, pushing and pulling until they agree.

The client here does what SyncFlow's does: it pulls /changes with the greatest timestamp it has seen and its vector clock, 100
at a time; pushes what is unsynced, 50 at a time; marks what was accepted as synced; applies conflicts like remote operations.
It does not know "rejected". The server's documents are what all must agree on.
"""

import itertools
import os
import random
import time
import unittest

from case import Case
from consumer import Consumer
from rig import Rig
from sidecar import free_port
from waiting import wait_until
from web import Web

SEED = int(os.environ.get("SYNCFLOW_SEED", "601"))
DAY = 86_400_000
PULL, PUSH = 100, 50


def is_before(clock, other):
    """Strictly: nothing greater, something smaller."""
    clients = clock.keys() | other.keys()
    return clock != other and all(clock.get(one, 0) <= other.get(one, 0) for one in clients) and \
        any(clock.get(one, 0) < other.get(one, 0) for one in clients)


class Client:
    numbers = itertools.count()

    def __init__(self, web, name, keeps_clock=True):
        self.web, self.name, self.keeps_clock = web, name, keeps_clock
        self.documents = {}  # id: {"data", "clock", "deleted"}
        self.unsynced = []
        self.clock = {}
        self.seen = 0  # the greatest timestamp
        self.pulled = []  # ids of operations, in the order they came
        self.rejections = []

    # ---- offline ----

    def write(self, type, doc, data=None, timestamp=None):
        self.clock[self.name] = self.clock.get(self.name, 0) + 1
        operation = {"id": f"{self.name}-{self.clock[self.name]}", "type": type, "collection": "todos", "docId": doc,
                     "timestamp": timestamp or int(time.time() * 1000), "clientId": self.name, "synced": False,
                     "vectorClock": dict(self.clock)}
        if data is not None:
            operation["data"] = data
        self.unsynced.append(operation)
        self._change(operation)
        return operation

    # ---- online ----

    def sync(self):
        self.pull()
        self.push()
        self.pull()

    def pull(self):
        while True:
            request = {"since": self.seen, "limit": PULL, "clientId": self.name, "vectorClock": self.clock if self.keeps_clock else {}}
            answer = self._post("/changes", request)
            for operation in answer["operations"]:
                self.pulled.append(operation["id"])
                self.seen = max(self.seen, operation["timestamp"])
                self._apply(operation)
            if len(answer["operations"]) < PULL:
                return

    def push(self):
        waiting = list(self.unsynced)
        for at in range(0, len(waiting), PUSH):
            answer = self._post("/operations", {"operations": waiting[at:at + PUSH], "clientId": self.name})
            accepted = set(answer["accepted"])
            self.unsynced = [one for one in self.unsynced if one["id"] not in accepted]
            for operation in answer["conflicts"]:
                self._apply(operation)
            self.rejections += answer.get("rejected", [])

    def _post(self, path, body):
        answer = self.web.post(path, body)
        assert answer.status == 200, (path, answer.status, answer.text)
        return answer.json

    def _apply(self, operation):
        for client, counter in operation["vectorClock"].items():
            self.clock[client] = max(self.clock.get(client, 0), counter)
        known = self.documents.get(operation["docId"])
        if known is None or not is_before(operation["vectorClock"], known["clock"]):
            self._change(operation)

    def _change(self, operation):
        old = self.documents.get(operation["docId"], {"data": {}})["data"]
        data = {"insert": operation.get("data"), "update": {**old, **(operation.get("data") or {})}, "delete": old}[operation["type"]]
        self.documents[operation["docId"]] = {"data": data, "clock": dict(operation["vectorClock"]),
                                              "deleted": operation["type"] == "delete"}

    # ---- what is there ----

    def alive(self):
        return {id: one["data"] for id, one in self.documents.items() if not one["deleted"]}


class Sync(Case):
    @classmethod
    def setUpClass(cls):
        cls.server = cls.enterClassContext(Rig())
        port = free_port()
        cls.sidecar = cls.server.sidecar(**{"sync_api.listen": f"127.0.0.1:{port}"}).start_ready()
        cls.web = Web(port)

    def setUp(self):
        self.server.execute("TRUNCATE operations, documents")

    def on_server(self):
        found = self.web.post("/documents/todos/query").json["documents"]
        return {one.pop("_id"): {key: value for key, value in one.items() if key != "_rev"} for one in found}

    def compact(self):
        """How many went. It is refused until the stream has come behind the TRUNCATE."""
        def ask():
            answer = Web(self.sidecar.http_port).post("/compact", {"olderThanDays": 90, "shareMax": 1})
            return answer if answer.status == 200 else None

        return wait_until(ask, "a compaction", context=self.sidecar.log_tail).json["deletedCount"]

    def assert_agreement(self, *clients):
        expected = self.on_server()
        for client in clients:
            self.assertEqual(client.alive(), expected, f"{client.name}, seed {SEED}")

    def test_two_offline_clients_come_to_agree(self):
        ann, bob = Client(self.web, "ann"), Client(self.web, "bob")
        ann.write("insert", "shared", {"title": "from ann"})
        ann.write("insert", "anns", {"title": "only ann"})
        bob.write("insert", "shared", {"title": "from bob"})
        bob.write("insert", "bobs", {"title": "only bob"})
        ann.sync()
        bob.sync()
        self.assertEqual([one["id"] for one in bob.unsynced], ["bob-1"], "concurrent: the server's document stays")
        self.assertEqual(bob.alive()["shared"], {"title": "from ann"})
        bob.write("update", "shared", {"title": "bob after all"})
        bob.sync()
        ann.sync()
        self.assertEqual(ann.alive()["shared"], {"title": "bob after all"})
        ann.write("delete", "anns")
        ann.sync()
        bob.sync()
        self.assertEqual(self.on_server().keys(), {"shared", "bobs"})
        self.assert_agreement(ann, bob)

    def test_random_sessions_end_in_agreement(self):
        for seed in range(SEED, SEED + 5):
            with self.subTest(seed=seed):
                self.setUp()
                self.session(random.Random(seed))

    def session(self, chance):
        first = Client(self.web, "zoe")
        first.write("insert", "first", {"title": "first", "done": True})
        first.sync()
        clients = [Client(self.web, name) for name in ("ann", "bob", "cem")]
        for client in clients:
            client.sync()  # a clock that names nobody else is taken for one that is not kept
        for _ in range(12):
            for client in clients:
                if chance.random() < 0.7:
                    self.edit_offline(client, chance, chance.choice([1, 5, 30, 130]))
            for client in chance.sample(clients, chance.randint(0, 3)):
                client.sync()
        for client in clients * 2:
            client.sync()
        self.assert_agreement(*clients)
        stored = {row[0] for row in self.server.execute("SELECT id FROM operations")}
        for client in clients:
            others = {id for id in stored if not id.startswith(client.name)}
            self.assertLessEqual(others, set(client.pulled), f"{client.name} was told everything of the others")

    def edit_offline(self, client, chance, edits):
        now = int(time.time() * 1000)
        late = chance.choice([0, 0, 3600_000, 30 * DAY])  # a clock that is wrong, or a long time offline
        for _ in range(edits):
            timestamp = now - late + chance.randint(0, 50)
            data = {"title": f"{client.name} {next(Client.numbers)}", "done": chance.random() < 0.5}
            if chance.random() < 0.1:
                own = f"{client.name}s-{chance.randint(0, 4)}"
                alive = own in client.alive()
                client.write("delete" if alive else "insert", own, None if alive else data, timestamp)
            else:
                doc = f"doc-{chance.randint(0, 40)}"
                client.write("update" if doc in client.alive() else "insert", doc, data, timestamp)

    def test_delete_that_meets_an_update(self):
        """Whoever comes second gives in, and both have the same in the end."""
        for mine, theirs in (("update", "delete"), ("delete", "update")):
            with self.subTest(mine=mine):
                self.setUp()
                ann, bob = Client(self.web, "ann"), Client(self.web, "bob")
                ann.write("insert", "shared", {"title": "once", "done": True})
                ann.sync()
                bob.sync()
                for client, type in ((ann, theirs), (bob, mine)):
                    client.write(type, "shared", {"title": client.name} if type == "update" else None)
                ann.sync()
                bob.sync()
                self.assert_agreement(ann, bob)
                self.assertEqual("shared" in bob.alive(), theirs == "update")

    def test_late_operations_reach_who_has_pulled_past_them(self):
        ann, bob, cem = (Client(self.web, name) for name in ("ann", "bob", "cem"))
        cem.write("insert", "new", {"title": "today"})
        cem.sync()
        bob.sync()
        long_ago = int(time.time() * 1000) - 40 * DAY
        for number in range(250):
            ann.write("insert", f"late-{number}", {"title": str(number)}, long_ago + number // 7)
        ann.sync()
        bob.sync()
        self.assertEqual(len([id for id in bob.pulled if id.startswith("ann-")]), 250, "each once")
        self.assert_agreement(ann, bob)
        bob.sync()
        self.assertEqual(len(bob.pulled), 251, "and no more")

    def test_late_operations_are_not_compacted_before_others_pull_them(self):
        """A year offline: their timestamps are older than what a compaction deletes, and they were stored just now."""
        ann, bob, cem = (Client(self.web, name) for name in ("ann", "bob", "cem"))
        cem.write("insert", "new", {"title": "today"})
        cem.sync()
        bob.sync()
        ann.write("insert", "late", {"title": "a year ago"}, int(time.time() * 1000) - 365 * DAY)
        ann.sync()
        self.assertEqual(self.compact(), 0)
        bob.sync()
        self.assertIn("ann-1", bob.pulled)
        self.assert_agreement(ann, bob)
        self.server.execute("UPDATE operations SET received_at = 'epoch'")
        self.assertEqual(self.compact(), 1)

    def test_a_large_group_of_one_timestamp_arrives_whole(self):
        ann, bob = Client(self.web, "ann"), Client(self.web, "bob", keeps_clock=False)
        now = int(time.time() * 1000)
        for number in range(230):
            ann.write("insert", f"doc-{number}", {"n": number}, now)
        ann.sync()
        bob.sync()
        self.assert_agreement(ann, bob)

    def test_what_is_rejected_stays_with_a_client_that_does_not_look(self):
        ann, bob = Client(self.web, "ann"), Client(self.web, "bob")
        bad = ann.write("insert", "bad", {"title": "\0"})
        good = ann.write("insert", "good", {"title": "fine"})
        for times in (1, 2):
            ann.sync()
            self.assertEqual([one["id"] for one in ann.unsynced], [bad["id"]])
            self.assertEqual([one["id"] for one in ann.rejections], [bad["id"]] * times)
        self.assertIn("u0000", ann.rejections[0]["reason"])
        bob.sync()
        self.assertEqual(bob.pulled, [good["id"]])

    def test_an_answer_that_was_lost_does_no_harm(self):
        ann = Client(self.web, "ann")
        for number in range(60):
            ann.write("insert", f"doc-{number}", {"n": number})
        before = list(ann.unsynced)
        ann.push()
        ann.unsynced = before
        ann.push()
        self.assertEqual(ann.unsynced, [])
        self.assertEqual(self.web.get("/stats").json["totalOperations"], 60)
        self.assertEqual({row[0] for row in self.server.execute("SELECT rev FROM documents")}, {1})

    def test_what_clients_push_comes_out_of_the_feed(self):
        consumer = self.server.stops(Consumer(self.sidecar.feed).start())
        ann = Client(self.web, "ann")
        ann.write("insert", "doc", {"title": "x"})
        wait_until(lambda: consumer.connections, "the consumer to connect")
        ann.sync()
        wait_until(lambda: consumer.has("ann-1"), "the operation in the feed", context=self.sidecar.log_tail)


if __name__ == "__main__":
    unittest.main()
