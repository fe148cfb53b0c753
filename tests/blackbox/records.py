"""What the two sides of a comparison are made of."""

import hashlib
import json
import re
import sys
import threading
from array import array
from bisect import bisect_right
from typing import NamedTuple

CURSOR = re.compile(r"([0-9a-f]{8})\.([0-9a-f]{16})\.(0|[1-9][0-9]*)")


class Position(NamedTuple):
    """A cursor taken apart. Consumers treat cursors as opaque; the checker may look inside."""

    epoch: str
    lsn: int
    index: int

    @classmethod
    def of(cls, cursor):
        match = CURSOR.fullmatch(cursor)
        if not match:
            raise ValueError(f"not a cursor: {cursor!r}")
        return cls(match[1], int(match[2], 16), int(match[3]))


class Delivery(NamedTuple):
    """One change line as a consumer received it."""

    connection: str  # consumer and number of its connection
    cursor: str
    id: str
    xid: int
    index: int
    last: bool
    digest: bytes  # of the line's bytes
    recovered: bool = False  # read from the table
    collection: str = ""


class Lines:
    """Change lines, each taken apart and kept once, however many consumers have it."""

    def __init__(self):
        self.numbers = {}  # digest -> place in `taken`
        self.taken = []  # what a Delivery has behind its connection
        self.lock = threading.Lock()

    def take(self, line):
        """The line's number. Throws where it is not the protocol's."""
        digest = hashlib.blake2b(line, digest_size=16).digest()
        number = self.numbers.get(digest)
        return self._add(digest, json.loads(line)) if number is None else number

    def _add(self, digest, message):
        Position.of(message["cursor"])  # its form is promised; its order is the checker's business
        transaction, operation = message["transaction"], message["op"]
        place = (transaction["xid"], transaction["index"], transaction["last"])
        rest = (digest, message.get("recovered", False), sys.intern(operation["collection"]))
        with self.lock:
            if digest not in self.numbers:  # which others look at without the lock
                self.taken.append((message["cursor"], operation["id"], *place, *rest))
                self.numbers[digest] = len(self.taken) - 1
            return self.numbers[digest]


class Deliveries:
    """What one consumer received, in order, eight bytes each."""

    def __init__(self, lines):
        self.lines = lines
        self.numbers = array("Q")
        self.connections = []  # (number of its first delivery, name)

    def append(self, connection, number):
        if not self.connections or self.connections[-1][1] != connection:
            self.connections.append((len(self.numbers), connection))
        self.numbers.append(number)

    def __len__(self):
        return len(self.numbers)

    def __getitem__(self, index):
        index = range(len(self.numbers))[index]
        connection = self.connections[bisect_right(self.connections, (index, "\U0010ffff")) - 1][1]
        return Delivery(connection, *self.lines.taken[self.numbers[index]])

    def __iter__(self):
        ends = [first for first, _ in self.connections[1:]] + [len(self.numbers)]
        for (first, connection), end in zip(self.connections, ends):
            for number in self.numbers[first:end]:
                yield Delivery(connection, *self.lines.taken[number])


class Transaction(NamedTuple):
    """One committed transaction as PostgreSQL decodes it."""

    xid: int
    end: int  # LSN after the commit record
    ids: list  # of the operations it inserted, in order
    collections: list = ()  # of each of them
