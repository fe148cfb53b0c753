"""The journal's folder cannot be used. Some cases mount a small tmpfs: they need root, and say so
when skipped."""

import os
import re
import shutil
import subprocess
import unittest

from case import CONFIGURATION, FAILED, Case
from waiting import wait_until


class FolderCase(Case):
    def setUp(self):
        self.server = self.rig()

    def mount(self, options):
        """A tmpfs of its own, taken away at the end."""
        if os.geteuid() != 0:
            self.skipTest("mounting a tmpfs needs root")
        folder = os.path.join(self.server.folder, "disk")
        os.mkdir(folder)
        command = ["mount", "-t", "tmpfs", "-o", options, "syncflow-test", folder]
        mounted = subprocess.run(command, check=False, capture_output=True, text=True)
        if mounted.returncode != 0:
            self.skipTest(f"no tmpfs can be mounted here: {mounted.stderr.strip()}")
        self.addCleanup(subprocess.run, ["umount", "-l", folder], check=False)
        return folder

    def wait_state(self, sidecar, state):
        wait_until(lambda: sidecar.status()["state"] == state, f"the state {state}", context=sidecar.log_tail)


class Folder(FolderCase):
    def test_below_a_file(self):
        file = os.path.join(self.server.folder, "file")
        open(file, "w", encoding="utf-8").close()
        sidecar = self.server.sidecar(**{"journal.directory": f"{file}/journal"}).start()
        self.assert_ends(sidecar, CONFIGURATION, re.escape(file), "journal.directory")

    def test_read_only(self):
        folder = self.mount("ro,size=1m")
        sidecar = self.server.sidecar(**{"journal.directory": folder}).start()
        self.assert_ends(sidecar, CONFIGURATION, re.escape(folder), "journal.directory|writable")

    def test_of_another_cluster(self):
        sidecar = self.server.sidecar().start_ready()
        self.commit(self.server, "before")
        self.assert_delivers(self.server, sidecar, ["before"])
        sidecar.terminate()
        foreign = self.rig().sidecar(**{"journal.directory": sidecar.journal}).start()
        self.assert_ends(
            foreign,
            CONFIGURATION,
            "system.identifier|another (server|cluster)",
            "journal.directory|postgres.url",
        )
        sidecar.start_ready()
        self.commit(self.server, "after")
        self.assert_delivers(self.server, sidecar, ["before", "after"])

    def test_second_process(self):
        first = self.server.sidecar().start_ready()
        second = self.server.sidecar("second", **{"journal.directory": first.journal}).start()
        self.assert_ends(second, FAILED, re.escape(first.journal), "another process|stop")
        self.commit(self.server, "after")
        self.assert_delivers(self.server, first, ["after"])


class FullDisk(FolderCase):
    """Ballast fills a small disk; when it goes, everything committed meanwhile arrives."""

    def setUp(self):
        super().setUp()
        self.folder = self.mount("size=24m")
        self.sidecar = self.server.sidecar(
            **{"journal.directory": self.folder, "journal.segment_size": "1MiB"}
        )
        self.sidecar.start_ready()
        self.commit(self.server, "before")
        self.assert_delivers(self.server, self.sidecar, ["before"])
        self.ballast = os.path.join(self.folder, "ballast")
        self.fill_up()

    def fill_up(self):
        """Leaves half a MiB, then commits more than that."""
        with open(self.ballast, "wb", buffering=0) as file:
            file.write(bytes(shutil.disk_usage(self.folder).free - (512 << 10)))
        self.commit(self.server, "meanwhile", rows=2000, size=1000)
        self.assert_sentence(self.sidecar, "full", "space|retain_size|larger")
        self.wait_state(self.sidecar, "blocked")

    def test_serves_on_and_recovers(self):
        self.commit(self.server, "later")
        self.assertTrue(self.sidecar.running())
        self.assertEqual(self.sidecar.get("/livez")[0], 200)
        self.assertEqual(self.sidecar.get("/readyz")[0], 200)
        os.unlink(self.ballast)
        self.wait_state(self.sidecar, "streaming")
        self.assert_delivers(self.server, self.sidecar, ["before", "meanwhile", "later"])

    def test_killed_while_it_is_full(self):
        """What it could not write is still PostgreSQL's to send."""
        self.sidecar.kill()
        os.unlink(self.ballast)
        self.sidecar.start_ready()
        self.assert_delivers(self.server, self.sidecar, ["before", "meanwhile"])

    def test_does_not_hold_the_server_back(self):
        """A fast stop waits for every receiver that stays connected without confirming."""
        self.server.server.stop("fast")
        self.server.server.start()
        os.unlink(self.ballast)
        self.assert_delivers(self.server, self.sidecar, ["before", "meanwhile"])


class FullFromTheStart(FolderCase):
    def test_more_in_the_table_than_there_is_room(self):
        """Recovering stops, which is said as of the journal's disk, and goes on when that is larger."""
        folder = self.mount("size=8m")
        self.server.sidecar("first").start_ready().terminate()  # which created the table
        self.commit(self.server, "before", rows=12000, size=1000)
        sidecar = self.server.sidecar(**{"journal.directory": folder, "journal.segment_size": "1MiB"}).start()
        self.assert_sentence(sidecar, "full", "space|retain_size")
        self.wait_state(sidecar, "blocked")
        subprocess.run(["mount", "-o", "remount,size=64m", folder], check=True)
        self.assert_delivers(self.server, sidecar, ["before"])


if __name__ == "__main__":
    unittest.main()
