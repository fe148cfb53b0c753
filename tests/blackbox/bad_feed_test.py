"""What strangers send to the feed port hurts nobody else."""

import contextlib
import socket
import struct
import time
import unittest

from case import Case
from consumer import Consumer
from waiting import PATIENCE, wait_until

GARBAGE = [
    b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
    b"\x16\x03\x01\x02\x00\x01\x00\n",  # TLS
    b"\x00" * 100 + b"\n",
    b"\xff\xfe\n",
    b"{\n",
    b'{"type":"hello"\n',
    b'"text"\n',
    b"null\n",
    b"[" * 5000 + b"\n",
    b'{"a":' * 1000 + b"\n",
]
WRONG_HELLOS = [
    ('"version":99', "unsupported_version"),
    ('"version":1,"from":"yesterday"', "bad_cursor"),
    ('"version":1,"from":7', "bad_hello"),
    ('"version":1,"heartbeat":-1', "bad_hello"),
    ('"version":1,"heartbeat":1e99', "bad_hello"),
    ('"version":1,"from":"00000000.0000000000000001.0"', "epoch_changed"),
]
LINE_MEMORY_MAX = (
    8 << 20
)  # what an endless line may cost; it is a thousandth of that on the wire side
RESET = struct.pack("ii", 1, 0)  # SO_LINGER: close with RST


class FeedPort(Case):
    def setUp(self):
        self.server = self.rig()
        self.sidecar = self.server.sidecar().start_ready()
        self.good = Consumer(self.sidecar.feed).start()
        self.addCleanup(self.good.stop)
        self.commit(self.server, "before")
        self.wait_good("before-10")

    def wait_good(self, id):
        wait_until(
            lambda: self.good.has(id), f"{id} at the good consumer", context=self.sidecar.log_tail
        )

    def answer(self, *chunks):
        """What the sidecar says until it closes the connection, which it must."""
        said = b""
        deadline = time.monotonic() + PATIENCE
        with socket.create_connection(self.sidecar.feed, timeout=PATIENCE) as stranger:
            with contextlib.suppress(ConnectionError):
                for chunk in chunks:
                    stranger.sendall(chunk)
                while chunk := stranger.recv(1 << 16):
                    said += chunk
                    self.assertLess(time.monotonic(), deadline, f"still open after {said[-300:]}")
        return said.decode()

    def assert_unaffected(self):
        self.commit(self.server, "after")
        self.wait_good("after-10")
        self.assertEqual(self.good.connections, 1)
        self.assertTrue(self.sidecar.running())

    def test_garbage(self):
        for line in GARBAGE:
            with self.subTest(line[:20]):
                self.assertRegex(self.answer(line), '"code":"bad_(json|hello)".*"fatal":true')
        self.assert_unaffected()

    def test_wrong_hello(self):
        for words, code in WRONG_HELLOS:
            with self.subTest(words):
                hello = f'{{"type":"hello",{words}}}\n'
                self.assertIn(f'"code":"{code}"', self.answer(hello.encode()))
        self.assert_unaffected()

    def test_cursor_of_the_future(self):
        epoch, lsn, index = self.good.cursor.split(".")
        future = f"{epoch}.{int(lsn, 16) + (1 << 40):016x}.{index}"
        hello = f'{{"type":"hello","version":1,"from":"{future}"}}\n'
        self.assertIn('"code":"cursor_ahead"', self.answer(hello.encode()))
        self.assert_unaffected()

    def test_endless_line(self):
        before = self.sidecar.memory()["VmRSS"]
        self.assertIn('"code":"line_too_long"', self.answer(*[b"x" * 65536] * 256))
        self.assertLess(self.sidecar.memory()["VmRSS"] - before, LINE_MEMORY_MAX)
        self.assert_unaffected()

    def test_one_byte_at_a_time(self):
        with socket.create_connection(self.sidecar.feed, timeout=PATIENCE) as stranger:
            stranger.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            for byte in b'{"type":"hello","version":1,"request":"slowly","from":"earliest"}\n':
                stranger.sendall(bytes([byte]))
            lines = stranger.makefile("rb")
            said = [lines.readline() for _ in range(3)]
        self.assertTrue(any(b'"request":"slowly"' in line for line in said), said)
        self.assert_unaffected()

    def test_many_that_say_nothing_and_vanish(self):
        strangers = [socket.create_connection(self.sidecar.feed) for _ in range(200)]
        for number, stranger in enumerate(strangers):
            if number % 2:
                stranger.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
            stranger.close()
        self.assert_unaffected()


if __name__ == "__main__":
    unittest.main()
