"""A wire to PostgreSQL that can be held up, frozen, or spoken into: what networks do, without privileges.

One thread for each direction of each connection. Messages are PostgreSQL's own: a letter, a length, and so many
bytes; only the client's first one has no letter.
"""

import contextlib
import socket
import struct
import threading
import urllib.parse

CHUNK = 1 << 16


class Wire:
    def __init__(self, url):
        """`url`: of the server. Nothing is encrypted, so that it can be read here."""
        target = urllib.parse.urlsplit(url)
        self.target = (target.hostname, target.port)
        self.listener = socket.create_server(("127.0.0.1", 0))
        place = f"{target.username}@127.0.0.1:{self.listener.getsockname()[1]}"
        self.url = f"postgresql://{place}{target.path}?sslmode=disable&gssencmode=disable"
        self.word = None  # the client's message with it waits
        self.held = threading.Event()  # it does so now
        self.going_on = threading.Event()
        self.frozen = set()  # connections whose bytes go nowhere
        self.connections = []
        self.answers = lambda message: [message]  # what the client gets for a message of the server
        threading.Thread(target=self._accept, daemon=True).start()

    def stop(self):
        self.listener.close()
        self.going_on.set()
        self.cut()

    # ---- faults ----

    def hold(self, word):
        """The next message of a client that contains `word` waits for go_on(); `held` tells when it does."""
        self.held.clear()
        self.going_on.clear()
        self.word = word

    def go_on(self):
        self.going_on.set()

    def cut(self):
        """The connections that exist now end."""
        for pair in list(self.connections):
            end_both(pair)

    def cut_frozen(self):
        for pair in list(self.frozen):
            end_both(pair)
            self._forget(pair)

    def freeze(self):
        """Both ends of the connections that exist now go on believing in them: half open."""
        self.frozen.update(self.connections)

    # ---- what goes through ----

    def _accept(self):
        with contextlib.suppress(OSError):
            while True:
                client, _ = self.listener.accept()
                try:
                    server = socket.create_connection(self.target)
                except OSError:
                    client.close()
                    continue
                pair = (client, server)
                self.connections.append(pair)
                for way in (self._to_server, self._to_client):
                    threading.Thread(target=self._carry, args=(way, pair), daemon=True).start()

    def _carry(self, way, pair):
        """One end's end is the other's, but for a frozen connection."""
        with contextlib.suppress(OSError):
            way(*pair, pair)
        if pair not in self.frozen:
            end_both(pair)
            self._forget(pair)

    def _forget(self, pair):
        """The sockets are closed when the last thread that carries between them lets go."""
        self.frozen.discard(pair)
        with contextlib.suppress(ValueError):
            self.connections.remove(pair)

    def _to_server(self, client, server, pair):
        while chunk := client.recv(CHUNK):
            if self.word is not None and self.word in chunk:
                self.word = None
                self.held.set()
                self.going_on.wait()
            if pair in self.frozen:
                return
            server.sendall(chunk)

    def _to_client(self, client, server, pair):
        rest = b""
        while chunk := server.recv(CHUNK):
            if pair in self.frozen:
                return
            rest += chunk
            out = []
            done = 0
            while len(rest) >= done + 5 and len(rest) > (end := done + struct.unpack_from(">I", rest, done + 1)[0]):
                out += self.answers(rest[done : end + 1])
                done = end + 1
            rest = rest[done:]
            client.sendall(b"".join(out))


def end_both(pair):
    for end in pair:
        with contextlib.suppress(OSError):
            end.shutdown(socket.SHUT_RDWR)


def keepalive(wal_end):
    """A walsender's, as the server would send it."""
    body = struct.pack(">cQQB", b"k", wal_end, 0, 0)
    return struct.pack(">cI", b"d", 4 + len(body)) + body


def is_change(message, operation):
    """Whether this is the CopyData of that operation's insert."""
    return message[:1] == b"d" and message[5:6] == b"w" and operation.encode() in message
