"""The feed's page, sentence by sentence, spoken over raw sockets: every line kind, every error code, input in any shape, both sides
of each limit. What the page names and no test here has met fails the last one."""

import hashlib
import json
import os
import re
import threading
import time
import unittest

import certificate
from case import INSERT, Case
from consumer import Consumer
from peer import SEEN, Peer, hello, line
from records import Position
from rig import Rig
from sidecar import ROOT
from waiting import wait_until

# Met where it belongs, with much more around it.
ELSEWHERE = {("gap", "transaction_skipped"): "poison_test.py"}

GARBAGE = [
    (b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", "bad_json"),
    (b"\x16\x03\x01\x02\x00\x01\x00\n", "bad_json"),  # TLS
    (b"\x00" * 100 + b"\n", "bad_json"),
    (b'{"type":"ping","id":"\x00"}\n', "bad_json"),
    (b'{"type":"ping"}\x00\n', "bad_json"),
    (b'{"type":"ping"}\x00{"type":"ping"}\n', "bad_json"),
    (b"\xff\xfe\n", "bad_json"),
    (b'{"type":"ping","id":"\xff"}\n', "bad_json"),
    (b'{"type":"ping","id":"\xc0\xaf"}\n', "bad_json"),  # overlong
    (b'{"type":"ping","id":"\xed\xa0\x80"}\n', "bad_json"),  # half a surrogate pair
    (b'{"type":"ping","id":"\\ud800"}\n', "bad_json"),
    (b'{"type":"ping","id":"\xf4\x90\x80\x80"}\n', "bad_json"),  # beyond Unicode
    (b'{"type":"ping","id":"\xef\xbb"}\n', "bad_json"),  # cut short
    (b"{\n", "bad_json"),
    (b'{"type":"hello"\n', "bad_json"),
    (b'{"type":"ping"}{"type":"ping"}\n', "bad_json"),
    (b"[" * 5000 + b"\n", "bad_json"),
    (b'{"a":' * 1000 + b"\n", "bad_json"),
    (b'{"type":NaN}\n', "bad_json"),
    (b"{'type':'ping'}\n", "bad_json"),
    (b'"text"\n', "bad_hello"),
    (b"null\n", "bad_hello"),
    (b"[]\n", "bad_hello"),
    (b"7\n", "bad_hello"),
    (b"{}\n", "bad_hello"),
    (b'{"type":7}\n', "bad_hello"),
    (b'{"type":""}\n', "bad_hello"),
    (b'{"type":"hello"}\n', "bad_hello"),
    (b'{"type":"hello","version":"1"}\n', "bad_hello"),
    (b'{"type":"hello","version":1.5}\n', "bad_hello"),
    (b'{"type":"hello","version":0}\n', "unsupported_version"),
    (b'{"type":"hello","version":2}\n', "unsupported_version"),
]
EPOCHLESS = "0000000000000001.0"
WRONG_HELLOS = [
    (dict(start="yesterday"), "bad_cursor"),
    (dict(start="00000000." + EPOCHLESS + "0x"), "bad_cursor"),
    (dict(start="ABCDEF01." + EPOCHLESS), "bad_cursor"),
    (dict(start="00000000.0000000000000001.00"), "bad_cursor"),
    (dict(start=7), "bad_hello"),
    (dict(start="00000000." + EPOCHLESS), "epoch_changed"),
    (dict(heartbeat=1e99), "bad_hello"),
    (dict(heartbeat="15"), "bad_hello"),
    (dict(heartbeat=1.5), "bad_hello"),
    (dict(on_gap="maybe"), "bad_hello"),
    (dict(on_gap=True), "bad_hello"),
    (dict(window="1"), "bad_hello"),
    (dict(window=0.5), "bad_hello"),
    (dict(name=""), "bad_hello"),
    (dict(name="a b"), "bad_hello"),
    (dict(name="\u00fc"), "bad_hello"),
    (dict(name=".."), "bad_hello"),
    (dict(name=7), "bad_hello"),
    (dict(collections="todos"), "bad_hello"),
    (dict(collections=[7]), "bad_hello"),
    (dict(collections={"todos": 1}), "bad_hello"),
    (dict(request=7), "bad_hello"),
    (dict(token=7), "bad_hello"),
    (dict(start="snapshot", number=-1), "bad_hello"),
    (dict(start="snapshot", number="0"), "bad_hello"),
    (dict(start="snapshot", snapshot=7), "bad_hello"),
]
# The last that is allowed and the first that is not.
LIMITS = [
    (dict(heartbeat=1), dict(heartbeat=0)),
    (dict(heartbeat=300), dict(heartbeat=301)),
    (dict(window=0), dict(window=-1)),
    (dict(window=10_000), dict(window=10_001)),
    (dict(name="n" * 128), dict(name="n" * 129)),
    (dict(request="r" * 256), dict(request="r" * 257)),
    (dict(request="\u00fc" * 128), dict(request="\u00fc" * 128 + "r")),
    (dict(token="t" * 256), dict(token="t" * 257)),
    (dict(collections=["c"] * 256), dict(collections=["c"] * 257)),
    (dict(collections=["c" * 128]), dict(collections=["c" * 129])),
    (dict(collections=["c"]), dict(collections=[""])),
    (dict(start="snapshot", snapshot="s" * 256), dict(start="snapshot", snapshot="s" * 257)),
]
LINE_MAX = 8192
GIB = 1 << 30
LINE_MEMORY_MAX = 8 << 20  # what an endless line may cost; it is a hundredth of that on the wire side
COMMIT = """
    INSERT INTO operations (id, type, collection, doc_id, data, timestamp, client_id, vector_clock)
    VALUES (%s, 'insert', %s, 'doc', jsonb_build_object('text', repeat('x', %s)), 1, 'client-1', '{}')"""
DOCUMENT = "INSERT INTO documents (collection, id, data, vector_clock, updated_at) VALUES (%s, %s, '{}', '{}', 1)"


def setUpModule():
    global SERVER
    SERVER = unittest.enterModuleContext(Rig())


def padded(command, size):
    """The command as a line of so many bytes, without its line feed."""
    return command.rstrip(b"\n") + b" " * (size - len(command) + 1) + b"\n"


def moved(cursor, bytes):
    epoch, lsn, index = cursor.split(".")
    return f"{epoch}.{int(lsn, 16) + bytes:016x}.{index}"


class Counted(Case):
    ran = 0

    def setUp(self):
        Counted.ran += 1


class FeedCase(Counted):
    """A sidecar of the class, which must stay as well as it was."""

    settings = {}

    @classmethod
    def setUpClass(cls):
        cls.server = SERVER
        patient = {"feed.hello_timeout": "3s"}  # on a busy machine a hello may take longer than 250 ms
        cls.sidecar = cls.server.sidecar(cls.__name__.lower(), **patient, **cls.settings).start_ready()
        cls.server.wait_slot(cls.sidecar.slot)
        cls.addClassCleanup(cls.sidecar.kill)
        cls.count = 0

    def tearDown(self):
        self.assertTrue(self.sidecar.running(), self.sidecar.log_tail())
        self.assertEqual(self.sidecar.sanitizer_reports(), [])

    def peer(self, said=b"", **options):
        return self.enterContext(Peer(self.sidecar.feed, said, **options))

    def put(self, collection="todos", size=10):
        """Commits one operation; its id."""
        type(self).count += 1
        id = f"{type(self).__name__}-{self.count:05}"
        self.server.execute(COMMIT, id, collection, size)
        return id

    def head(self):
        """A live peer and the cursor of what it was given last, which is an operation."""
        peer = self.peer(hello(start="latest"))
        peer.until("live")
        id = self.put()
        return peer, self.change(peer, id)["cursor"]

    def change(self, peer, id):
        """Passes over others."""
        while True:
            message = peer.until("change")
            if message["op"]["id"] == id:
                return message

    def refusal(self, *pieces):
        return self.peer().refusal(*pieces)

    def assert_alive(self, peer, id="still"):
        peer.send(line(type="ping", id=id))
        peer.until("pong", id=id)


class Conversation(FeedCase):
    """With the settings that everybody has."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.good = cls.server.stops(Consumer(cls.sidecar.feed, heartbeat=30).start())

    def tearDown(self):
        super().tearDown()
        id = self.put()
        wait_until(lambda: self.good.has(id), f"{id} at the good consumer", context=self.sidecar.log_tail)
        self.assertEqual(self.good.connections, 1)

    # ---- lines ----

    def test_hello_answers_what_was_asked(self):
        peer = self.peer(hello(request="a1", start="latest", heartbeat=7, on_gap="fail", window=0, collections=["todos", "notes"]))
        answer = peer.read()
        self.assertEqual(list(answer)[0], "type")
        self.assertEqual({**answer, "request": "a1", "heartbeat": 7, "mode": "negotiated", "version": 1}, answer)
        self.assertCountEqual(answer["collections"], ["todos", "notes"])
        self.assertRegex(answer["server"], r"^syncflow-sidecar/\d")
        for key in ("start", "head", "earliest"):
            self.assertRegex(answer[key], r"^[0-9a-f]{8}\.[0-9a-f]{16}\.\d+$")
            self.assertEqual(answer[key][:8], answer["epoch"])
        self.assertEqual(peer.read(), {"type": "live", "cursor": answer["start"]})

    def test_types_come_first_and_every_line_is_json_in_utf8(self):
        peer, _ = self.head()
        peer.send(hello(start="earliest", heartbeat=1), line(type="ack", cursor="x"))
        last = self.put()
        raw = []
        for wanted in (last.encode(), b'"type":"heartbeat"'):
            while not any(wanted in one for one in raw):
                raw.append(peer.raw_line())
                self.assertTrue(raw[-1].startswith(b'{"type":"'), raw[-1])
                json.loads(raw[-1].decode("utf-8"))

    def test_every_cursor_gives_exactly_the_rest(self):
        first = [self.put() for _ in range(10)]
        peer = self.peer(hello(start="earliest"))
        cursors = [self.change(peer, id)["cursor"] for id in first]
        for number, cursor in enumerate(cursors):
            again = self.peer(hello(start=cursor))
            self.assertEqual(again.read()["start"], cursor)
            self.assertEqual([again.read()["op"]["id"] for _ in first[number + 1:]], first[number + 1:])
            again.close()

    def test_change_is_the_same_bytes_for_everybody(self):
        said = [hello(start="latest"), hello(start="latest", heartbeat=3), hello(start="latest", collections=["todos"]), b""]
        peers = [self.peer(one) for one in said]
        for peer in peers:
            peer.until("live")
        self.put()

        def change_of(peer):
            while True:
                raw = peer.raw_line()
                if b'"type":"change"' in raw:
                    return raw

        lines = [change_of(peer) for peer in peers]
        self.assertEqual(len(set(lines)), 1)
        cursor = json.loads(lines[0])["cursor"]
        again = self.peer(hello(start=moved(cursor, -1)))
        self.assertEqual(change_of(again), lines[0])

    def test_transaction_lines_follow_each_other(self):
        peer, _ = self.head()
        self.server.execute(INSERT, "whole", 10, 5)
        lines = [peer.until("change") for _ in range(5)]
        self.assertEqual([one["transaction"]["index"] for one in lines], list(range(5)))
        self.assertEqual([one["transaction"]["last"] for one in lines], [False] * 4 + [True])
        self.assertEqual(len({one["transaction"]["xid"] for one in lines}), 1)
        self.assertEqual(set(lines[0]["op"]), {"id", "type", "collection", "docId", "data", "timestamp", "clientId", "synced", "vectorClock"})

    def test_silence_means_plain(self):
        peer = self.peer()
        answer = peer.read()
        self.assertEqual((answer["mode"], answer["heartbeat"]), ("plain", 30))
        self.assertEqual(answer["start"], answer["head"])
        peer.until("live")
        self.change(peer, self.put())

    def test_closed_input_means_plain_and_not_goodbye(self):
        peer = self.peer()
        peer.end_input()
        self.assertEqual(peer.read()["mode"], "plain")
        self.change(peer, self.put())

    def test_last_line_needs_no_end(self):
        peer = self.peer(hello(request="last").rstrip(b"\n"))
        peer.end_input()
        self.assertEqual(peer.read()["request"], "last")
        self.change(peer, self.put())

    def test_late_hello_begins_anew(self):
        peer = self.peer()
        peer.until("live")
        id = self.put()
        first = self.change(peer, id)
        peer.send(hello(request="late", start=moved(first["cursor"], -1)))
        peer.until("hello", request="late", mode="negotiated")
        self.assertEqual(peer.until("change"), first)
        peer.until("live")

    def test_live_comes_once_and_heartbeats_tell_how_far(self):
        peer = self.peer(hello(start="latest", heartbeat=1, collections=["quiet"]))
        live = peer.until("live")
        _, head = self.head()
        while True:
            message = peer.read()
            self.assertEqual(message["type"], "heartbeat")
            self.assertRegex(message["at"], r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z$")
            self.assertGreaterEqual(Position.of(message["cursor"]), Position.of(live["cursor"]))
            if message["cursor"] == head == message["head"]:
                return  # F15: nothing passed its filter, and it advanced

    def test_pings_are_answered_in_order(self):
        peer, cursor = self.head()
        peer.send(b"".join(line(type="ping", id=str(n)) for n in range(100)), line(type="ping"))
        self.assertEqual([peer.until("pong")["id"] for _ in range(101)], [str(n) for n in range(100)] + [""])
        self.assertEqual(peer.cursor, cursor)

    def test_what_a_later_version_may_say_is_ignored(self):
        peer, _ = self.head()
        peer.send(line(type="wave", to=["you"]), line(type="ping", id="7", loud=True))
        peer.until("pong", id="7")
        peer.send(hello(request="b", colour={"x": [1]}))
        peer.until("hello", request="b")

    # ---- input in any shape ----

    def test_one_byte_at_a_time(self):
        said = hello(request="slowly", start="latest", window=5) + line(type="ping", id="slow")
        peer = self.peer()
        peer.send(*(said[n:n + 1] for n in range(len(said))), pause=0.001)
        peer.until("hello", request="slowly")
        peer.until("pong", id="slow")

    def test_split_at_every_byte(self):
        peer, _ = self.head()
        size = len(line(type="ping", id="000"))
        for at in range(1, size):
            ping = line(type="ping", id=f"{at:03}")
            peer.send(ping[:at], ping[at:], pause=0.001)
            peer.until("pong", id=f"{at:03}")

    def test_glued_lines(self):
        peer = self.peer(hello(request="a", start="latest") + b"".join(line(type="ping", id=str(n)) for n in range(5))
                         + line(type="ack", cursor="x") + hello(request="b") + line(type="ping", id="end"))
        said = []
        while {"hello b", "pong end"} - set(said):
            message = peer.read()
            said.append(f"{message['type']} {message.get('request') or message.get('id') or message.get('code') or ''}".strip())
        self.assertIn("error bad_ack", said)
        self.assertEqual([one for one in said if one.startswith("pong")], [f"pong {n}" for n in range(5)] + ["pong end"])

    def test_line_ends_and_marks(self):
        ping = line(type="ping", id="7").rstrip(b"\n")
        for form in (ping + b"\n", ping + b"\r\n", b"\n\n" + ping + b"\n\n", b"\r\n\r\n" + ping + b"\r\n", b"  \t" + ping + b" \t\n",
                     b"\xef\xbb\xbf" + ping + b"\n"):
            with self.subTest(form):
                peer = self.peer(form)
                peer.until("pong", id="7")
                peer.send(hello(request="then"))
                peer.until("hello", request="then")
                peer.close()

    def test_garbage(self):
        for said, code in GARBAGE:
            with self.subTest(said[:40]):
                refusal = self.refusal(said)
                self.assertEqual((refusal["code"], refusal["fatal"], refusal["retry"]), (code, True, False))
                self.assertGreater(len(refusal["message"]), 20)

    def test_garbage_behind_a_hello(self):
        for said, code in GARBAGE:
            with self.subTest(said[:40]):
                self.assertEqual(self.refusal(hello(start="latest") + said)["code"], code)

    def test_half_a_line_at_the_end_is_told(self):
        peer = self.peer(hello(start="latest") + b'{"type":"pi')
        peer.end_input()
        self.assertEqual(peer.until_end()[-1]["code"], "bad_json")

    def test_wrong_hello(self):
        for fields, code in WRONG_HELLOS:
            with self.subTest(str(fields)):
                refusal = self.refusal(hello(**fields))
                self.assertEqual((refusal["code"], refusal["fatal"], refusal["retry"]), (code, True, False))

    def test_both_sides_of_each_limit(self):
        for allowed, refused in LIMITS:
            with self.subTest(str(refused)[:60]):
                peer = self.peer(hello(**allowed))
                self.assertEqual(peer.until("hello")["mode"], "negotiated")
                peer.close()
                self.assertEqual(self.refusal(hello(**refused))["code"], "bad_hello")

    def test_depth_both_sides(self):
        peer, _ = self.head()
        deepest = b'{"type":"ping","id":"deep","x":' + b"[" * 15 + b"]" * 15 + b"}\n"
        peer.send(deepest)
        peer.until("pong", id="deep")
        self.assertEqual(peer.refusal(deepest.replace(b"[]", b"[[[]]]"))["code"], "bad_json")

    def test_line_of_8192_bytes_and_one_more(self):
        for command, type in ((line(type="ping", id="7"), "pong"), (hello(request="long"), "hello")):
            peer = self.peer(padded(command, LINE_MAX))
            peer.until(type)
            self.assertEqual(peer.refusal(padded(command, LINE_MAX + 1))["code"], "line_too_long")

    def test_F7_line_of_a_gigabyte(self):
        """Refused at its 8193rd byte, whatever still comes."""
        before = self.sidecar.memory()["VmRSS"]
        for said in (b"", hello(start="latest")):
            peer = self.peer(said)
            sent = []
            chunk = b"x" * (1 << 20)

            def send_all(socket=peer.socket, sent=sent):
                try:
                    for _ in range(GIB // len(chunk)):
                        socket.sendall(chunk)
                        sent.append(self.sidecar.memory()["VmRSS"])
                except OSError:
                    pass  # it is no longer listened to

            sender = threading.Thread(target=send_all)
            sender.start()
            last = peer.until_end()[-1]
            sender.join()
            self.assertEqual((last["type"], last["code"]), ("error", "line_too_long"))
            self.assertLess(max(sent, default=0) - before, LINE_MEMORY_MAX)

    def test_F7_hello_that_never_ends(self):
        """A first byte, then nothing, or a byte now and then: 5 seconds, then the right error."""
        silent = self.peer(b"{")
        slow = self.peer(b" ")
        ended = threading.Event()

        def drip():
            while not ended.wait(0.1):
                try:
                    slow.send(b" ")
                except OSError:
                    return

        dripping = threading.Thread(target=drip)
        dripping.start()
        try:
            for peer in (silent, slow):
                last = peer.until_end()[-1]
                self.assertEqual((last["type"], last["code"]), ("error", "bad_hello"))
                self.assertIn("5 seconds", last["message"])
        finally:
            ended.set()
            dripping.join()

    # ---- positions ----

    def test_cursor_of_the_future(self):
        _, cursor = self.head()
        refusal = self.refusal(hello(start=moved(cursor, 1 << 40)))
        self.assertEqual((refusal["code"], refusal["fatal"], refusal["retry"]), ("cursor_ahead", True, True))
        self.assertLess(Position.of(refusal["head"]), Position.of(moved(cursor, 1 << 40)))
        self.assertLessEqual(Position.of(refusal["earliest"]), Position.of(refusal["head"]))

    def test_F14_cursor_of_another_history(self):
        _, cursor = self.head()
        epoch = f"{int(cursor[:8], 16) ^ 1:08x}"
        refusal = self.refusal(hello(start=epoch + cursor[8:]))
        self.assertEqual((refusal["code"], refusal["retry"]), ("epoch_changed", False))

    def test_F10_acks_that_would_lie_change_nothing(self):
        """Of the future, of another history, of no feed at all; acks of the past are no errors, and move nothing."""
        peer = self.peer(hello(name="accountant", start="latest"))
        peer.until("live")
        cursors = [self.change(peer, self.put())["cursor"] for _ in range(3)]
        peer.send(line(type="ack", cursor=cursors[1]))
        peer.until("acked", cursor=cursors[1])
        epoch = f"{int(cursors[0][:8], 16) ^ 1:08x}"
        wrong = [moved(cursors[2], 8), moved(cursors[2], 1 << 40), epoch + cursors[2][8:], "latest", cursors[2] + "0", 7, None]
        for cursor in wrong:
            with self.subTest(cursor):
                peer.send(line(type="ack", cursor=cursor))
                error = peer.until("error")
                self.assertEqual((error["code"], error["fatal"]), ("bad_ack", False))
        peer.send(b'{"type":"ack"}\n')
        peer.until("error", code="bad_ack")
        peer.send(line(type="ack", cursor=cursors[0]))  # of the past
        self.assert_alive(peer)
        peer.close()
        again = self.peer(hello(name="accountant"))
        self.assertEqual(again.read()["start"], cursors[1])
        self.assertEqual(again.until("change")["cursor"], cursors[2])

    def test_ack_that_nobody_keeps(self):
        peer, cursor = self.head()
        peer.send(line(type="ack", cursor=cursor))
        peer.until("error", code="bad_ack", fatal=False)
        self.assert_alive(peer)

    def test_window_pauses_until_acked(self):
        _, cursor = self.head()
        ids = [self.put() for _ in range(5)]
        peer = self.peer(hello(start=cursor, window=2))
        given = [peer.until("change") for _ in range(2)]
        self.assert_alive(peer, "paused")  # nothing came before this pong
        peer.send(line(type="ack", cursor=given[0]["cursor"]))
        given.append(peer.until("change"))
        self.assert_alive(peer, "paused again")
        peer.send(line(type="ack", cursor=given[2]["cursor"]))
        given += [peer.until("change") for _ in range(2)]
        self.assertEqual([one["op"]["id"] for one in given], ids)

    def test_F9_two_clients_with_one_name(self):
        """The newest has it; the other is told, and its acks count no more."""
        old = self.peer(hello(name="twin", start="latest"))
        old.until("live")
        first = self.change(old, self.put())["cursor"]
        new = self.peer(hello(name="twin"))
        start = new.until("hello")["start"]
        self.assertLess(Position.of(start), Position.of(first))
        old.send(line(type="ack", cursor=first))
        last = old.until_end()[-1]
        self.assertEqual((last["type"], last["code"], last["fatal"], last["retry"]), ("error", "superseded", True, False))
        self.assertEqual(new.until("change")["cursor"], first)
        third = self.peer(hello(name="twin"))
        self.assertEqual(third.until("hello")["start"], start)
        self.assertEqual(new.until_end()[-1]["code"], "superseded")


class Documents(FeedCase):
    """From the table, when it can be read."""

    def test_snapshot_fails_then_begins_ends_and_goes_on(self):
        for number in range(3):
            self.server.execute(DOCUMENT, "todos", f"d{number}")
        self.server.execute(DOCUMENT, "notes", "d0")
        self.server.execute("ALTER TABLE documents RENAME TO away")
        refusal = self.refusal(hello(start="snapshot"))
        self.server.execute("ALTER TABLE away RENAME TO documents")
        self.assertEqual((refusal["code"], refusal["fatal"], refusal["retry"]), ("snapshot_failed", True, True))
        peer, begin = wait_until(self.begun, "a snapshot to begin", context=self.sidecar.log_tail)
        documents = [peer.until("document", snapshot=begin["snapshot"]) for _ in range(3)]
        self.assertEqual({one["document"]["id"] for one in documents}, {"d0", "d1", "d2"})
        self.assertEqual(set(documents[0]["document"]), {"collection", "id", "data", "rev", "deleted", "vectorClock", "updatedAt"})
        self.assertIsNone(peer.cursor, "nothing had one before the end")
        end = peer.read()
        self.assertEqual((end["type"], end["cursor"], end["documents"]), ("snapshot_end", begin["as_of"], 3))
        self.change(peer, self.put())
        again = self.peer(hello(start="snapshot", snapshot=begin["snapshot"], number=documents[1]["number"]))
        self.assertEqual(again.until("snapshot_begin")["snapshot"], begin["snapshot"])
        self.assertEqual(again.until("document")["number"], documents[1]["number"])

    def begun(self):
        """A peer and its snapshot_begin; nothing while the failure is young, and nobody tries again."""
        peer = self.peer(hello(start="snapshot", collections=["todos"]))
        self.assertNotIn("start", peer.until("hello"))
        message = peer.read()
        while message["type"] == "heartbeat":
            message = peer.read()
        if message["type"] == "snapshot_begin":
            return peer, message
        self.assertEqual(message["code"], "snapshot_failed")
        return None


class Guarded(FeedCase):
    """Who may read what."""

    ALL = "all      %s *\n"
    SOME = "some     %s todos\n"

    @classmethod
    def setUpClass(cls):
        cls.path = os.path.join(SERVER.folder, "tokens")
        cls.write(cls.ALL + cls.SOME)
        cls.settings = {"feed.tokens_file": cls.path, "log.level": "debug"}
        super().setUpClass()

    @classmethod
    def write(cls, text):
        hashes = tuple(hashlib.sha256(word.encode()).hexdigest() for word in re.findall(r"^(\w+)", text, re.MULTILINE))
        with open(cls.path + ".new", "w", encoding="utf-8") as file:
            file.write(text % hashes)
        os.rename(cls.path + ".new", cls.path)

    def test_who_has_none_or_another(self):
        for said, code in ((hello(), "auth_required"), (hello(token=""), "auth_required"), (hello(token="x"), "auth_failed"),
                           (hello(token="some", collections=["notes"]), "forbidden_collection"),
                           (hello(token="some", collections=["todos", "notes"]), "forbidden_collection")):
            with self.subTest(said):
                refusal = self.refusal(said)
                self.assertEqual((refusal["code"], refusal["fatal"], refusal["retry"]), (code, True, False))

    def test_name_of_another_token(self):
        holder = self.peer(hello(token="all", name="ledger"))
        holder.until("live")
        refusal = self.refusal(hello(token="some", name="ledger", start="latest"))
        self.assertEqual((refusal["code"], refusal["fatal"], refusal["retry"]), ("forbidden_name", True, False))
        self.change(holder, self.put())

    def test_silence_is_no_token(self):
        peer = self.peer()
        peer.end_input()
        self.assertEqual([one["code"] for one in peer.until_end()], ["auth_required"])

    def test_neither_tokens_nor_contents_are_logged(self):
        """Whatever is wrong with the line they stand in, at the level that says the most."""
        for said in (hello(token="hush7f3a"), b'{"type":"hello","version":1,"token":"hush7f3a",}\n', hello(token=["hush7f3a"]),
                     b'{"type":"hello","version":9,"token":"hush7f3a"}\n'):
            self.refusal(said)
        every = self.peer(hello(token="all"))
        every.until("live")
        self.change(every, self.put(size=40))
        every.close()
        self.sidecar.wait_log("a consumer is gone")
        self.assertNotRegex(self.sidecar.log_text(), "hush7f3a|" + "x" * 40)

    def test_tokens_limit_and_go(self):
        limited = self.peer(hello(token="some"))
        self.assertEqual(limited.until("hello")["collections"], ["todos"])
        every = self.peer(hello(token="all"))
        every.until("live")
        self.put("notes")
        self.change(limited, self.put("todos"))
        self.write(self.ALL + self.SOME.replace("todos", "notes"))
        last = limited.until_end()[-1]
        self.assertEqual((last["type"], last["code"]), ("bye", "rights_changed"))
        self.assertGreater(last["retry_ms"], 0)
        self.write(self.SOME)
        last = every.until_end()[-1]
        self.assertEqual((last["type"], last["code"], last["retry"]), ("error", "auth_failed", False))
        self.write(self.ALL + self.SOME)


class Encrypted(FeedCase):
    """TLS and nothing else."""

    @classmethod
    def setUpClass(cls):
        cls.settings = {"feed.tls": certificate.make(SERVER.folder)}
        super().setUpClass()

    def test_who_does_not_speak_it_is_told(self):
        for said in (hello(), b"GET / HTTP/1.1\r\n\r\n", b"\x00" * 100, b""):
            with self.subTest(said):
                refusal = self.refusal(said)
                self.assertEqual((refusal["code"], refusal["fatal"], refusal["retry"]), ("tls_required", True, False))

    def test_half_a_handshake_is_no_line(self):
        """Answered as TLS answers, and ended."""
        with self.peer(b"\x16\x03\x01\x00\x05hello") as peer:
            self.assertNotIn(b"{", peer.raw_line())

    def test_lines_are_the_same(self):
        peer = self.peer()
        context = certificate.trust(self.settings["feed.tls"])
        peer.socket = self.enterContext(context.wrap_socket(peer.socket, server_hostname="localhost"))
        peer.send(hello(request="secret", start="latest"))
        peer.until("hello", request="secret")
        peer.until("live")
        self.change(peer, self.put())
        self.assertEqual(peer.refusal(b"x" * 100_000)["code"], "line_too_long")


class Crowded(FeedCase):
    ROOM = 3
    settings = {"feed.connections_max": ROOM}

    def admitted(self):
        with Peer(self.sidecar.feed, hello()) as peer:
            return (peer.read() or {}).get("type") == "hello"

    def test_as_many_connections_as_there_may_be(self):
        peers = [self.peer(hello()) for _ in range(self.ROOM)]
        for peer in peers:
            peer.until("live")
        refusal = self.refusal()
        self.assertEqual((refusal["code"], refusal["fatal"], refusal["retry"]), ("too_many_connections", True, True))
        for peer in peers:
            self.assert_alive(peer)
        peers[0].close()
        wait_until(self.admitted, "a place that was left", context=self.sidecar.log_tail)


class Small(FeedCase):
    """A journal that forgets, and short lines."""

    LINE = 4096
    settings = {"journal.segment_size": "1MiB", "journal.retain_size": "2MiB", "feed.tail_memory": "1MiB", "feed.line_max": "4KiB"}

    def test_line_of_max_bytes_and_one_more(self):
        peer = self.peer(hello(start="latest"))
        self.assertEqual(peer.until("hello")["max_line_bytes"], self.LINE)
        peer.until("live")

        def first_of_two(size):
            type(self).count += 1
            name = f"line{self.count:05}"
            self.commit(self.server, name, rows=2, size=size)
            while f'"{name}-1"'.encode() not in (raw := peer.raw_line()):
                self.assertTrue(raw, "the connection ended")
            return raw

        sizes = []
        while len(sizes) < 2 or sizes[-1] != sizes[-2]:  # the transaction's number may have had another digit
            near = self.LINE - len(first_of_two(0)) - 10
            sizes.append(near + self.LINE - len(first_of_two(near)))
        exact = sizes[-1]
        whole, more = first_of_two(exact), first_of_two(exact + 1)
        self.assertEqual(len(whole), self.LINE)
        self.assertNotIn(b'"omitted"', whole)
        shortened = json.loads(more)
        self.assertIsNone(shortened["op"]["data"])
        self.assertEqual(shortened["omitted"], {"data": exact + 1 + len('{"text": ""}')})

    def test_F13_what_retention_removed(self):
        peer, cursor = self.head()
        peer.close()
        for number in range(8):
            self.commit(self.server, f"bulk{number}", rows=300, size=3000)
        wait_until(lambda: Position.of(self.earliest()) > Position.of(cursor), "retention", context=self.sidecar.log_tail)
        refusal = self.refusal(hello(start=cursor))
        self.assertEqual((refusal["code"], refusal["fatal"], refusal["retry"]), ("history_lost", True, False))
        self.assertGreater(Position.of(refusal["earliest"]), Position.of(cursor))
        brave = self.peer(hello(start=cursor, on_gap="continue"))
        gap = brave.until("gap")
        self.assertEqual((gap["code"], gap["after"]), ("history_lost", cursor))
        self.assertNotIn("cursor", gap)
        self.assertGreater(Position.of(brave.until("change")["cursor"]), Position.of(gap["resume"]))

    def earliest(self):
        with Peer(self.sidecar.feed, hello()) as peer:
            return peer.until("hello")["earliest"]


class Names(FeedCase):
    """What is kept of named consumers."""

    MAX = 10_000

    def file(self):
        return os.path.join(self.sidecar.journal, "consumers.json")

    def test_as_many_names_as_there_may_be(self):
        _, cursor = self.head()
        self.sidecar.terminate()
        one = {"acknowledged": cursor, "seen_at": time.time_ns() // 1000}
        names = [{"name": f"n{number}", **one} for number in range(self.MAX - 1)]
        with open(self.file(), "w", encoding="utf-8") as file:
            json.dump({"format": 1, "consumers": names}, file)
        self.sidecar.start_ready()
        self.peer(hello(name="last")).until("hello")
        refusal = self.refusal(hello(name="beyond"))
        self.assertEqual((refusal["code"], refusal["fatal"], refusal["retry"]), ("too_many_names", True, False))
        self.assertEqual(self.peer(hello(name="n7")).until("hello")["start"], cursor)
        self.sidecar.terminate()
        os.remove(self.file())
        self.sidecar.start_ready()

    def test_position_that_cannot_be_written(self):
        os.mkdir(self.file() + ".new")
        try:
            refusal = self.refusal(hello(name="unlucky", start="latest"))
            again = self.refusal(hello(name="unlucky"))
        finally:
            os.rmdir(self.file() + ".new")
        self.assertEqual((refusal["code"], refusal["fatal"], refusal["retry"]), ("position_not_kept", True, True))
        self.assertEqual(again["code"], "position_not_kept", "it is known, and not durable")
        self.peer(hello(name="unlucky", start="latest")).until("hello")


class Upstream(Counted):
    """Whatever happens to PostgreSQL and the sidecar is told."""

    def test_nobody_has_been_reached_yet(self):
        rig = self.rig()
        sidecar = rig.sidecar(**{"postgres.url": "postgresql://127.0.0.1:1/nowhere"}).start()
        wait_until(lambda: sidecar.get("/livez")[0] == 200, "the sidecar to live", context=sidecar.log_tail)
        with Peer(sidecar.feed, hello(heartbeat=1)) as peer:
            for _ in range(2):
                error = peer.until("error", code="upstream_down")
                self.assertEqual((error["fatal"], error["retry"]), (False, True))

    def test_outage_goodbye_and_recovery(self):
        rig = self.rig()
        sidecar = rig.sidecar().start_ready()
        rig.wait_slot(sidecar.slot)
        self.commit(rig, "one")
        peer = self.enterContext(Peer(sidecar.feed, hello(start="earliest")))
        first = [peer.until("change") for _ in range(10)]
        rig.server.stop("immediate")
        peer.until("error", code="upstream_down", fatal=False)
        peer.send(line(type="ping", id="7"))
        peer.until("pong", id="7")
        rig.server.start()
        self.commit(rig, "two")
        self.assertEqual(peer.until("change")["op"]["id"], "two-1")
        cursor = [peer.until("change") for _ in range(9)][-1]["cursor"]
        self.assertEqual(sidecar.terminate(), 0)
        bye = peer.until_end()[-1]
        self.assertEqual((bye["type"], bye["code"], bye["cursor"]), ("bye", "shutdown", cursor))
        self.assertGreater(bye["retry_ms"], 0)
        rig.execute("SELECT pg_drop_replication_slot(%s)", sidecar.slot)
        self.commit(rig, "three")
        sidecar.start_ready()
        again = self.enterContext(Peer(sidecar.feed, hello(start=cursor)))
        gap = again.until("gap")
        self.assertEqual((gap["code"], gap["after"]), ("history_recovered", cursor))
        recovered = [again.until("change") for _ in range(10)]
        self.assertTrue(all(one["recovered"] for one in recovered))
        self.assertEqual({one["op"]["id"] for one in recovered}, {f"three-{n}" for n in range(1, 11)})
        self.assertNotIn("recovered", first[0])


class WholePage(unittest.TestCase):
    """Sorted last. A line, a code or a key that the page names must have been met above."""

    def test_everything_the_page_names(self):
        cases = Counted.__subclasses__() + FeedCase.__subclasses__()
        others = [test for case in cases for test in unittest.defaultTestLoader.getTestCaseNames(case)]
        if Counted.ran < len(others):
            self.skipTest("only some tests ran")
        named = self.named()
        self.assertGreater(len(named), 45)
        self.assertEqual(sorted(named - SEEN - set(ELSEWHERE)), [])
        unknown = {one for one in SEEN if one[0] in ("line", "error", "gap", "bye")} - named
        self.assertEqual(sorted(unknown), [], "the page does not name these")
        for (_, code), script in ELSEWHERE.items():
            with open(os.path.join(ROOT, "tests", "blackbox", script), encoding="utf-8") as file:
                self.assertIn(code, file.read())

    @staticmethod
    def named():
        with open(os.path.join(ROOT, "sidecar", "feed", "PROTOCOL.md"), encoding="utf-8") as file:
            page = file.read()
        parts = dict(part.split("\n", 1) for part in page.split("\n## ")[1:])
        said, heard, errors = (parts[title] for title in ("What clients say", "What the feed says", "Errors"))
        hellos = said.split("### ack")[0]
        gaps = heard.split("### gap")[1].split("###")[0]
        byes = re.search(r"A bye's code is (.*?) \(", heard, re.DOTALL)[1]

        def words(rows):
            return [word for row in rows for word in re.findall(r"`(\w+)`", row)]

        return (
            {("line", type) for type in re.findall(r'^\{"type":"(\w+)"', heard, re.MULTILINE)}
            | {("command", type) for type in re.findall(r'^\{"type":"(\w+)"', said, re.MULTILINE)}
            | {("key", key) for key in words(re.findall(r"^\| (`.*?) \|", hellos, re.MULTILINE))}
            | {("error", code) for code in words(re.findall(r"^\| (`.*?) \|", errors, re.MULTILINE))}
            | {("gap", code) for code in words(re.findall(r"^\| (`.*?) \|", gaps, re.MULTILINE))}
            | {("bye", code) for code in words([byes])}
        )


if __name__ == "__main__":
    unittest.main()
