"""PostgreSQL's history is no longer what the journal holds, or nothing is heard of it. Judged by what
consumers get and what PostgreSQL has: nothing is left out in silence."""

import glob
import json
import os
import pathlib
import shutil
import signal
import unittest

from case import Case
from consumer import Consumer
from restore import restored
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

    # ---- a server restored to what it was before "lost" ----

    def restored(self, *recovery):
        return restored(self.server, *recovery)

    def outgrow(self, name):
        """More than what was lost, so that no position tells the difference any more."""
        self.commit(self.server, name, rows=1000, size=500)

    def assert_new_history(self):
        """Old cursors are refused; whoever begins anew gets why, and what the server has."""
        self.commit(self.server, "later")
        self.wait_refused("epoch_changed")
        new = self.server.stops(Consumer(self.sidecar.feed, "new", keep_lines=True).start())
        ids = {row[0] for row in self.server.execute("SELECT id FROM operations")}
        wait_until(lambda: new.ids >= ids, "the table", context=self.sidecar.log_tail)
        self.assertCountEqual([delivery.id for delivery in new.deliveries], ids)
        self.assertIn(b"no longer has", new.gaps[0])
        self.assertEqual(new.refusals, [])

    def set_aside(self):
        """The lines of the history that was left."""
        pattern = os.path.join(self.sidecar.journal, "set-aside-*", "*.ndjson")
        return "".join(pathlib.Path(path).read_text("utf-8") for path in glob.glob(pattern))

    def test_P5_server_restored_meanwhile(self):
        with self.restored():
            self.commit(self.server, "lost", rows=100)
            self.wait_delivered("lost-100")
        self.wait_refused("epoch_changed")  # before anything is written that could contradict the journal
        self.assert_new_history()
        self.assertIn('"lost-100"', self.set_aside())
        self.assertEqual(self.sidecar.starts, 1)

    def test_P7_server_restored_and_written_to_while_the_sidecar_was_away(self):
        with self.restored():
            self.commit(self.server, "lost", rows=100)
            self.wait_delivered("lost-100")
            self.sidecar.terminate()
        self.outgrow("sooner")
        self.sidecar.start_ready()
        self.assert_new_history()
        self.sidecar.kill()
        self.sidecar.start_ready()
        self.assertFalse(os.path.exists(os.path.join(self.sidecar.journal, MARKER)))

    def test_P7_killed_while_the_old_history_is_set_aside(self):
        """A marker that a kill left behind is obeyed at the next start, the rest of a move done."""
        self.sidecar.terminate()
        meta = json.loads(pathlib.Path(self.sidecar.journal, "meta.json").read_text("utf-8"))
        moved = os.path.join(self.sidecar.journal, "set-aside-" + meta["epoch"])
        os.mkdir(moved)
        shutil.move(glob.glob(os.path.join(self.sidecar.journal, "*.idx"))[0], moved)
        loss = {"sentence": "a server that no longer has it", "generation": 2}
        pathlib.Path(self.sidecar.journal, MARKER).write_text(json.dumps(loss), "utf-8")
        self.sidecar.start_ready()
        self.assert_new_history()
        self.assertIn('"before-10"', self.set_aside())

    def test_P8_server_restored_to_another_timeline(self):
        with self.restored(("restore_command", "'false'")):
            self.commit(self.server, "lost", rows=100)
            self.wait_delivered("lost-100")
        self.outgrow("sooner")
        self.assert_new_history()
        self.sidecar.wait_log("history has forked.*timeline 2")

    def test_P1_server_that_only_crashed_is_no_other_history(self):
        for round_number in range(3):
            self.commit(self.server, f"crash{round_number}", rows=500)
            self.server.server.stop("immediate")
            self.server.server.start()
        self.commit(self.server, "after")
        self.wait_delivered("after-10")
        self.assertEqual(self.consumer.refusals + self.consumer.gaps, [])
        self.assertFalse(os.path.exists(os.path.join(self.sidecar.journal, MARKER)))

    # ---- silence ----

    def test_S8_walsender_that_hangs(self):
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
