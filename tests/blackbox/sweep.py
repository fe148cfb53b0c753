#!/usr/bin/python3
"""One call of the program fails, or the program is killed before it, and then the same with the next call: over a start, a transaction
that fills a segment of the journal, and a shutdown.

    sweep.py                 the n-th malloc, write, … fails, for n = 1, 2, 3 … and then ever sparser, until there is no n-th
    sweep.py --kills         kill -9 before each call of a kind that others could see something of: what a process leaves behind is
                             what its calls did, so these are all the places where it can die
    sweep.py --kills 12      the same, then at twelve of these places, and at each of them again in the life after

Whatever fails, the program goes on as if nothing had been, or ends and says so by its exit code; it never hangs. Started again, it
brings two consumers, one with a name, every committed operation, under one cursor each. For a build without sanitizers, whose
own allocator could not be made to fail.
"""

import argparse
import collections
import os
import sys

from consumer import Consumer
from durable_test import Named
from rig import Rig
from table import table
from waiting import end_on_signals, wait_until

CALLS = ("open", "open64", "fopen", "socket", "accept", "accept4", "mkdir", "pwrite", "pwrite64", "write", "writev", "ftruncate", "ftruncate64",
         "rename", "remove", "unlink", "fdatasync", "fsync", "send", "sendmsg", "sendfile", "sendfile64")
LOOKS = ("open", "open64", "fopen", "socket", "accept", "accept4")  # change nothing, or what the next call changes
KINDS = ("malloc", "write", "sync", "open", "read", "send", "recv")
INSERT = ("INSERT INTO operations (id, type, collection, doc_id, data, timestamp, client_id, vector_clock) "
          "SELECT %s || '-' || n, 'insert', 'todos', 'doc', jsonb_build_object('text', repeat('x', %s)), n, 'c', '{}' "
          "FROM generate_series(1, 12) n")
SEGMENT = 1 << 20
SIZE = {"fail": 10, "kill": SEGMENT // 11}  # of an operation: twelve are more than a segment


def ever_sparser(n):
    """The first ten one by one, then each a quarter further."""
    while True:
        yield n
        n += n // 4 if n >= 10 else 1


class Sweep:
    def __init__(self, rig, library):
        self.rig = rig
        self.library = library
        self.kills = 0
        self.told = os.path.join(rig.folder, "failed")
        self.sidecar = rig.sidecar("swept", **{"feed.heartbeat": "1s", "journal.segment_size": "1MiB", "journal.retain_size": "8MiB"})
        self.sidecar.start_ready()
        self.consumers = [rig.stops(make(self.sidecar.feed, make.__name__).start()) for make in (Consumer, Named)]
        self.commit("first", 10)
        self.await_everything()
        self.sidecar.terminate()

    def commit(self, prefix, size):
        self.rig.execute(INSERT, prefix, size)
        self.last = f"{prefix}-12"

    def all_have_it(self):
        return all(consumer.has(self.last) for consumer in self.consumers)

    def await_everything(self, wish=""):
        wait_until(self.all_have_it, f"{self.last} {wish}", context=self.say, every=0.02)

    def say(self):
        return "\n".join([*(f"{each.name}: {len(each.deliveries)} changes, now at {each.cursor}, {each.gaps} {each.broken} {each.refusals}"
                            for each in self.consumers), self.sidecar.get("/consumers")[1], self.sidecar.log_tail()])

    def live(self, wish, commit=lambda: None, kills=False):
        """A life with a fault: whether it came to it; whether it ended by itself; its exit code."""
        if os.path.exists(self.told):
            os.unlink(self.told)
        words = ["env", f"LD_PRELOAD={self.library}", f"SYNCFLOW_FAIL={wish}", f"SYNCFLOW_FAILED={self.told}"]
        self.sidecar.start(words + ["SYNCFLOW_FAIL_KILLS=1"] * kills)
        commit()
        wait_until(lambda: self.all_have_it() or not self.sidecar.running(), f"{self.last}, or the end of the process ({wish})",
                   context=self.say, every=0.02)
        ended = not self.sidecar.running()
        code = self.sidecar.wait_exit() if ended else self.sidecar.terminate()
        failed = os.path.exists(self.told)
        if not failed and (code != 0 or ended):
            raise AssertionError(f"{wish}: ended with {code}, and nothing had failed\n{self.sidecar.log_tail()}")
        return failed, ended, code

    def live_on(self, wish):
        """The life after."""
        self.sidecar.start_ready()
        self.await_everything(wish)
        code = self.sidecar.terminate()
        if code != 0:
            raise AssertionError(f"{wish}: ended with {code} in the life after\n{self.sidecar.log_tail()}")

    def fail(self, kind, n):
        """What became of the process whose n-th call failed; None when there was none."""
        wish = f"{kind} {n}"
        failed, ended, code = self.live(wish, lambda: self.commit(f"{kind}{n}", SIZE["fail"]))
        if not failed:
            return None
        if (ended and code == 0) or (code < 0 and kind != "malloc"):
            raise AssertionError(f"{wish}: ended with {code}\n{self.sidecar.log_tail()}")
        self.live_on(wish)
        return "went on" if code == 0 else "aborted" if code < 0 else "ended"

    def fail_each(self, kind):
        counts = collections.Counter()
        for n in ever_sparser(1):
            became = self.fail(kind, n)
            if became is None and n == 1:
                raise AssertionError(f"no {kind} failed: the library was not loaded")
            if became is None:
                return [kind, counts.total(), *(counts[name] for name in ("went on", "ended", "aborted")), n - 1]
            counts[became] += 1
        raise AssertionError("nothing comes behind the end")

    def kill(self, *places):
        """In one life after another; whether it came to each."""
        reached = []
        for place in places:
            self.kills += 1
            reached.append(self.live(place, lambda: self.commit(f"kill{self.kills}", SIZE["kill"]), kills=True)[0])
        if any(reached):
            self.live_on(places)
        return all(reached)

    def kill_each(self, calls):
        """Where it was killed."""
        places = []
        for call in calls:
            n = 1
            while self.kill(f"{call} {n}"):
                places.append(f"{call} {n}")
                n += 1
        if not places:
            raise AssertionError("nothing was killed: the library was not loaded")
        return places

    def kill_pairs(self, places, count):
        """Twice, at places that are spread over what changes something."""
        changes = [place for place in places if place.split()[0] not in LOOKS]
        places = changes[:: max(1, len(changes) // count)][:count]
        reached = sum(self.kill(first, second) for first in places for second in places)
        print(f"killed at {reached} of {len(places) ** 2} pairs of {', '.join(places)}")
        if not reached:
            raise AssertionError("nothing was killed twice")

    def check(self):
        """Every row was delivered to each, under one cursor; nothing else was."""
        rows = {row[0] for row in self.rig.execute("SELECT id FROM operations")}
        cursors = {}
        for consumer in self.consumers:
            got = set()
            for delivery in consumer.deliveries:
                got.add(delivery.id)
                if cursors.setdefault(delivery.id, delivery.cursor) != delivery.cursor:
                    raise AssertionError(f"{delivery.id} came under two cursors")
            if got != rows or consumer.gaps or consumer.broken or consumer.refusals:
                raise AssertionError(f"{consumer.name}: {len(rows - got)} lost, {len(got - rows)} from nowhere, gaps {consumer.gaps}, "
                                     f"{consumer.broken} {consumer.refusals}")
        return len(rows)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", help="kinds, or of those that kill functions")
    parser.add_argument("--kills", type=int, nargs="?", const=0, metavar="PLACES")
    arguments = parser.parse_args()
    end_on_signals()
    with Rig() as rig:
        sweep = Sweep(rig, os.environ["SYNCFLOW_FAIL_LIBRARY"])
        if arguments.kills is not None:
            places = sweep.kill_each(arguments.names or CALLS)
            calls = collections.Counter(place.split()[0] for place in places)
            print(table(["killed before", "places"], [list(each) for each in calls.most_common()]))
            print(f"{calls.total()} places", flush=True)
            if arguments.kills:
                sweep.kill_pairs(places, arguments.kills)
        else:
            rows = [sweep.fail_each(kind) for kind in arguments.names or KINDS]
            print(table(["call that failed", "tries", "went on", "ended", "aborted", "calls, at most"], rows))
        print(f"{sweep.check()} operations, none lost")


if __name__ == "__main__":
    sys.exit(main())
