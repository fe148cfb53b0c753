"""The sync API of the real program as all kinds of clients meet it: right, wrong, slow, many at once."""

import asyncio
import json
import os
import socket
import subprocess
import threading
import time
import unittest

from case import Case
from rig import Rig
from sidecar import free_port
from waiting import wait_until
from web import Web, read_all

NOW = int(time.time() * 1000)
BODY_MAX = 10 << 20


def operation(id, doc="doc-1", counter=1, client="client-1", **changes):
    return {"id": id, "type": "insert", "collection": "todos", "docId": doc, "data": {"title": id}, "timestamp": NOW + counter,
            "clientId": client, "synced": False, "vectorClock": {client: counter}, **changes}


def batch(*operations, client="client-1"):
    return {"operations": list(operations), "clientId": client}


def post(path, body, more=b""):
    head = f"POST {path} HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n".encode()
    return head + more + f"Content-Length: {len(body)}\r\n\r\n".encode() + body


class SyncApi(Case):
    @classmethod
    def setUpClass(cls):
        cls.server = cls.enterClassContext(Rig())
        cls.sidecar = cls.start()

    @classmethod
    def start(cls, name="sidecar", **settings):
        port = free_port()
        sidecar = cls.server.sidecar(name, **{"sync_api.listen": f"127.0.0.1:{port}", **settings})
        sidecar.start_ready()
        sidecar.web = Web(port)
        return sidecar

    def setUp(self):
        self.web = self.sidecar.web
        self.server.execute("DELETE FROM operations")
        self.server.execute("DELETE FROM documents")

    def tearDown(self):
        self.assertEqual(self.sidecar.sanitizer_reports(), [])
        self.assertTrue(self.sidecar.running(), self.sidecar.log_tail())

    def stored(self):
        return {row[0] for row in self.server.execute("SELECT id FROM operations")}

    # ---- as the reference ----

    def test_every_route_answers_as_the_reference(self):
        web = self.web
        self.assertEqual(web.get("/health").json, {"status": "ok", "adapter": "postgres"})
        first = operation("a", data={"title": "M\u00fcll \U0001f418", "n": 1.50})
        self.assertEqual(web.post("/operations", batch(first)).json, {"accepted": ["a"], "conflicts": []})
        self.assertEqual(web.post("/changes", {"since": 0}).json, {"operations": [first], "conflicts": []})
        self.assertEqual(web.post("/changes", {"since": first["timestamp"]}).json, {"operations": [], "conflicts": []})
        document = {"_id": "doc-1", "_rev": 1, **first["data"]}
        self.assertEqual(web.get("/documents/todos/doc-1").json, document)
        found = web.post("/documents/todos/query", {"filter": {"n": 1.5}})
        self.assertEqual(found.json, {"documents": [document], "count": 1})
        self.assertEqual(web.post("/documents/todos/query").json["count"], 1)
        self.assertEqual(web.get("/stats").json, {"totalOperations": 1, "totalDocuments": 1, "unsyncedOperations": 1})
        wait_until(lambda: self.sidecar.status()["state"] == "streaming", "the stream")
        self.assertEqual(web.post("/compact").status, 403, "whoever stands in front may send everybody's requests")
        self.assertEqual(Web(self.sidecar.http_port).post("/compact").json, {"message": "Compaction completed", "deletedCount": 0})
        missing = web.get("/documents/todos/none")
        self.assertEqual((missing.status, missing.json), (404, {"error": "Document not found"}))

    def test_a_conflict_brings_the_servers_document(self):
        self.web.post("/operations", batch(operation("a", counter=5)))
        older = operation("b", counter=1, client="client-2")
        answer = self.web.post("/operations", batch(older, client="client-2")).json
        self.assertEqual(answer["accepted"], [])
        self.assertEqual(answer["conflicts"], [{**older, "data": {"title": "a"}, "vectorClock": {"client-1": 5}}])

    def test_what_cannot_be_stored_is_told_beside_what_can(self):
        bad = [operation("b", docId=""), operation("c", data={"x": "\0"}), {"id": "d"}, operation("e", type="upsert"), 7]
        answer = self.web.post("/operations", batch(operation("a"), *bad, operation("z", doc="doc-2")))
        self.assertEqual(answer.status, 200)
        self.assertEqual((answer.json["accepted"], answer.json["conflicts"]), (["a", "z"], []))
        self.assertEqual([one["index"] for one in answer.json["rejected"]], [1, 2, 3, 4, 5])
        self.assertTrue(all(one["reason"] for one in answer.json["rejected"]))
        self.assertEqual(self.stored(), {"a", "z"})

    def test_names_are_decoded_from_the_path(self):
        self.web.post("/operations", batch(operation("a", doc="x/y \u00fc%", collection="a?b")))
        self.assertEqual(self.web.get("/documents/a%3Fb/x%2Fy%20%C3%BC%25").json["_id"], "x/y \u00fc%")

    def test_web_pages_may_ask(self):
        headers = {"Origin": "http://app", "Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "content-type"}
        preflight = self.web.ask("OPTIONS", "/operations", headers=headers)
        self.assertEqual((preflight.status, preflight.text), (204, ""))
        self.assertEqual(preflight.headers["Access-Control-Allow-Origin"], "*")
        self.assertEqual(preflight.headers["Access-Control-Allow-Methods"], "GET,HEAD,PUT,PATCH,POST,DELETE")
        self.assertEqual(preflight.headers["Access-Control-Allow-Headers"], "content-type")
        for answer in (self.web.get("/health"), self.web.get("/none"), self.web.post("/operations", {})):
            self.assertEqual(answer.headers["Access-Control-Allow-Origin"], "*")

    def test_no_web_page_and_no_proxy_compacts(self):
        for name, value in [("Origin", "http://app"), ("X-Forwarded-For", "192.0.2.1"), ("Forwarded", "for=192.0.2.1"), ("Via", "1.1 x")]:
            for web in (self.web, Web(self.sidecar.http_port)):
                self.assertEqual(web.post("/compact", {"olderThanDays": 0}, headers={name: value}).status, 403, name)

    # ---- wrong ----

    def test_wrong_methods_and_paths(self):
        for method, path, code in [("GET", "/changes", 405), ("PUT", "/operations", 405), ("DELETE", "/documents/todos/a", 405),
                                   ("GET", "/documents/todos", 404), ("POST", "/health", 405), ("GET", "/", 404),
                                   ("GET", "/operations/a", 404), ("GET", "/documents/todos/%zz", 400),
                                   ("GET", "/documents/todos/%00", 400), ("GET", "/documents/todos/%ff", 400)]:
            with self.subTest(method=method, path=path):
                answer = self.web.ask(method, path)
                self.assertEqual(answer.status, code)
                self.assertTrue(answer.json["error"])
        self.assertEqual(self.web.get("/changes").headers["Allow"], "POST")
        self.assertEqual(self.web.ask("HEAD", "/health").status, 200)

    def test_wrong_bodies(self):
        refused = {"error": "Invalid request body"}
        for body in (b"", b"{", b"[]", b"null", b"{}", b'{"operations":{},"clientId":"a"}', b'{"operations":[]}',
                     b'{"operations":[],"clientId":""}', b"\xff", b'{"operations":[],"clientId":"a"} x', b"[" * 1_000_000):
            answer = self.web.post("/operations", body)
            self.assertEqual((answer.status, answer.json), (400, refused), body[:50])
        for path, body in [("/changes", b"{"), ("/changes", {"since": "yesterday"}), ("/changes", {"limit": 0}),
                           ("/changes", {"vectorClock": {"a": "1"}}), ("/documents/todos/query", {"filter": 7}),
                           ("/documents/todos/query", {"filter": {"a": {"$no": 1}}})]:
            answer = self.web.post(path, body)
            self.assertEqual(answer.status, 400, (path, body))
            self.assertTrue(answer.json["error"])

    def test_a_body_nested_without_end_is_refused(self):
        clock = b'{"clientId":"a","operations":[{"id":"a","vectorClock":' + b"[" * 400_000 + b"]" * 400_000 + b"}]}"
        self.assertEqual(self.web.post("/operations", clock).status, 400)

    def test_bytes_that_are_no_request(self):
        for garbage in (b"\0\1\2\3\r\n\r\n", b"POST\r\n\r\n", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n",
                        b"GET / HTTP/9.9\r\n\r\n", b"GET /health HTTP/1.1\r\nX: " + b"a" * 100_000 + b"\r\n\r\n",
                        post("/changes", b"{}", b"Content-Length: 3\r\n"), post("/changes", b"{}", b"Transfer-Encoding: chunked\r\n")):
            self.assertNotIn(b" 200 ", self.web.raw(garbage), garbage[:40])
        self.assertEqual(self.web.get("/health").status, 200)

    # ---- sizes ----

    def sized(self, size, id="big"):
        """A batch whose body has exactly so many bytes."""
        empty = len(json.dumps(batch(operation(id, data={"text": ""}))))
        return json.dumps(batch(operation(id, data={"text": "x" * (size - empty)}))).encode()

    def test_a_body_of_ten_mebibytes_is_taken_and_no_byte_more(self):
        self.assertEqual(self.web.post("/operations", self.sized(BODY_MAX)).json["accepted"], ["big"])
        answer = self.web.post("/operations", self.sized(BODY_MAX + 1, "bigger"))
        self.assertEqual((answer.status, answer.json), (413, {"error": "the body is longer than 10485760 bytes"}))
        self.assertEqual(self.stored(), {"big"})
        self.assertGreater(len(self.web.post("/changes", {}).text), BODY_MAX - 1000)

    def test_chunked_bodies(self):
        def pieces(body, size):
            yield from (body[at:at + size] for at in range(0, len(body), size))

        body = json.dumps(batch(operation("a"))).encode()
        self.assertEqual(self.web.post("/operations", pieces(body, 7), chunked=True).json["accepted"], ["a"])
        self.assertEqual(self.web.post("/operations", pieces(self.sized(BODY_MAX), 100_000), chunked=True).json["accepted"], ["big"])
        refused = self.web.post("/operations", pieces(self.sized(BODY_MAX + 1, "bigger"), 100_000), chunked=True)
        self.assertEqual(refused.status, 413)
        with self.web.kept() as connection:
            for number in range(3):
                answer = self.web.post("/changes", pieces(b"{}", 1), chunked=True, connection=connection)
                self.assertEqual((answer.status, answer.headers["Connection"]), (200, "keep-alive"), number)

    def test_a_length_without_end_holds_nobody(self):
        answer = self.web.raw(b"POST /operations HTTP/1.1\r\nHost: x\r\nContent-Length: 9000000000000000000\r\n\r\n")
        self.assertIn(b" 413 ", answer)

    # ---- connections ----

    def test_a_connection_is_kept(self):
        with self.web.kept() as connection:
            self.web.get("/health", connection=connection)
            before = connection.sock
            for _ in range(200):
                self.assertEqual(self.web.post("/changes", {}, connection=connection).status, 200)
            self.assertIs(connection.sock, before)

    def test_slow_clients_hold_up_nobody_else(self):
        slow = [socket.create_connection(("127.0.0.1", self.web.port), timeout=120) for _ in range(30)]
        try:
            for number, connection in enumerate(slow):
                connection.sendall((b"", b"POST /oper", post("/operations", b"x" * 100)[:-90])[number % 3])
            for number in range(20):
                self.assertEqual(self.web.post("/operations", batch(operation(f"op-{number}", doc=f"d-{number}"))).status, 200)
            for connection in slow:
                self.assertNotIn(b" 200 ", read_all(connection))
        finally:
            for connection in slow:
                connection.close()

    def test_a_body_that_drips_ends_with_408(self):
        dripping = self.start("dripping")
        answer = dripping.web.raw(post("/operations", b"x" * 10_000)[:-9_990], *[b"x"] * 70, pause=lambda: time.sleep(1))
        self.assertIn(b" 408 ", answer)
        dripping.terminate()

    def test_a_thousand_at_once_are_all_answered(self):
        async def one(number):
            reader, writer = await asyncio.open_connection("127.0.0.1", self.web.port)
            body = json.dumps(batch(operation(f"op-{number}", doc=f"d-{number % 50}", client=f"c-{number}"), client=f"c-{number}"))
            writer.write(post("/operations", body.encode(), b"Connection: close\r\n"))
            answer = await reader.read()
            writer.close()
            return answer

        async def everybody():
            return await asyncio.gather(*(one(number) for number in range(1000)))

        before = self.requests("operations", 200)
        answers = asyncio.run(everybody())
        self.assertEqual({answer.split(b"\r\n")[0] for answer in answers}, {b"HTTP/1.1 200 OK"})
        told = [json.loads(answer.split(b"\r\n\r\n")[1]) for answer in answers]
        accepted = [id for answer in told for id in answer["accepted"]]
        conflicts = [one["id"] for answer in told for one in answer["conflicts"]]
        self.assertCountEqual(accepted + conflicts, [f"op-{number}" for number in range(1000)])
        self.assertEqual(self.stored(), set(accepted))
        wait_until(lambda: self.requests("operations", 200) == before + 1000, "all to be counted")

    # ---- what they are told of ----

    def requests(self, handler, code):
        return self.sidecar.metrics()[f'syncflow_http_requests_total{{handler="{handler}",code="{code}"}}']

    def test_requests_are_counted(self):
        before = {code: self.requests("operations", code) for code in (400, 413)}
        other = self.requests("other", 404)
        self.web.post("/operations", {})
        self.web.get("/no/such/path")
        self.web.raw(post("/operations", b"x" * (BODY_MAX + 1)))
        wait_until(lambda: self.requests("operations", 413) == before[413] + 1, "the request to be counted")
        self.assertEqual(self.requests("operations", 400), before[400] + 1)
        self.assertEqual(self.requests("other", 404), other + 1)
        metrics = self.sidecar.metrics()
        count = metrics['syncflow_http_request_duration_seconds_count{handler="operations"}']
        self.assertEqual(count, sum(self.requests("operations", code) for code in (200, 400, 413, 408, 500, 503)))
        self.assertEqual(metrics['syncflow_http_requests_total{handler="preflight",code="500"}'], 0)


class Troubled(Case):
    """What happens around the sync API."""

    def begin(self, **settings):
        self.server = self.rig()
        port = free_port()
        self.sidecar = self.server.sidecar(**{"sync_api.listen": f"127.0.0.1:{port}", **settings}).start_ready()
        self.web = Web(port)

    def test_postgres_is_away_for_a_while(self):
        self.begin()
        self.web.post("/operations", batch(operation("a")))
        self.server.server.stop()
        for method, path, body in [("GET", "/stats", None), ("POST", "/changes", {}), ("POST", "/operations", batch(operation("b")))]:
            answer = self.web.ask(method, path, body)
            self.assertEqual(answer.status, 503, path)
            self.assertEqual(answer.json["error"], "the database is not available at the moment: try again later")
        self.assertEqual(self.web.get("/health").status, 200)
        self.assertTrue(self.sidecar.wait_log("sync_api: .*could not be worked with"))
        self.server.server.start()
        wait_until(lambda: self.web.post("/operations", batch(operation("b", doc="doc-2"))).status == 200, "PostgreSQL to be back")
        self.assertEqual(self.web.get("/stats").json["totalOperations"], 2)

    def test_a_refusal_says_nothing_of_the_server(self):
        self.begin()
        self.server.execute("ALTER TABLE documents RENAME COLUMN rev TO revision")
        answer = self.web.get("/documents/todos/a")
        self.assertEqual(answer.status, 500)
        self.assertRegex(answer.json["error"], "SQLSTATE 42703")
        self.assertNotRegex(answer.text, "documents|revision|SELECT|127.0.0.1|postgres:")
        self.sidecar.wait_log("sync_api: .*rev")

    def test_a_pool_of_one_serves_many(self):
        self.begin(**{"postgres.pool_max": 1, "notify.watch": False})
        wait_until(lambda: self.sidecar.metrics().get("syncflow_heartbeat_roundtrip_seconds_count"), "all its other connections")
        before = self.backends()
        answers = []
        threads = [threading.Thread(target=lambda: answers.append(self.web.post("/changes", {}).status)) for _ in range(20)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        self.assertEqual(answers, [200] * 20)
        self.assertLessEqual(len(self.backends() - before), 1)

    def backends(self):
        rows = self.server.execute("SELECT pid FROM pg_stat_activity WHERE backend_type = 'client backend' AND pid <> pg_backend_pid()")
        return {row[0] for row in rows}

    def lock(self):
        """Whoever writes documents waits for the connection that is returned."""
        connection = self.server.connect()
        connection.autocommit = False
        connection.cursor().execute("LOCK TABLE documents IN SHARE MODE")
        return connection

    def waiting(self):
        return self.server.execute("SELECT count(*) FROM pg_locks WHERE NOT granted")[0][0]

    def ask_under_a_lock(self):
        """The lock, the thread that asks, and what it has been answered."""
        self.begin()
        lock = self.lock()
        under_way = []
        asking = threading.Thread(target=lambda: under_way.append(self.web.post("/operations", batch(operation("a")))))
        asking.start()
        wait_until(self.waiting, "the request to wait for the lock", context=self.sidecar.log_tail)
        return lock, asking, under_way

    def test_sigterm_finishes_what_is_under_way_and_takes_nothing_new(self):
        lock, asking, under_way = self.ask_under_a_lock()
        self.sidecar.process.terminate()
        self.sidecar.wait_log("service: stopping")
        wait_until(lambda: self.web.get("/health").status == 503, "new requests to be refused", every=0.01)
        lock.rollback()
        asking.join()
        self.assertEqual((under_way[0].status, under_way[0].json["accepted"]), (200, ["a"]))
        self.assertEqual(under_way[0].headers["Connection"], "close")
        self.assertEqual(self.sidecar.wait_exit(), 0, self.sidecar.log_tail())
        self.assertEqual(self.server.execute("SELECT id FROM operations"), [("a",)])

    def test_sigterm_does_not_wait_for_ever(self):
        lock, asking, under_way = self.ask_under_a_lock()
        with self.web.kept() as idle:
            self.web.get("/health", connection=idle)
            self.assertEqual(self.sidecar.terminate(), 0, self.sidecar.log_tail())
        asking.join()
        self.assertEqual(under_way[0].status, 503)
        lock.close()

    def test_an_open_address_is_refused_unless_it_is_meant(self):
        server = self.rig()
        address = f"0.0.0.0:{free_port()}"
        sidecar = server.sidecar(**{"sync_api.listen": address}).start()
        self.assert_ends(sidecar, 78, "sync_api.listen", "sync_api.allow_anonymous: true")
        sidecar.configure(**{"sync_api.allow_anonymous": True})
        sidecar.start_ready()
        self.assertEqual(Web(int(address.split(":")[1])).get("/health").status, 200)

    def test_a_taken_address_is_named(self):
        server = self.rig()
        taken = socket.create_server(("127.0.0.1", 0))
        sidecar = server.sidecar(**{"sync_api.listen": f"127.0.0.1:{taken.getsockname()[1]}"}).start()
        self.assert_ends(sidecar, 1, "sync_api.listen: cannot listen", "free host:port")
        taken.close()


class Admin(Case):
    """The operators' port: who may change something."""

    TOKEN = "correct-horse-battery-staple"

    def begin(self, **settings):
        self.server = self.rig()
        if settings.pop("token", False):
            settings["http.token_file"] = self.token_file(self.TOKEN)
        self.sidecar = self.server.sidecar(**settings).start_ready()
        self.web = Web(self.sidecar.http_port)

    def token_file(self, token):
        path = os.path.join(self.server.folder, "token")
        with open(path, "w", encoding="utf-8") as file:
            file.write(token + "\n")
        return path

    def remove(self, token=None, name="nobody", **headers):
        if token is not None:
            headers["Authorization"] = f"Bearer {token}"
        return self.web.ask("DELETE", f"/consumers/{name}", headers=headers)

    def consumers(self, *words):
        command = [self.sidecar.program, "consumers", "--config", self.sidecar.config, *words]
        return subprocess.run(command, check=False, capture_output=True, text=True, timeout=60)

    def test_changes_need_the_token(self):
        self.server = self.rig()
        path = self.token_file(self.TOKEN)
        self.sidecar = self.server.sidecar(**{"http.token_file": path}).start_ready()
        self.web = Web(self.sidecar.http_port)
        self.assertEqual(self.web.get("/consumers").status, 200)
        for token in (None, "", self.TOKEN[:-1], self.TOKEN + "x", self.TOKEN.upper()):
            answer = self.remove(token)
            self.assertEqual((answer.status, answer.headers["WWW-Authenticate"]), (401, "Bearer"), token)
        self.assertEqual(self.remove(self.TOKEN).status, 404, "nobody has this name")
        self.assertEqual(self.remove(self.TOKEN, Origin="http://app").status, 404, "whoever has the token")
        self.assertIn("no consumer has this name", self.consumers("remove", "nobody").stderr)
        self.token_file("another-token-of-the-same-kind")
        self.assertEqual(self.remove(self.TOKEN).status, 401)
        self.assertEqual(self.remove("another-token-of-the-same-kind").status, 404)
        os.remove(path)
        self.assertEqual(self.remove("another-token-of-the-same-kind").status, 500)
        self.sidecar.wait_log("http.token_file cannot be read")
        self.assertRegex(self.consumers("remove", "nobody").stderr, "http.token_file cannot be read")
        self.assertNotIn(self.TOKEN, self.sidecar.log_text())

    def fill(self, rows, age_days):
        self.server.execute("INSERT INTO operations (id, type, collection, doc_id, timestamp, client_id, vector_clock, received_at) SELECT "
                            "'old-' || n, 'delete', 'todos', 'd', %s - n, 'c', '{}', 'epoch' FROM generate_series(1, %s) n",
                            NOW - age_days * 86_400_000, rows)

    def operations(self):
        return self.server.execute("SELECT count(*) FROM operations")[0][0]

    def await_stream(self):
        wait_until(lambda: self.sidecar.status()["state"] == "streaming", "the stream", context=self.sidecar.log_tail)

    def test_compact(self):
        self.begin()
        self.await_stream()
        self.commit(self.server, "new", rows=30)
        self.server.execute("UPDATE operations SET timestamp = %s", NOW)
        self.fill(20, age_days=100)
        self.server.execute("UPDATE operations SET timestamp = %s WHERE id = 'old-1'", NOW - 45 * 86_400_000)
        dry = self.web.post("/compact", {"olderThanDays": 90, "dryRun": True})
        self.assertEqual((dry.status, dry.json["deletedCount"], dry.json["wouldDeleteCount"]), (200, 0, 19))
        self.assertEqual(self.operations(), 50)
        done = self.web.post("/compact", {"olderThanDays": 90})
        self.assertEqual((done.status, done.json), (200, {"message": "Compaction completed", "deletedCount": 19}))
        self.assertEqual(self.web.post("/compact").json["deletedCount"], 1, "30 days by default")
        self.assertEqual(self.operations(), 30)
        status = self.sidecar.status()["compaction"]
        self.assertEqual((status["running"], status["deleted"]), (None, 20))
        self.assertEqual([(job["name"], job["next"]) for job in status["jobs"]], [("on demand", None)])
        self.assertEqual([(run["outcome"], run["deleted"]) for run in status["jobs"][0]["runs"]], [("done", 1), ("done", 19), ("done", 19)])
        for body in ({"olderThanDays": "90"}, {"olderThanDays": -1}, {"dryRun": 1}, {"shareMax": 0}, b"{", b"[]", b"x" * 9000):
            self.assertIn(self.web.post("/compact", body).status, (400, 413), body)
        self.assertEqual(self.web.get("/compact").status, 405)
        self.assertEqual(self.web.post("/compact", {}, headers={"Origin": "http://app"}).status, 403)

    def test_compact_needs_the_token(self):
        self.begin(token=True)
        self.await_stream()
        self.fill(20, age_days=100)
        body = {"olderThanDays": 90, "shareMax": 1}
        for token in ("", self.TOKEN[:-1], self.TOKEN + "x"):
            answer = self.web.post("/compact", body, headers={"Authorization": f"Bearer {token}"})
            self.assertEqual((answer.status, answer.headers["WWW-Authenticate"]), (401, "Bearer"), token)
        self.assertEqual(self.web.post("/compact", body).status, 401)
        self.assertEqual(self.operations(), 20)
        self.assertEqual(self.web.post("/compact", body, headers={"Authorization": f"Bearer {self.TOKEN}"}).json["deletedCount"], 20)

    def test_compact_at_the_port_of_the_sync_api_with_the_token(self):
        port = free_port()
        self.begin(token=True, **{"sync_api.listen": f"127.0.0.1:{port}"})
        self.await_stream()
        self.fill(20, age_days=100)
        web, right = Web(port), {"Authorization": f"Bearer {self.TOKEN}"}
        self.assertEqual(web.post("/compact", {"olderThanDays": 90}).status, 401)
        self.assertEqual(web.post("/compact", {"olderThanDays": -1}, headers=right).status, 400)
        self.assertEqual(web.post("/compact", {"olderThanDays": 90, "shareMax": 1}, headers=right).json["deletedCount"], 20)

    def test_compact_takes_half_of_the_table_at_most_unless_told(self):
        """Clocks that have jumped together, the server's and ours, make everything old."""
        self.begin()
        self.await_stream()
        self.fill(20, age_days=100)
        half = self.web.post("/compact", {"olderThanDays": 90}).json
        self.assertEqual((half["deletedCount"], half["leftCount"]), (10, 10))
        self.assertRegex(half["reason"], "clock.*shareMax")
        self.assertEqual(self.operations(), 10)
        whole = self.web.post("/compact", {"olderThanDays": 90, "shareMax": 1}).json
        self.assertEqual(whole, {"message": "Compaction completed", "deletedCount": 10})
        self.assertEqual(self.operations(), 0)

    def test_compact_leaves_what_a_job_keeps_for_ever(self):
        self.begin(**{"compaction.jobs": [{"name": "a", "every": "20000h", "older_than": "9d", "collections": {"todos": "never"}}]})
        self.await_stream()
        self.fill(5, age_days=100)
        self.assertEqual(self.web.post("/compact", {"olderThanDays": 90}).json, {"message": "Compaction completed", "deletedCount": 0})
        self.assertEqual(self.operations(), 5)

    def test_compact_takes_nothing_earlier_than_a_job_does(self):
        for todos, older_than, gone in (("200d", "9d", 0), ("200d", "never", 0), ("9d", "never", 5), ("9d", "9d", 5)):
            with self.subTest(todos=todos, older_than=older_than):
                self.begin(**{"compaction.jobs": [{"name": "a", "every": "20000h", "older_than": older_than, "collections": {"todos": todos}}]})
                self.await_stream()
                self.fill(5, age_days=100)
                answer = self.web.post("/compact", {"olderThanDays": 90, "shareMax": 1}).json
                self.assertEqual(answer["deletedCount"], gone)

    def test_compact_keeps_what_no_job_deletes(self):
        self.begin(**{"compaction.jobs": [{"name": "a", "every": "20000h", "older_than": "200d"}, {"name": "b", "every": "20000h", "older_than": "300d"}]})
        self.await_stream()
        self.fill(5, age_days=100)
        self.assertEqual(self.web.post("/compact", {"olderThanDays": 90, "shareMax": 1}).json["deletedCount"], 0)
        self.server.execute("UPDATE operations SET timestamp = timestamp - 101 * 86400000::bigint")
        self.assertEqual(self.web.post("/compact", {"olderThanDays": 90, "shareMax": 1}).json["deletedCount"], 5)

    def test_compact_leaves_the_rest_where_jobs_name_what_may_go(self):
        self.begin(**{"compaction.jobs": [{"name": "a", "every": "20000h", "older_than": "never", "collections": {"notes": "9d"}}]})
        self.await_stream()
        self.fill(5, age_days=100)
        self.assertEqual(self.web.post("/compact", {"olderThanDays": 90, "shareMax": 1}).json["deletedCount"], 0)

    def test_one_compaction_at_a_time_and_none_holds_up_the_end(self):
        port = free_port()
        self.begin(token=True, **{"sync_api.listen": f"127.0.0.1:{port}"})
        right = {"Authorization": f"Bearer {self.TOKEN}"}
        self.await_stream()
        self.fill(10, age_days=100)
        lock = self.server.connect()
        lock.autocommit = False
        lock.cursor().execute("LOCK TABLE operations IN SHARE ROW EXCLUSIVE MODE")
        answers = []
        asking = threading.Thread(target=lambda: answers.append(self.web.post("/compact", {"olderThanDays": 90}, headers=right)))
        asking.start()
        wait_until(lambda: self.server.execute("SELECT count(*) FROM pg_locks WHERE NOT granted")[0][0], "the run to wait for the lock")
        self.assertTrue(self.sidecar.status()["compaction"]["running"])
        for other in (self.web, Web(port)):
            refused = other.post("/compact", {}, headers=right)
            self.assertEqual((refused.status, refused.json), (409, {"error": "a compaction is running"}))
        self.assertEqual(self.sidecar.terminate(), 0, self.sidecar.log_tail())
        asking.join()
        self.assertEqual(answers[0].status, 503)
        lock.rollback()
        lock.close()
        self.assertEqual(self.operations(), 10)

    def test_status_tells_of_the_last_gaps(self):
        self.begin()
        self.commit(self.server, "one")
        self.server.wait_slot(self.sidecar.slot)
        wait_until(lambda: self.sidecar.status()["changes"] == 10, "the changes")
        status = self.sidecar.status()
        self.assertEqual(status["gaps"], [])
        self.assertGreaterEqual(status["positions"]["lag_seconds"], 0)
        self.sidecar.terminate()
        self.server.execute("SELECT pg_drop_replication_slot(%s)", self.sidecar.slot)
        self.sidecar.start_ready()
        wait_until(lambda: self.sidecar.status()["gaps"], "the gap to be told", context=self.sidecar.log_tail)
        gap = self.sidecar.status()["gaps"][0]
        self.assertEqual(gap["code"], "history_recovered")
        self.assertRegex(gap["reason"], "slot")

    def test_without_a_token_only_this_machine_changes_something(self):
        self.begin()
        self.assertEqual(self.remove().status, 404)
        self.assertEqual(self.remove(Origin="http://app").status, 403)

    def test_a_token_that_is_none_is_told_at_the_start(self):
        server = self.rig()
        sidecar = server.sidecar(**{"http.token_file": os.path.join(server.folder, "none")}).start()
        self.assert_ends(sidecar, 1, "http.token_file cannot be read", "No such file")


if __name__ == "__main__":
    unittest.main()
