#!/usr/bin/python3
"""The main job on a real PostgreSQL, with the accidents that happen to it.

A writer commits operations. A plain LISTEN/NOTIFY listener and a consumer of the sidecar's feed
both want all of them. In the middle the listener's connection is taken away twice, PostgreSQL is
stopped with `-m immediate` and started again, and the sidecar is killed with -9 and started again.
What each of them received is compared with what PostgreSQL itself says was committed, read from a
second replication slot with its own plugin test_decoding.

With --once it ends by itself, with 0 only if the feed lost nothing, repeated nothing under another
cursor, and kept order and transactions.
"""

import argparse
import contextlib
import os
import sys
import time

import sidecar as sidecar_module
from checker import Checker
from consumer import Consumer
from listener import Listener
from oracle import Oracle
from rig import Rig
from table import table
from waiting import end_on_signals, wait_until
from writer import Writers

BACKOFF = 0.7  # seconds the listener waits before it comes back; the writers do not wait


class Demo:
    def __init__(self, rig, operations):
        self.rig = rig
        self.operations = operations
        self.sidecar = rig.sidecar(**{"notify.mode": "trigger"})
        self.sidecar.start_ready()
        say(f"PostgreSQL on port {rig.server.port}, the sidecar streams from {self.sidecar.slot}")
        self.oracle = Oracle(rig.server.url)
        self.oracle.create()
        self.listener = rig.stops(Listener(rig.server.url, BACKOFF))
        self.consumer = rig.stops(Consumer(self.sidecar.feed))
        self.writers = rig.stops(Writers(rig.server.url, seed="demo", limit=operations, rest=0.002))

    def run(self):
        self.listener.start()
        self.consumer.start()
        wait_until(
            lambda: self.listener.backend and self.consumer.connections,
            "listener and consumer to connect",
            context=self.sidecar.log_tail,
        )
        self.writers.start()
        accidents = [self.cut_listener, self.crash_postgres, self.kill_sidecar, self.cut_listener]
        for number, accident in enumerate(accidents, 1):
            self._wait_committed(self.operations * number // (len(accidents) + 1))
            accident()
        self._wait_committed(self.operations)
        self.writers.join()
        self.writers.resolve()

    # ---- accidents ----

    def cut_listener(self):
        say("the listener's connection is taken away")
        backend = wait_until(lambda: self.listener.backend, "the listener to be back")
        self.rig.execute("SELECT pg_terminate_backend(%s)", backend)

    def crash_postgres(self):
        say("PostgreSQL is stopped with -m immediate and started again")
        self.rig.server.stop("immediate")
        self.rig.server.start()

    def kill_sidecar(self):
        say("the sidecar is killed with -9 and started again")
        self.sidecar.kill()
        time.sleep(0.5)
        self.sidecar.start()

    # ---- the account ----

    def account(self):
        """Prints the table; true if the feed is without fault."""
        self.oracle.read()
        say(f"PostgreSQL's own slot has {len(self.oracle.transactions)} transactions")
        committed = self.oracle.ids()
        if set(committed) != set(self.writers.committed()):
            raise AssertionError(
                "PostgreSQL's slot and the writers do not agree on what was committed"
            )
        wait_until(
            lambda: self.consumer.refusals or self.consumer.has(committed[-1]),
            "the feed to deliver the last operation",
            context=self.sidecar.log_tail,
        )
        wait_until(lambda: self.listener.backend, "the listener to be back")
        time.sleep(1)  # what is still on its way to the listener shall count
        verdict = Checker(self.oracle.transactions).check_consumer(self.consumer)
        self._print(committed, verdict)
        return verdict.clean()

    def _print(self, committed, verdict):
        heard = len(self.listener.heard & set(committed))
        shown = [verdict.count(kind) for kind in ("lost", "reordered", "torn")]
        others = sum(map(len, verdict.violations.values())) - sum(shown)
        rows = [
            ["committed, says PostgreSQL", len(committed), len(committed)],
            ["received", heard, verdict.delivered],
            ["lost", len(committed) - heard, shown[0]],
            ["out of commit order", "·", shown[1]],
            ["torn out of their transaction", "·", shown[2]],
            ["phantoms, changed cursors or bytes, false gaps", "·", others],
            ["received again under the same cursor", "·", verdict.repeated],
            ["connections", self.listener.connections, self.consumer.connections],
        ]
        print("\n" + table(["operations", "LISTEN/NOTIFY", "feed"], rows) + "\n")
        if heard == len(committed):
            say("NOTIFY has lost nothing this time: nothing was committed while it was away")
        if not verdict.clean():
            print(verdict.explain())

    def keep_running(self):
        """A slow writer, until Ctrl-C."""
        self.consumer.stop()
        self.listener.stop()
        self.oracle.drop()
        self.rig.stops(
            Writers(
                self.rig.server.url, seed="slow", threads=1, rest=0.7, rows_max=4, prefix="slow"
            )
        ).start()
        host, port = self.sidecar.feed
        print(
            (
                f"feed      nc {host} {port}\n"
                f"metrics   curl http://127.0.0.1:{self.sidecar.http_port}/metrics\n"
                f"status    curl http://127.0.0.1:{self.sidecar.http_port}/status\n"
                f"journal   tail -f {self.sidecar.journal}/*.ndjson\n"
                f"database  psql {self.rig.server.url}\n\n"
                "A slow writer goes on. Ctrl-C ends everything."
            ),
            flush=True,
        )
        while self.sidecar.running():
            time.sleep(0.5)
        print(self.sidecar.log_tail(), file=sys.stderr)

    def _wait_committed(self, count):
        wait_until(
            lambda: self.writers.count() >= count or not self.writers.running(),
            f"{count} operations to be committed",
            context=self.sidecar.log_tail,
        )


def say(sentence):
    print(f"{time.strftime('%H:%M:%S')}  {sentence}", flush=True)


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--once", action="store_true", help="end after the table")
    parser.add_argument("--operations", type=int, default=20_000)
    sidecar_module.add_argument(parser)
    arguments = parser.parse_args()
    end_on_signals()
    root = os.path.join(sidecar_module.ROOT, "build", "demo")
    os.makedirs(root, exist_ok=True)
    with Rig(arguments.sidecar, root, settings={"fsync": "on"}) as rig:
        demo = Demo(rig, arguments.operations)
        demo.run()
        clean = demo.account()
        say("the feed has everything" if clean else "the feed is NOT clean")
        if not arguments.once:
            with contextlib.suppress(KeyboardInterrupt):
                demo.keep_running()
    return 0 if clean else 1


if __name__ == "__main__":
    try:
        sys.exit(main())
    except (KeyboardInterrupt, BrokenPipeError):
        sys.exit(1)
