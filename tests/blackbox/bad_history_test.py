"""PostgreSQL's history is no longer what the journal holds, or nothing is heard of it. Judged by what
consumers get and what PostgreSQL has: nothing is left out in silence."""

import contextlib
import os
import re
import shutil
import signal
import subprocess
import unittest

from case import Case
from consumer import Consumer
from waiting import wait_until

MARKER = "history_lost.json"


class History(Case):
    def setUp(self):
        self.server = self.rig()
        self.sidecar = self.server.sidecar(**{"feed.heartbeat": "1s"}).start_ready()
        self.commit(self.server, "before")
        self.consumer = self.server.stops(Consumer(self.sidecar.feed).start())
        self.wait_delivered("before-10")

    def wait_delivered(self, id):
        wait_until(lambda: self.consumer.has(id), id, context=self.sidecar.log_tail)

    def wait_refused(self, code):
        """The consumer, coming back with its old cursor, is told, and has got nothing new."""
        wait_until(lambda: self.consumer.refusals, code, context=self.sidecar.log_tail)
        self.assertIn(f'"code":"{code}"'.encode(), self.consumer.refusals[0])

    def assert_streams_nothing(self, problem):
        self.assert_retries(self.sidecar, problem, re.escape("journal.directory"))
        self.assertNotEqual(self.sidecar.status()["state"], "streaming")
        self.assert_delivers(self.server, self.sidecar, ["before"])  # what it holds it serves

    def assert_has(self, names):
        """A new consumer gets everything of these names; the slot may reach back further."""
        rows = self.server.execute(
            "SELECT id FROM operations WHERE split_part(id, '-', 1) = ANY(%s)", names
        )
        new = self.server.stops(Consumer(self.sidecar.feed, "new").start())
        wait_until(
            lambda: new.ids >= {row[0] for row in rows},
            f"the operations {names}",
            context=self.sidecar.log_tail,
        )

    def move_journal_away(self, but=()):
        self.sidecar.terminate()
        away = self.sidecar.journal + ".away"
        os.mkdir(away)
        for name in set(os.listdir(self.sidecar.journal)) - set(but):
            shutil.move(os.path.join(self.sidecar.journal, name), away)

    # ---- a server restored to what it was before "lost" ----

    @contextlib.contextmanager
    def restored(self, *recovery):
        """The body runs while a copy of the data waits to be put back."""
        data = self.server.server.data
        self.server.server.stop()
        subprocess.run(["cp", "-a", data, data + ".copy"], check=True)
        self.server.server.start()
        yield
        self.server.server.stop()
        shutil.rmtree(data)
        os.rename(data + ".copy", data)
        for name, value in recovery:
            self.server.server.set(name, value)
        if recovery:
            signal_file = os.path.join(data, "recovery.signal")
            with open(signal_file, "w", encoding="utf-8"):
                pass
            shutil.chown(signal_file, self.server.server.user)
        self.server.server.start()

    def outgrow(self, name):
        """More than what was lost, so that no position tells the difference any more."""
        self.commit(self.server, name, rows=1000, size=500)

    def assert_forked(self):
        """It stays like that, whatever the server writes and however often the sidecar starts."""
        self.assert_retries(self.sidecar, "restored from an older state", MARKER)
        self.outgrow("later")
        self.sidecar.kill()
        self.sidecar.start_ready()
        wait_until(
            lambda: "restored" in self.sidecar.status()["last_error"],
            "the refusal after a restart",
            context=self.sidecar.log_tail,
        )
        self.assertFalse(self.consumer.has("later-1"))

    def assert_new_history(self):
        """What the last sentence advises; then old cursors are refused and new ones have it all."""
        self.move_journal_away(but=[MARKER])
        self.sidecar.start_ready()
        self.assertFalse(os.path.exists(os.path.join(self.sidecar.journal, MARKER)))
        self.commit(self.server, "after")
        self.wait_refused("epoch_changed")
        self.assert_has(["later", "after"])

    def test_server_restored_meanwhile(self):
        with self.restored():
            self.commit(self.server, "lost", rows=100)
            self.wait_delivered("lost-100")
        self.assert_forked()
        self.assert_new_history()

    def test_server_restored_and_written_to_while_the_sidecar_was_away(self):
        with self.restored():
            self.commit(self.server, "lost", rows=100)
            self.wait_delivered("lost-100")
            self.sidecar.terminate()
        self.outgrow("sooner")
        self.sidecar.start()
        self.assert_forked()
        self.assert_new_history()

    def test_server_restored_to_another_timeline(self):
        with self.restored(("restore_command", "'false'")):
            self.commit(self.server, "lost", rows=100)
            self.wait_delivered("lost-100")
        self.assert_retries(self.sidecar, "timeline 2", "journal.directory")
        self.move_journal_away()
        self.sidecar.start_ready()
        self.outgrow("later")
        self.wait_refused("epoch_changed")
        self.assert_has(["later"])

    def test_server_that_only_crashed_is_no_other_history(self):
        for round_number in range(3):
            self.commit(self.server, f"crash{round_number}", rows=500)
            self.server.server.stop("immediate")
            self.server.server.start()
        self.commit(self.server, "after")
        self.wait_delivered("after-10")
        self.assertEqual(self.consumer.refusals + self.consumer.gaps, [])
        self.assertFalse(os.path.exists(os.path.join(self.sidecar.journal, MARKER)))

    # ---- silence ----

    def test_walsender_that_hangs(self):
        pid = self.server.slot_fact(self.sidecar.slot, "active_pid")
        os.kill(pid, signal.SIGSTOP)
        try:
            self.commit(self.server, "meanwhile")
            self.assert_sentence(self.sidecar, "has sent nothing for 15 s", "pg_stat_replication")
            self.assertEqual(self.sidecar.status()["state"], "silent")
            self.assertRegex(self.sidecar.status()["last_error"], "sent nothing")
        finally:
            os.kill(pid, signal.SIGCONT)
        self.wait_delivered("meanwhile-10")
        self.sidecar.wait_log("answers again")
        self.assertEqual(self.sidecar.status()["state"], "streaming")


if __name__ == "__main__":
    unittest.main()
