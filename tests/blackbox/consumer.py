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

import json
import random
import socket
import threading

from records import CURSOR, Deliveries, Lines

CHUNK = 1 << 16
FORGOTTEN_MAX = 300  # lines


class Consumer:
    """`start`: earliest, latest or a cursor. `keep_lines`: the bytes of change lines as well. `lines`: shared with
    other consumers, to save memory. `tls`: an SSLContext."""

    def __init__(
        self,
        address,
        name="consumer",
        pace="fast",
        start="earliest",
        heartbeat=1,
        seed=0,
        keep_lines=False,
        lines=None,
        tls=None,
    ):
        self.address = address
        self.tls = tls
        self.name = name
        self.pace = pace
        self.heartbeat = heartbeat
        self.chance = random.Random(f"{seed}/{name}")
        self.cursor = start
        self.connections = 0
        self.lives = (2_000, 400_000)  # bytes until a dying one cuts its connection
        self.asked = {}  # connection -> the cursor it began with, where it was one
        self.answered = False  # the hello of this connection
        self.deliveries = Deliveries(lines or Lines())
        self.ids = set()
        self.lines = [] if keep_lines else None
        self.gaps = []  # gap lines and errors that announce lost history
        self.announced = []  # how many deliveries each of them came behind
        self.refusals = []  # errors that say: do not ask this again
        self.broken = []  # lines that are no protocol
        self.socket = None
        self.leaving = False
        self.left = []  # connections that are open, and nobody reads
        self.reading = threading.Event()
        self.reading.set()
        self.stopping = threading.Event()
        self.thread = threading.Thread(target=self._run, daemon=True)

    def start(self):
        self.thread.start()
        return self

    def stop(self):
        self.stopping.set()
        self.resume()
        self.cut()
        if self.thread.ident:
            self.thread.join()
        for connection in self.left:
            connection.close()

    def cut(self):
        """Ends the present connection, as a broken network would."""
        connection = self.socket
        if connection is not None:
            try:
                connection.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass

    def pause(self):
        """As if its process were frozen: the connection stays, nothing is read."""
        self.reading.clear()

    def resume(self):
        self.reading.set()

    def leave(self):
        """The present connection stays as it is, with nobody behind it, and another one begins: half open."""
        self.leaving = self.socket is not None

    def has(self, id):
        return id in self.ids

    # ---- one connection after another ----

    def _run(self):
        while not self.stopping.is_set() and not self.refusals:
            try:
                self._connect_once()
            except OSError:
                pass
            except Exception as error:  # else a thread that ended would look like a feed that is quiet
                self.broken.append(repr(error))
                raise
            self._forget()
            self.stopping.wait(self.chance.uniform(0.02, 0.3))

    def _open(self):
        connection = socket.create_connection(self.address, timeout=10)
        return self.tls.wrap_socket(connection, server_hostname="localhost") if self.tls else connection

    def _connect_once(self):
        with self._open() as connection:
            self.connections += 1
            self.answered = self.pace == "plain"
            self.socket = connection
            connection.settimeout(2.5 * self.heartbeat + 5)
            if self.pace != "plain":
                connection.sendall(self._hello())
                if start := self._start():
                    self.asked[self._connection_name()] = start
            try:
                self._read_lines(connection)
            finally:
                self.socket = None
                if self.leaving:
                    self.left.append(connection.dup())
                    self.leaving = False

    def _connection_name(self):
        return f"{self.name}/{self.connections}"

    def _forget(self):
        if self.pace == "dying" and self.deliveries and self.chance.random() < 0.3:
            newest = len(self.deliveries)
            self.cursor = self.deliveries[
                self.chance.randrange(max(0, newest - FORGOTTEN_MAX), newest)
            ].cursor

    def _start(self):
        """Nothing up to this cursor may come; None at a first start."""
        return self.cursor if CURSOR.fullmatch(self.cursor) else None

    def _hello(self):
        hello = {"type": "hello", "version": 1, "from": self.cursor, "heartbeat": self.heartbeat}
        return json.dumps(hello).encode() + b"\n"

    def _read_lines(self, connection):
        """A last line that was not finished is no line."""
        rest = b""
        lives = self.chance.randrange(*self.lives) if self.pace == "dying" else None
        while not self.stopping.is_set() and not self.leaving:
            chunk = connection.recv(CHUNK)
            self.reading.wait()
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
            if self.answered and line.startswith(b'{"type":"change"'):
                self._take_change(line)
                return
            message = json.loads(line)
            if self._is_asked_for(message):
                self._take_message(message, line)
        except (ValueError, KeyError, TypeError) as error:
            self.broken.append(f"{error!r}: {line[:300]!r}")

    def _take_message(self, message, line):
        kind = message["type"]
        if kind in ("live", "heartbeat"):
            self.cursor = message["cursor"]
        elif kind == "gap":
            self._take_gap(line)
            self.cursor = message.get("cursor", self.cursor)
        elif kind == "error":
            self._take_error(message, line)
        elif kind == "change":
            self._take_change(line)

    def _is_asked_for(self, message):
        """A feed that hears nothing for a moment begins by itself; what it sent before it answered
        the hello was not asked for."""
        self.answered = self.answered or message.get("mode") == "negotiated"
        return self.answered or message.get("fatal")

    def _take_change(self, line):
        number = self.deliveries.lines.take(line)
        self.deliveries.append(self._connection_name(), number)
        self.cursor, id, *_ = self.deliveries.lines.taken[number]
        self.ids.add(id)
        if self.lines is not None:
            self.lines.append(line)

    def _take_gap(self, line):
        self.gaps.append(line)
        self.announced.append(len(self.deliveries))

    def _take_error(self, message, line):
        if message["code"] in ("history_lost", "epoch_changed") and not message.get("retry"):
            self._take_gap(line)
        if message["fatal"] and not message.get("retry"):
            self.refusals.append(line)
