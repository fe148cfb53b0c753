"""The checker must be able to fail: each kind of violation is planted once and must be caught."""

import hashlib
import unittest

from checker import KINDS, Checker
from oracle import INSERT, Oracle
from records import Delivery, Position, Transaction

HISTORY = [
    Transaction(701, 0x1100, ["a"]),
    Transaction(703, 0x1200, ["b", "c", "d"]),
    Transaction(702, 0x1300, ["e", "f"]),
]
COMMIT = [0x10C0, 0x11C0, 0x12C0]
EPOCH = "9c41e07b"


def cursor(number, index, epoch=EPOCH):
    return f"{epoch}.{COMMIT[number]:016x}.{index}"


def faithful(connection=1):
    """What an honest feed delivers of HISTORY."""
    return [
        Delivery(
            connection,
            cursor(number, index),
            id,
            transaction.xid,
            index,
            index == len(transaction.ids) - 1,
            hashlib.sha1(id.encode()).digest(),
        )
        for number, transaction in enumerate(HISTORY)
        for index, id in enumerate(transaction.ids)
    ]


def recovered():
    """The stream lost "b", "c" and "d"; they come from the table behind the end."""
    lines = faithful()
    late = [
        line._replace(cursor=cursor(2, 10 + number), index=10 + number, last=True, recovered=True)
        for number, line in enumerate(lines[1:4])
    ]
    return [lines[0], *lines[4:], *late]


def gap(index):
    return f'{{"cursor": "{cursor(2, index)}"}}'.encode()


TOLD = {"gaps": [gap(9)], "announced": [3]}


def kinds(deliveries, losses=0, **arguments):
    return set(Checker(HISTORY, losses).check(deliveries, **arguments).violations)


class Faithful(unittest.TestCase):
    def test_is_clean(self):
        self.assertEqual(kinds(faithful()), set())

    def test_repetition_after_reconnecting_is_counted_and_clean(self):
        verdict = Checker(HISTORY).check(faithful(1)[:4] + faithful(2)[2:])
        self.assertTrue(verdict.clean(), verdict.explain())
        self.assertEqual((verdict.delivered, verdict.repeated), (6, 2))

    def test_resuming_inside_a_transaction_is_clean(self):
        self.assertEqual(kinds(faithful(1)[:2] + faithful(2)[2:]), set())

    def test_part_is_enough_for_who_did_not_ask_for_everything(self):
        self.assertEqual(kinds(faithful()[1:], complete=False), set())


    def test_recovered_behind_its_gap_is_clean(self):
        self.assertEqual(kinds(recovered(), losses=1, **TOLD), set())
        verdict = Checker(HISTORY, 1).check(recovered(), **TOLD)
        self.assertEqual(verdict.recovered, 3)

    def test_transaction_that_a_gap_cuts(self):
        lines = faithful()
        late = [lines[3]._replace(cursor=cursor(2, 10), index=10, last=True, recovered=True)]
        cut = [*lines[:3], *late]
        self.assertEqual(kinds(cut, losses=1, complete=False, gaps=[gap(9)], announced=[3]), set())
        self.assertEqual(kinds(cut, losses=1, complete=False, gaps=[gap(9)], announced=[1]), {"torn"})

    def test_loss_that_took_nothing_may_be_told(self):
        self.assertEqual(kinds(faithful(), losses=1, gaps=[b"{}", b"{}"]), set())

    def test_some_collections_only(self):
        history = [transaction._replace(collections=[id for id in transaction.ids]) for transaction in HISTORY]
        some = [line for line in faithful() if line.id in "ace"]
        self.assertTrue(Checker(history).check(some, collections=["a", "c", "e"]).clean())
        self.assertEqual(set(Checker(history).check(some[:-1], collections=["a", "c", "e"]).violations), {"lost", "silent gap"})

    def test_what_documents_have_does_not_come(self):
        self.assertEqual(kinds(faithful()[1:], has_already=lambda id: id == "a"), set())


class Planted(unittest.TestCase):
    def test_resume_that_ignores_the_cursor(self):
        again = faithful(1) + faithful(2)
        self.assertEqual(kinds(again, asked={2: cursor(1, 1)}), {"not rising"})
        rest = faithful(1) + faithful(2)[3:]
        self.assertEqual(kinds(rest, asked={2: cursor(1, 1)}), set())

    seen = set()

    def plant(self, kind, deliveries, **arguments):
        found = kinds(deliveries, **arguments)
        self.assertIn(kind, found)
        Planted.seen.add(kind)
        return found

    def test_lost(self):
        for number in range(len(faithful())):
            self.plant("lost", faithful()[:number] + faithful()[number + 1 :])

    def test_lost_transaction_in_the_middle_is_nothing_else(self):
        self.assertEqual(self.plant("lost", faithful()[:1] + faithful()[4:]), {"lost", "silent gap"})

    def test_lost_though_it_was_announced(self):
        self.assertEqual(self.plant("lost", faithful()[:1] + faithful()[4:], gaps=[b"{}"]), {"lost"})

    def test_lost_everything(self):
        self.assertEqual(self.plant("lost", []), {"lost", "silent gap"})

    def test_phantom(self):
        ghost = faithful()[-1]._replace(id="rolled back", connection=2)
        self.plant("phantom", faithful() + [ghost])

    def test_reordered(self):
        lines = faithful()
        self.plant("reordered", [lines[0], *lines[4:], *lines[1:4]])

    def test_reordered_across_connections(self):
        lines = faithful(2)
        self.assertEqual(self.plant("reordered", faithful(1)[4:] + lines[:4]), {"reordered"})

    def test_reordered_with_cursors_that_pretend_order(self):
        lines = faithful()
        swapped = [lines[1]._replace(id="c"), lines[2]._replace(id="b")]
        self.plant("reordered", [lines[0], *swapped, *lines[3:]])

    def test_torn_by_a_foreign_line(self):
        lines = faithful()
        self.plant("torn", [*lines[:2], lines[4], *lines[2:4], lines[5]])

    def test_torn_by_a_missing_line(self):
        self.plant("torn", faithful()[:2] + faithful()[3:])

    def test_torn_by_an_unfinished_transaction(self):
        self.plant("torn", faithful()[:3] + faithful()[4:])

    def test_torn_by_a_last_flag_too_early_or_missing(self):
        for number, line in enumerate(faithful()):
            wrong = faithful()
            wrong[number] = line._replace(last=not line.last)
            self.plant("torn", wrong)

    def test_torn_by_an_index_that_is_not_dense(self):
        wrong = faithful()
        wrong[2] = wrong[2]._replace(index=2)
        self.plant("torn", wrong)

    def test_torn_by_another_transaction_number(self):
        wrong = faithful()
        wrong[2] = wrong[2]._replace(xid=999)
        self.plant("torn", wrong)

    def test_two_cursors(self):
        again = faithful(2)[5]._replace(cursor=f"{EPOCH}.{COMMIT[2] + 8:016x}.1")
        self.assertEqual(self.plant("two cursors", faithful() + [again]), {"two cursors"})

    def test_two_operations(self):
        self.plant("two operations", faithful() + [faithful(2)[5]._replace(id="a")])

    def test_other_bytes(self):
        again = faithful(2)[5]._replace(digest=b"other")
        self.assertEqual(self.plant("other bytes", faithful() + [again]), {"other bytes"})

    def test_not_rising(self):
        self.plant("not rising", faithful() + faithful()[5:])

    def test_misplaced(self):
        wrong = faithful()
        wrong[0] = wrong[0]._replace(cursor=f"{EPOCH}.{HISTORY[0].end:016x}.0")
        self.assertEqual(self.plant("misplaced", wrong), {"misplaced"})

    def test_other_epoch(self):
        wrong = faithful()
        wrong[5] = wrong[5]._replace(connection=2, cursor=cursor(2, 1, epoch="00000001"))
        self.assertEqual(self.plant("other epoch", wrong), {"other epoch"})

    def test_silent_gap(self):
        for gaps in ({}, {"gaps": [gap(11)], "announced": [6]}):
            self.assertEqual(self.plant("silent gap", recovered(), losses=1, **gaps), {"silent gap"})

    def test_silent_gap_behind_one_that_was_told(self):
        """The first loss took "a" and was told; the second took "b", "c" and "d"."""
        lines = recovered()
        lines[0] = lines[0]._replace(cursor=cursor(0, 8), index=8, recovered=True)
        first = {"gaps": [f'{{"cursor": "{cursor(0, 7)}"}}'.encode()], "announced": [0]}
        found = Checker(HISTORY, 2).check(lines, **first)
        self.assertEqual(found.violations["silent gap"], ["b", "c", "d"])

    def test_recovered_twice(self):
        again = recovered()[4]._replace(cursor=cursor(2, 20), connection=2)
        self.assertEqual(self.plant("two cursors", [*recovered(), again], losses=1, **TOLD), {"two cursors"})

    def test_recovered_and_left_open(self):
        lines = recovered()
        lines[-1] = lines[-1]._replace(last=False)
        self.plant("torn", lines, losses=1, **TOLD)

    def test_not_asked_for(self):
        self.assertEqual(self.plant("phantom", faithful(), collections=["todos"]), {"phantom"})
        self.assertEqual(self.plant("phantom", faithful(), has_already=lambda id: id == "a"), {"phantom"})

    def test_more_gaps_than_losses(self):
        gaps = {"gaps": [gap(9), gap(8), gap(9)], "announced": [1, 3, 5]}
        self.assertEqual(self.plant("false gap", recovered(), losses=1, **gaps), {"false gap"})

    def test_false_gap(self):
        self.assertEqual(self.plant("false gap", faithful(), gaps=[b"{}"]), {"false gap"})

    def test_refused(self):
        self.plant("refused", faithful(), refusals=[b"{}"])

    def test_broken(self):
        self.plant("broken", faithful(), broken=["half a line"])

    @classmethod
    def tearDownClass(cls):
        forgotten = set(KINDS) - cls.seen
        if forgotten:
            raise AssertionError(f"no planted violation of {forgotten}")


class Cursors(unittest.TestCase):
    def test_are_ordered_as_numbers(self):
        self.assertLess(Position.of(cursor(1, 9)), Position.of(cursor(1, 10)))

    def test_of_another_form_are_refused(self):
        for text in (
            "",
            "9c41e07b.10.0",
            cursor(0, 0).upper(),
            cursor(0, 0) + "0x",
            f"{EPOCH}.{0:016x}.01",
            cursor(0, 0) + " ",
        ):
            with self.assertRaises(ValueError, msg=text):
                Position.of(text)


class OracleText(unittest.TestCase):
    def transactions(self, *rows):
        oracle = Oracle("unused")
        oracle._take(rows)
        return oracle.transactions

    def test_ids_are_unquoted(self):
        line = "table public.operations: INSERT: id[text]:'it''s\nodd\\' type[text]:'insert' collection[text]:'it''s'"
        self.assertEqual(INSERT.match(line)[1], "it''s\nodd\\")
        self.assertEqual(
            self.transactions(("0/10", "BEGIN 5"), ("0/18", line), ("0/20", "COMMIT 5")),
            [Transaction(5, 0x20, ["it's\nodd\\"], ["it's"])],
        )

    def test_other_tables_and_updates_are_passed_over(self):
        self.assertEqual(
            self.transactions(
                ("0/10", "BEGIN 5"),
                ("0/18", "table public.documents: INSERT: id[text]:'x'"),
                ("0/18", "table public.operations: UPDATE: id[text]:'x'"),
                ("0/20", "COMMIT 5"),
            ),
            [],
        )

    def test_what_the_server_repeats_after_a_crash_counts_once(self):
        rows = [
            ("0/10", "BEGIN 5"),
            ("0/18", "table public.operations: INSERT: id[text]:'x'"),
            ("0/20", "COMMIT 5"),
        ]
        self.assertEqual(len(self.transactions(*rows, *rows)), 1)


if __name__ == "__main__":
    unittest.main()
