"""A raw connection to the feed: bytes out, lines in, nothing assumed. What was ever said and read is noted in SEEN."""

import contextlib
import json
import socket
import struct
import time

from waiting import PATIENCE

SEEN = set()  # ("command", type), ("key", of a hello), ("line", type), ("error", code), ("gap", code), ("bye", code)
RESET = struct.pack("ii", 1, 0)  # SO_LINGER: close with RST


def line(**fields):
    """One command, ended; "from" is a word of Python's: say start."""
    if "start" in fields:
        fields["from"] = fields.pop("start")
    SEEN.add(("command", fields["type"]))
    if fields["type"] == "hello":
        SEEN.update(("key", key) for key in fields)
    return json.dumps(fields, separators=(",", ":")).encode() + b"\n"


def hello(**fields):
    return line(type="hello", version=1, **fields)


class Peer:
    """With `buffer`, its kernel takes about so many bytes and no more."""

    def __init__(self, address, said=b"", buffer=None):
        self.socket = socket.socket(socket.AF_INET)
        if buffer:
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, buffer)
        self.socket.settimeout(PATIENCE)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.socket.connect(address)
        self.rest = b""
        self.cursor = None  # of the last line that had one
        if said:
            self.send(said)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        self.socket.close()

    def reset(self):
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
        self.socket.close()

    def send(self, *pieces, pause=0.0):
        for piece in pieces:
            self.socket.sendall(piece)
            time.sleep(pause)

    def end_input(self):
        self.socket.shutdown(socket.SHUT_WR)

    def raw_line(self):
        """With its line feed; b"" when the connection has ended."""
        while b"\n" not in self.rest:
            try:
                chunk = self.socket.recv(1 << 16)
            except ConnectionError:
                return b""
            if not chunk:
                return b""
            self.rest += chunk
        found, _, self.rest = self.rest.partition(b"\n")
        return found + b"\n"

    def read(self):
        """The next line; None when the connection has ended."""
        raw = self.raw_line()
        if not raw:
            return None
        message = json.loads(raw)
        note(message)
        self.cursor = message.get("cursor", self.cursor)
        return message

    def until(self, type, **fields):
        """The next line of this type with these fields; others are passed over."""
        passed = []
        deadline = time.monotonic() + PATIENCE
        while time.monotonic() < deadline:
            message = self.read()
            if message is None:
                break
            if message["type"] == type and fields.items() <= message.items():
                return message
            passed.append(message)
        raise AssertionError(f"no {type} {fields} came, but {passed[-5:]}")

    def until_end(self):
        """All lines until the connection ends, which it must."""
        messages = []
        deadline = time.monotonic() + PATIENCE
        while (message := self.read()) is not None:
            messages.append(message)
            if time.monotonic() > deadline:
                raise AssertionError(f"still open after {messages[-3:]}")
        return messages

    def refusal(self, *pieces):
        """Sends the pieces, as far as it is let; the error that is then the last line."""
        with contextlib.suppress(ConnectionError):
            self.send(*pieces)
        said = self.until_end()
        if not said or said[-1]["type"] != "error":
            raise AssertionError(f"no error at the end of {said[-3:]}")
        return said[-1]


def note(message):
    SEEN.add(("line", message["type"]))
    if message["type"] in ("error", "gap", "bye"):
        SEEN.add((message["type"], message["code"]))
