"""The journal's disk hangs: PostgreSQL goes on hearing from us, and can shut down all the same."""

import os
import unittest

from case import Case
from consumer import Consumer
from restore import restored
from waiting import wait_until
from wire import Wire


class Stall(Case):
    def begin(self, **postgres):
        self.server = self.rig(**postgres)
        self.sidecar = self.server.sidecar(**{"feed.heartbeat": "1s"})
        self.flag = os.path.join(self.server.folder, "stall")
        library = os.environ["SYNCFLOW_STALL_LIBRARY"]
        sanitizer = "ASAN_OPTIONS=verify_asan_link_order=0"
        self.prefix = ["env", f"LD_PRELOAD={library}", sanitizer, f"SYNCFLOW_STALL={self.flag}"]
        self.sidecar.start(self.prefix)
        self.sidecar.wait_ready()
        self.commit(self.server, "before")
        self.consumer = self.server.stops(Consumer(self.sidecar.feed).start())
        self.wait_for("before-10")

    def wait_for(self, id):
        wait_until(lambda: self.consumer.has(id), id, context=self.sidecar.log_tail)

    def hang(self, what=""):
        """Everything, or only what is named."""
        with open(self.flag, "w", encoding="utf-8") as file:
            file.write(what)

    def go_on(self):
        os.unlink(self.flag)

    def busy_updates(self):
        return self.sidecar.metrics()['syncflow_source_feedback_total{cause="busy"}']

    def test_S7_server_that_loses_patience_soon(self):
        """The thread that writes hangs for longer than wal_sender_timeout; the stream stays."""
        self.begin(settings={"wal_sender_timeout": "'2s'"})
        connects = self.sidecar.metrics()['syncflow_source_connects_total{result="ok"}']
        self.hang()
        self.commit(self.server, "meanwhile")
        before = self.busy_updates()
        wait_until(lambda: self.busy_updates() >= before + 10, "status updates", context=self.sidecar.log_tail)
        self.go_on()
        self.wait_for("meanwhile-10")
        self.assertEqual(self.sidecar.metrics()['syncflow_source_connects_total{result="ok"}'], connects)

    def test_P3_nothing_is_confirmed_that_is_not_on_disk(self):
        """Consumers have it already: after a crash it would come again under the same cursor."""
        self.begin(settings={"wal_sender_timeout": "'2s'"})
        self.hang("sync")
        position = self.server.execute("SELECT pg_current_wal_lsn()")[0][0]
        self.commit(self.server, "meanwhile")
        self.wait_for("meanwhile-10")
        updates = 'syncflow_source_feedback_total{cause="timer"}'
        before = self.sidecar.metrics()[updates]
        wait_until(lambda: self.sidecar.metrics()[updates] >= before + 4, "status updates", context=self.sidecar.log_tail)
        self.assertTrue(self.server.slot_fact(self.sidecar.slot, f"confirmed_flush_lsn <= '{position}'"))
        self.go_on()
        wait_until(lambda: self.server.slot_fact(self.sidecar.slot, f"confirmed_flush_lsn > '{position}'"), "the confirmation")

    def test_P7_server_that_lost_nothing_of_ours(self):
        """Restored, it has no operation less than the journal, which recorded positions beyond; what it writes anew
        below them is confirmed only when it is on disk."""
        self.begin(settings={"wal_sender_timeout": "'2s'"})
        with restored(self.server):
            self.server.execute("CREATE TABLE noise AS SELECT repeat('x', 1000) FROM generate_series(1, 40000)")
            end = self.server.execute("SELECT pg_current_wal_lsn()")[0][0]
            wait_until(lambda: self.server.slot_fact(self.sidecar.slot, f"confirmed_flush_lsn >= '{end}'"), "the positions to be recorded")
            self.sidecar.terminate()
        position = self.server.execute("SELECT pg_current_wal_lsn()")[0][0]
        self.commit(self.server, "anew")
        self.server.execute("CREATE TABLE noise AS SELECT repeat('x', 1000) FROM generate_series(1, 60000)")
        wire = self.server.stops(Wire(self.server.server.url))
        wire.hold(b"START_REPLICATION")
        self.sidecar.configure(**{"postgres.url": wire.url})
        self.sidecar.start(self.prefix)
        wait_until(wire.held.is_set, "the stream to begin", context=self.sidecar.log_tail)
        self.hang("sync")
        wire.go_on()
        self.wait_for("anew-10")
        updates = 'syncflow_source_feedback_total{cause="timer"}'
        before = self.sidecar.metrics()[updates]
        wait_until(lambda: self.sidecar.metrics()[updates] >= before + 4, "status updates", context=self.sidecar.log_tail)
        self.assertTrue(self.server.slot_fact(self.sidecar.slot, f"confirmed_flush_lsn <= '{position}'"))
        self.go_on()
        wait_until(lambda: self.server.slot_fact(self.sidecar.slot, f"confirmed_flush_lsn > '{position}'"), "the confirmation")

    def test_S9_server_that_shuts_down(self):
        """Received, not durable, so not confirmed: the server would wait for us without end."""
        self.begin()
        self.hang()
        self.commit(self.server, "meanwhile")
        self.server.server.stop("fast")
        self.server.server.start()
        self.sidecar.wait_log("disk does not answer")
        self.assertEqual(self.sidecar.status()["state"], "blocked")
        self.go_on()
        self.commit(self.server, "after")
        self.wait_for("meanwhile-10")
        self.wait_for("after-10")
        self.assertEqual(len(self.consumer.deliveries), len({delivery.cursor for delivery in self.consumer.deliveries}))


if __name__ == "__main__":
    unittest.main()
