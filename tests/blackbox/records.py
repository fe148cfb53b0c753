"""What the two sides of a comparison are made of."""

import re
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


class Transaction(NamedTuple):
    """One committed transaction as PostgreSQL decodes it."""

    xid: int
    end: int  # LSN after the commit record
    ids: list  # of the operations it inserted, in order
