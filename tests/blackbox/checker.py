"""Compares what a consumer received with what PostgreSQL committed.

    lost                committed, never delivered
    phantom             delivered, never committed
    reordered           first deliveries that are not in commit order
    torn                a transaction whose lines are not contiguous, whose index is not dense, or
                        whose last flag is wrong
    two cursors         one operation under different cursors
    two operations      one cursor for different operations
    other bytes         the same cursor with a line that differs
    not rising          a cursor that does not rise within one connection, or that begins one which
                        had asked for what comes after it
    misplaced           a cursor whose LSN is not where PostgreSQL has the commit
    other epoch         a cursor of another history
    false gap           announced lost history although nothing was lost
    refused             an error that forbids to ask again
    broken              a line that is not the protocol's

Equal lines under equal cursors are no violation (delivery is at least once): they are counted as
`repeated`.
"""

import collections

from records import Position

KINDS = [
    "lost",
    "phantom",
    "reordered",
    "torn",
    "two cursors",
    "two operations",
    "other bytes",
    "not rising",
    "misplaced",
    "other epoch",
    "false gap",
    "refused",
    "broken",
]
EXAMPLES = 5


class Verdict:
    def __init__(self):
        self.violations = collections.defaultdict(list)
        self.delivered = 0  # different operations
        self.repeated = 0

    def add(self, kind, example):
        self.violations[kind].append(example)

    def count(self, kind):
        return len(self.violations.get(kind, ()))

    def clean(self):
        return not self.violations

    def explain(self):
        return "\n".join(
            f"  {kind} {len(found)}: " + "; ".join(map(str, found[:EXAMPLES]))
            for kind, found in self.violations.items()
        )


class Checker:
    """Knows the history; check() may be called for many consumers."""

    def __init__(self, transactions):
        self.transactions = transactions
        self.rank = {}  # operation id -> place in the whole history
        self.home = {}  # operation id -> (number of its transaction, index in it)
        for number, transaction in enumerate(transactions):
            for index, id in enumerate(transaction.ids):
                self.rank[id] = len(self.rank)
                self.home[id] = (number, index)

    def check(self, deliveries, complete=True, gaps=(), refusals=(), broken=(), asked=None):
        """`complete`: the consumer asked for everything, so what is missing is lost. `asked`: the
        cursors that connections began with."""
        verdict = Verdict()
        firsts = self._repetitions(deliveries, verdict)
        self._membership(firsts, complete, verdict)
        self._order(firsts, verdict)
        self._transactions(firsts, verdict)
        self._connections(deliveries, asked or {}, verdict)
        self._announcements(gaps, refusals, broken, verdict)
        return verdict

    def check_consumer(self, consumer, complete=True):
        return self.check(
            consumer.deliveries,
            complete,
            consumer.gaps,
            consumer.refusals,
            consumer.broken,
            consumer.asked,
        )

    def _repetitions(self, deliveries, verdict):
        """The first delivery of each operation, in order."""
        by_id = {}
        by_cursor = {}
        for delivery in deliveries:
            same_cursor = by_cursor.setdefault(delivery.cursor, delivery)
            first = by_id.setdefault(delivery.id, delivery)
            if same_cursor.id != delivery.id:
                verdict.add("two operations", (delivery.cursor, same_cursor.id, delivery.id))
            elif same_cursor.digest != delivery.digest:
                verdict.add("other bytes", delivery.cursor)
            if first.cursor != delivery.cursor:
                verdict.add("two cursors", (delivery.id, first.cursor, delivery.cursor))
            elif first is not delivery:
                verdict.repeated += 1
        verdict.delivered = len(by_id)
        return list(by_id.values())

    def _membership(self, firsts, complete, verdict):
        delivered = {delivery.id for delivery in firsts}
        for id in delivered - self.rank.keys():
            verdict.add("phantom", id)
        if complete:
            for id in self.rank:
                if id not in delivered:
                    verdict.add("lost", id)

    def _order(self, firsts, verdict):
        highest = -1
        for delivery in firsts:
            rank = self.rank.get(delivery.id, highest)
            if rank < highest:
                verdict.add("reordered", delivery.id)
            highest = max(highest, rank)

    def _transactions(self, firsts, verdict):
        """Each line against the transaction that PostgreSQL has it in."""
        for delivery in firsts:
            if delivery.id not in self.home:
                continue
            number, index = self.home[delivery.id]
            transaction = self.transactions[number]
            last = index == len(transaction.ids) - 1
            if (delivery.xid, delivery.index, delivery.last) != (transaction.xid, index, last):
                verdict.add(
                    "torn",
                    (
                        f"{delivery.id} is {delivery.xid}/{delivery.index}/{delivery.last}, "
                        f"committed as {transaction.xid}/{index}/{last}"
                    ),
                )
            if not self._in_place(delivery, number):
                verdict.add("misplaced", (delivery.id, delivery.cursor))

    def _in_place(self, delivery, number):
        """The commit record lies between the end of the one before and its own end."""
        position = Position.of(delivery.cursor)
        before = self.transactions[number - 1].end if number > 0 else 0
        return (
            before <= position.lsn < self.transactions[number].end
            and position.index == delivery.index
        )

    def _connections(self, deliveries, asked, verdict):
        before = None
        for delivery in deliveries:
            position = Position.of(delivery.cursor)
            begins = before is None or delivery.connection != before.connection
            start = asked.get(delivery.connection) if begins else None
            if start and position <= Position.of(start):
                verdict.add("not rising", (start, delivery.cursor))
            if before is not None and position.epoch != Position.of(before.cursor).epoch:
                verdict.add("other epoch", (before.cursor, delivery.cursor))
            elif before is not None and delivery.connection == before.connection:
                if position <= Position.of(before.cursor):
                    verdict.add("not rising", (before.cursor, delivery.cursor))
                elif not follows(before, delivery):
                    verdict.add("torn", (before.cursor, before.last, delivery.cursor))
            before = delivery

    def _announcements(self, gaps, refusals, broken, verdict):
        if not verdict.count("lost"):
            verdict.violations.update({"false gap": list(gaps)} if gaps else {})
        for line in refusals:
            verdict.add("refused", line)
        for line in broken:
            verdict.add("broken", line)


def follows(before, delivery):
    """Whether a line may stand directly behind another on one connection."""
    if before.last:
        return delivery.index == 0
    return delivery.xid == before.xid and delivery.index == before.index + 1
