"""A feed consumer written from the protocol page alone: a socket, lines, JSON. It shares no code
with the sidecar.

It asks for everything from a start, remembers the cursor of the last line that had one, and after
every disconnect comes back with that cursor. Paces:

    fast    reads as quickly as it can
    slow    sleeps between reads, so that the sidecar must hold its bytes back
    dying   cuts its own connection in the middle of the stream, again and again, and sometimes
            comes back with an older cursor than its newest, as after a crash before the cursor was
            stored
    plain   says nothing (what `nc` does): from the newest change on, and no memory of a cursor
"""

import hashlib
import json
import random
import socket
import threading

from records import Delivery, Position

CHUNK = 1 << 16
FORGOTTEN_MAX = 300  # lines


class Consumer:
    """`start`: earliest, latest or a cursor. `keep_lines`: the bytes of change lines as well."""

    def __init__(
        self,
        address,
        name="consumer",
        pace="fast",
        start="earliest",
        heartbeat=1,
        seed=0,
        keep_lines=False,
    ):
        self.address = address
        self.name = name
        self.pace = pace
        self.heartbeat = heartbeat
        self.chance = random.Random(f"{seed}/{name}")
        self.cursor = start
        self.connections = 0
        self.asked = {}  # connection -> the cursor it began with, where it was one
        self.answered = False  # the hello of this connection
        self.deliveries = []
        self.ids = set()
        self.lines = [] if keep_lines else None
        self.gaps = []  # gap lines and errors that announce lost history
        self.refusals = []  # errors that say: do not ask this again
        self.broken = []  # lines that are no protocol
        self.socket = None
        self.stopping = threading.Event()
        self.thread = threading.Thread(target=self._run, daemon=True)

    def start(self):
        self.thread.start()
        return self

    def stop(self):
        self.stopping.set()
        self.cut()
        if self.thread.ident:
            self.thread.join()

    def cut(self):
        """Ends the present connection, as a broken network would."""
        connection = self.socket
        if connection is not None:
            try:
                connection.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass

    def has(self, id):
        return id in self.ids

    # ---- one connection after another ----

    def _run(self):
        while not self.stopping.is_set() and not self.refusals:
            try:
                self._connect_once()
            except OSError:
                pass
            self._forget()
            self.stopping.wait(self.chance.uniform(0.02, 0.3))

    def _connect_once(self):
        with socket.create_connection(self.address, timeout=10) as connection:
            self.connections += 1
            self.answered = self.pace == "plain"
            self.socket = connection
            connection.settimeout(2.5 * self.heartbeat + 5)
            if self.pace != "plain":
                connection.sendall(self._hello())
                if self.cursor not in ("earliest", "latest"):
                    self.asked[self._connection_name()] = self.cursor
            try:
                self._read_lines(connection)
            finally:
                self.socket = None

    def _connection_name(self):
        return f"{self.name}/{self.connections}"

    def _forget(self):
        if self.pace == "dying" and self.deliveries and self.chance.random() < 0.3:
            newest = len(self.deliveries)
            self.cursor = self.deliveries[
                self.chance.randrange(max(0, newest - FORGOTTEN_MAX), newest)
            ].cursor

    def _hello(self):
        hello = {"type": "hello", "version": 1, "from": self.cursor, "heartbeat": self.heartbeat}
        return json.dumps(hello).encode() + b"\n"

    def _read_lines(self, connection):
        """A last line that was not finished is no line."""
        rest = b""
        lives = self.chance.randrange(2_000, 400_000) if self.pace == "dying" else None  # bytes
        while not self.stopping.is_set():
            chunk = connection.recv(CHUNK)
            if not chunk:
                return
            *lines, rest = (rest + chunk).split(b"\n")
            for line in lines:
                self._take(line)
            if lives is not None:
                lives -= len(chunk)
                if lives < 0 and self.pace == "dying":
                    return
            if self.pace == "slow":
                self.stopping.wait(self.chance.uniform(0, 0.1))

    # ---- one line after another ----

    def _take(self, line):
        try:
            message = json.loads(line)
            kind = message["type"]
            if not self._is_asked_for(message):
                return
            if kind == "change":
                self._take_change(message, line)
            elif kind in ("live", "heartbeat"):
                self.cursor = message["cursor"]
            elif kind == "gap":
                self.gaps.append(line)
                self.cursor = message.get("cursor", self.cursor)
            elif kind == "error":
                self._take_error(message, line)
        except (ValueError, KeyError, TypeError) as error:
            self.broken.append(f"{error!r}: {line[:300]!r}")

    def _is_asked_for(self, message):
        """A feed that hears nothing for a moment begins by itself; what it sent before it answered
        the hello was not asked for."""
        self.answered = self.answered or message.get("mode") == "negotiated"
        return self.answered or message.get("fatal")

    def _take_change(self, message, line):
        Position.of(message["cursor"])  # its form is promised; its order is the checker's business
        transaction = message["transaction"]
        id = message["op"]["id"]
        delivery = Delivery(
            self._connection_name(),
            message["cursor"],
            id,
            transaction["xid"],
            transaction["index"],
            transaction["last"],
            hashlib.sha1(line).digest(),
        )
        self.deliveries.append(delivery)
        self.ids.add(id)
        self.cursor = delivery.cursor
        if self.lines is not None:
            self.lines.append(line)

    def _take_error(self, message, line):
        if message["code"] in ("history_lost", "epoch_changed"):
            self.gaps.append(line)
        if message["fatal"] and not message.get("retry"):
            self.refusals.append(line)
