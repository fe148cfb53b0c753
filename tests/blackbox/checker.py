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
    silent gap          lost, or left out by the stream and recovered later, and no gap directly before told it
    false gap           announced lost history although nothing was lost
    refused             an error that forbids to ask again
    broken              a line that is not the protocol's

What is marked as recovered from the table behind a gap has no place in the order of commits: it must be there, once, and
each line closes itself.

Equal lines under equal cursors are no violation (delivery is at least once): they are counted as
`repeated`.
"""

import bisect
import collections
import json

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
    "silent gap",
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
        self.recovered = 0

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
    """Knows the history; check() may be called for many consumers. `losses`: how often PostgreSQL's stream was made to
    lose history, so that a gap may be told, or left out where the loss took nothing."""

    def __init__(self, transactions, losses=0):
        self.transactions = transactions
        self.losses = losses
        self.rank = {}  # operation id -> place in the whole history
        self.collections = []  # by rank
        self.starts = []  # rank of each transaction's first operation
        for transaction in transactions:
            self.starts.append(len(self.rank))
            self.collections += transaction.collections or [""] * len(transaction.ids)
            for id in transaction.ids:
                self.rank[id] = len(self.rank)

    def check(
        self,
        deliveries,
        complete=True,
        gaps=(),
        refusals=(),
        broken=(),
        asked=None,
        collections=(),
        announced=None,
        has_already=lambda id: False,
    ):
        """`complete`: the consumer asked for everything, so what is missing is lost. `asked`: the
        cursors that connections began with. `collections`: all, or only these. `announced`: how many deliveries each
        gap came behind. `has_already`: what documents had shown to it, which does not come as a change."""
        verdict = Verdict()
        firsts = self._repetitions(deliveries, verdict)
        wanted = self._wanted(collections, has_already)
        self._membership(firsts, complete, wanted, gaps, verdict)
        self._order(firsts, verdict)
        self._transactions(firsts, verdict)
        announced = [0] * len(gaps) if announced is None else announced
        self._connections(deliveries, asked or {}, bool(collections), set(announced), verdict)
        self._silence(firsts, gaps, verdict)
        self._announcements(gaps, refusals, broken, verdict)
        return verdict

    def check_consumer(self, consumer, complete=True, **more):
        return self.check(
            consumer.deliveries,
            complete,
            consumer.gaps,
            consumer.refusals,
            consumer.broken,
            consumer.asked,
            announced=consumer.announced,
            **more,
        )

    def compare(self, deliveries):
        """Whether the same cursor means the same everywhere."""
        verdict = Verdict()
        self._repetitions(deliveries, verdict)
        return verdict

    def _wanted(self, collections, has_already):
        def wanted(id):
            collection = self.collections[self.rank[id]]
            return (not collections or collection in collections) and not has_already(id)

        return wanted

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
        verdict.recovered = sum(delivery.recovered for delivery in by_id.values())
        return list(by_id.values())

    def _membership(self, firsts, complete, wanted, gaps, verdict):
        delivered = {delivery.id for delivery in firsts}
        for delivery in firsts:
            known = delivery.id in self.rank
            if not known or not (delivery.recovered or wanted(delivery.id)):
                verdict.add("phantom", delivery.id)
        if not complete:
            return
        for id in self.rank:
            if id not in delivered and wanted(id):
                verdict.add("lost", id)
                if not gaps:
                    verdict.add("silent gap", id)

    def _order(self, firsts, verdict):
        highest = -1
        for delivery in firsts:
            if delivery.recovered:
                continue
            rank = self.rank.get(delivery.id, highest)
            if rank < highest:
                verdict.add("reordered", delivery.id)
            highest = max(highest, rank)

    def _transactions(self, firsts, verdict):
        """Each line against the transaction that PostgreSQL has it in."""
        for delivery in firsts:
            if delivery.id not in self.rank:
                continue
            rank = self.rank[delivery.id]
            number = bisect.bisect_right(self.starts, rank) - 1
            index = rank - self.starts[number]
            transaction = self.transactions[number]
            last = index == len(transaction.ids) - 1
            if delivery.recovered:
                # Its xid is the row's, which a savepoint or an update gives another than the commit's.
                if not delivery.last:
                    verdict.add("torn", f"{delivery.id} was recovered, and left open")
                continue
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

    def _connections(self, deliveries, asked, filtered, announced, verdict):
        """A gap may stand inside a transaction, whose rest then is recovered."""
        before = place = None
        for number, delivery in enumerate(deliveries):
            position = Position.of(delivery.cursor)
            begins = before is None or delivery.connection != before.connection
            start = asked.get(delivery.connection) if begins else None
            if start and position <= Position.of(start):
                verdict.add("not rising", (start, delivery.cursor))
            if before is not None and position.epoch != place.epoch:
                verdict.add("other epoch", (before.cursor, delivery.cursor))
            elif not begins:
                if position <= place:
                    verdict.add("not rising", (before.cursor, delivery.cursor))
                elif not filtered and number not in announced and not follows(before, delivery):
                    verdict.add("torn", (before.cursor, before.last, delivery.cursor))
            before, place = delivery, position

    def _silence(self, firsts, gaps, verdict):
        """In the order of cursors each run of recovered lines stands behind a gap that this consumer was told, whatever
        its connections."""
        told = sorted(Position.of(cursor) for cursor in filter(None, (json.loads(gap).get("cursor") for gap in gaps)))
        behind = None  # the newest line so far that the stream itself had
        for delivery in sorted(firsts, key=lambda delivery: Position.of(delivery.cursor)):
            position = Position.of(delivery.cursor)
            if not delivery.recovered:
                behind = position
                continue
            number = bisect.bisect_left(told, position)
            if number == 0 or (behind is not None and told[number - 1] <= behind):
                verdict.add("silent gap", delivery.id)

    def _announcements(self, gaps, refusals, broken, verdict):
        """The same gap told again after a break counts once."""
        different = list(dict.fromkeys(gaps))
        if len(different) > self.losses and not verdict.count("lost"):
            verdict.violations["false gap"] = different[self.losses :]
        for line in refusals:
            verdict.add("refused", line)
        for line in broken:
            verdict.add("broken", line)


def follows(before, delivery):
    """Whether a line may stand directly behind another on one connection."""
    if before.last:
        return delivery.index == 0 or delivery.recovered
    return delivery.xid == before.xid and delivery.index == before.index + 1
