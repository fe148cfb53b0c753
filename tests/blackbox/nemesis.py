"""What takes something away without warning: one method for each fault, all of its chances drawn from the round's seed.

Faults of LOSSES make PostgreSQL's stream lose history; the table has it, so nothing may be missing at the end, and a gap must
tell.
"""

import contextlib
import http.client
import json
import os
import random
import shutil
import signal
import subprocess
import threading
import time
import urllib.request

import psycopg2
from waiting import wait_until

WEIGHTS = {
    "sidecar": 36,
    "sidecar twice": 8,
    "server": 12,
    "sidecar and server": 5,
    "walsender": 10,
    "consumer": 10,
    "terminate": 5,
    "freeze sidecar": 5,
    "freeze walsender": 4,
    "freeze consumer": 3,
    "cut link": 6,
    "half-open link": 2,
    "half-open consumer": 2,
    "slow disk": 4,
    "failing disk": 4,
    "full disk": 4,
    "compaction": 5,
    "drop slot": 1,
    "advance slot": 1,
    "invalidate slot": 1,
    "promote standby": 1,
}
LOSSES = {"drop slot", "advance slot", "invalidate slot", "promote standby"}
NEED_LIBRARY = {"slow disk", "failing disk"}
COMPACTION_TRIES = 20
DISK_BYTES = 12 << 30  # a limit, not what is used
TERMINATE_WALSENDER = """SELECT pg_terminate_backend(active_pid) FROM pg_replication_slots
                         WHERE slot_name = %s AND active_pid IS NOT NULL AND confirmed_flush_lsn IS NOT NULL"""


def plan(seed, rounds, faults):
    """Each fault once, as far as the rounds reach, the rest by weight."""
    chance = random.Random(seed)
    once = chance.sample(faults, min(rounds, len(faults)))
    weights = [WEIGHTS[fault] for fault in faults]
    chosen = once + chance.choices(faults, weights, k=rounds - len(once))
    chance.shuffle(chosen)
    return chosen


class Disk:
    """A small file system for the journal, which can be full at a word."""

    def __init__(self, folder):
        self.folder = folder
        self.refusal = None  # why there is none
        if os.geteuid() != 0:
            self.refusal = "only root may mount a small disk"
            return
        os.mkdir(folder)
        options = f"mode=700,size={DISK_BYTES}"
        done = subprocess.run(["mount", "-t", "tmpfs", "-o", options, "syncflow-torture", folder], check=False, capture_output=True, text=True)
        if done.returncode != 0:
            self.refusal = f"no tmpfs can be mounted here: {done.stderr.strip()}"
            os.rmdir(folder)

    def fill(self, left):
        """Refused where more was written meanwhile."""

        def filled():
            used = os.statvfs(self.folder)
            return self._resize((used.f_blocks - used.f_bfree) * used.f_frsize + left)

        wait_until(filled, "the disk to be full", every=0)

    def empty(self):
        assert self._resize(DISK_BYTES)

    def stop(self):
        if not self.refusal:
            subprocess.run(["umount", "-l", self.folder], check=False)

    def _resize(self, size):
        command = ["mount", "-o", f"remount,size={size}", self.folder]
        return subprocess.run(command, check=False, capture_output=True).returncode == 0


class Nemesis:
    def __init__(self, rig, sidecar, wire, disk, library):
        self.rig = rig
        self.sidecar = sidecar
        self.wire = wire
        self.disk = disk
        self.library = library
        self.flag = os.path.join(rig.folder, "disk-fault")
        self.consumers = []  # those whose connection may be cut
        self.writers = None
        self.oracle = None
        self.losses = 0
        self.compacted = 0
        self.complaints = []
        self.chance = None

    def skipped(self):
        """{fault: why it cannot be done here}."""
        reasons = {"full disk": self.disk.refusal} if self.disk.refusal else {}
        if not self.library:
            reasons.update(dict.fromkeys(NEED_LIBRARY, "there is no library to preload: build the target stall"))
        return reasons

    def strike(self, fault, chance):
        self.chance = chance
        self.expect_alive()
        getattr(self, "_" + fault.replace(" ", "_").replace("-", "_"))()

    # ---- the sidecar's life ----

    def start(self):
        prefix = []
        if self.library:
            prefix = ["env", f"LD_PRELOAD={self.library}", "ASAN_OPTIONS=verify_asan_link_order=0", f"SYNCFLOW_STALL={self.flag}"]
        self.sidecar.start(prefix)

    def expect_alive(self):
        if not self.sidecar.running():
            code = self.sidecar.process.returncode
            self.complaints.append(f"the sidecar ended by itself with {code}\n{self.sidecar.log_tail()}")
            self.start()

    def terminate(self):
        self.sidecar.wait_ready()
        code = self.sidecar.terminate()
        if code != 0:
            self.complaints.append(f"SIGTERM ended the sidecar with {code}\n{self.sidecar.log_tail()}")

    def wait_streaming(self):
        """As PostgreSQL sees it."""

        def streams():
            self.expect_alive()
            with contextlib.suppress(psycopg2.OperationalError):
                return self.rig.slot_fact(self.sidecar.slot, "active AND confirmed_flush_lsn IS NOT NULL")

        wait_until(streams, "the slot to be read", context=self.sidecar.log_tail)

    def _rest(self, longest):
        time.sleep(self.chance.choice([0, self.chance.uniform(0, longest)]))

    # ---- ends ----

    def _sidecar(self):
        self.sidecar.kill()
        self._rest(0.5)
        self.start()
        if self.chance.random() < 0.5:
            self.sidecar.wait_ready()

    def _sidecar_twice(self):
        """The second time while it recovers from the first."""
        self.sidecar.kill()
        self.start()
        time.sleep(self.chance.uniform(0, 0.3))
        self._sidecar()

    def _server(self):
        self.rig.server.stop("immediate")
        self._rest(0.5)
        self.rig.server.start()

    def _sidecar_and_server(self):
        self.sidecar.kill()
        self._server()
        self.start()

    def _walsender(self):
        self.rig.execute(TERMINATE_WALSENDER, self.sidecar.slot)

    def _consumer(self):
        self.chance.choice(self.consumers).cut()

    def _terminate(self):
        self.terminate()
        self.start()

    # ---- silence ----

    def _freeze_sidecar(self):
        self.sidecar.pause()
        time.sleep(self.chance.uniform(0.5, 2))
        if self.chance.random() < 0.5:
            self.sidecar.resume()
        else:
            self._sidecar()

    def _freeze_walsender(self):
        pid = self.rig.slot_fact(self.sidecar.slot, "active_pid")
        if pid is None:
            return
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGSTOP)
            time.sleep(self.chance.uniform(0.5, 2))
            os.kill(pid, signal.SIGCONT)

    def _freeze_consumer(self):
        consumer = self.chance.choice(self.consumers)
        consumer.pause()
        time.sleep(self.chance.uniform(0.5, 2))
        consumer.resume()

    def _half_open_consumer(self):
        """Its old connection stays beside the new one."""
        self.chance.choice(self.consumers).leave()

    def _cut_link(self):
        self.wire.cut()

    def _half_open_link(self):
        """Nobody is told. Sooner or later both ends find out by themselves, or something else happens to them."""
        self.wire.cut_frozen()
        self.wire.freeze()

    # ---- the journal's disk ----

    @contextlib.contextmanager
    def _disk_that(self, does):
        with open(self.flag, "w", encoding="utf-8") as file:
            file.write(does)
        try:
            yield
        finally:
            os.unlink(self.flag)

    def _slow_disk(self):
        with self._disk_that(f"slow {self.chance.choice([20, 100, 400])}"):
            time.sleep(self.chance.uniform(0.5, 2))
            if self.chance.random() < 0.3:
                self._sidecar()

    def _failing_disk(self):
        """Whoever goes on after a failed fdatasync lies."""
        self.wait_streaming()
        with self._disk_that("fail"):
            code = self.sidecar.wait_exit()
        said = self.sidecar.log_tail(5)
        if code <= 0 or "Input/output error" not in said:
            self.complaints.append(f"a failed fdatasync ended the sidecar with {code}\n{said}")
        self.start()

    def _full_disk(self):
        self.disk.fill(left=self.chance.choice([4 << 10, 64 << 10, 512 << 10]))
        time.sleep(self.chance.uniform(0.5, 2))
        killed = self.chance.random() < 0.3
        if killed:
            self.sidecar.kill()
        self.disk.empty()
        if killed:
            self.start()

    # ---- the table ----

    def _compaction(self):
        """Beside what comes next; every operation is old enough."""
        threading.Thread(target=self._compact, daemon=True).start()

    def _compact(self):
        """Refused while nothing is streamed, broken off by a kill: asked again, or the round would show nothing."""
        request = urllib.request.Request(
            f"http://127.0.0.1:{self.sidecar.http_port}/compact", json.dumps({"olderThanDays": 0}).encode(),
            {"Content-Type": "application/json"})
        for _ in range(COMPACTION_TRIES):
            with contextlib.suppress(OSError, ValueError, http.client.HTTPException), urllib.request.urlopen(request, timeout=60) as answer:
                self.compacted += json.loads(answer.read()).get("deletedCount", 0)
                return
            time.sleep(0.5)

    # ---- history that the stream loses ----

    def _drop_slot(self):
        """Half of the times with a kill while that is healed."""
        self.wait_streaming()

        def dropped():
            self.rig.execute(TERMINATE_WALSENDER, self.sidecar.slot)
            try:
                self.rig.execute("SELECT pg_drop_replication_slot(%s)", self.sidecar.slot)
                return True
            except (psycopg2.errors.ObjectInUse, psycopg2.errors.UndefinedObject):
                return False

        wait_until(dropped, "the slot to be dropped", every=0.001)
        self.losses += 1
        if self.chance.random() < 0.5:
            time.sleep(self.chance.uniform(0, 0.3))
            self._sidecar()
        self.wait_streaming()

    def _go_away(self):
        """Until the slot is free and something was written."""
        self.wait_streaming()
        self.terminate() if self.chance.random() < 0.5 else self.sidecar.kill()
        wait_until(lambda: not self.rig.slot_fact(self.sidecar.slot, "active"), "the slot to be free")
        time.sleep(self.chance.uniform(0.2, 0.6))

    def _come_back(self):
        self.losses += 1
        self.start()
        self.wait_streaming()

    def _advance_slot(self):
        self._go_away()
        self.rig.execute("SELECT pg_replication_slot_advance(%s, pg_current_wal_flush_lsn())", self.sidecar.slot)
        self.rig.execute("CHECKPOINT")
        self._come_back()

    def _invalidate_slot(self):
        """The oracle's slot goes with it, so nothing is written between its end and its new beginning."""
        self._go_away()
        with self.writers.paused():
            self.oracle.read()
            self.rig.execute("ALTER SYSTEM SET max_slot_wal_keep_size = '16MB'")
            self.rig.execute("SELECT pg_reload_conf()")

            def lost():
                self.rig.execute("SELECT txid_current(), pg_switch_wal()")
                self.rig.execute("CHECKPOINT")
                return self.rig.slot_fact(self.sidecar.slot, "wal_status = 'lost'")

            wait_until(lost, "the slot to be invalidated")
            self.rig.execute("ALTER SYSTEM RESET max_slot_wal_keep_size")
            self.rig.execute("SELECT pg_reload_conf()")
            self.oracle.drop()
            self.oracle.create()
        self._come_back()

    def _promote_standby(self):
        """It takes the server's place with every byte of its WAL, on a timeline of its own and without its slots. Half of the times
        the sidecar has not read all of that, or is killed while it heals."""
        self.wait_streaming()
        server = self.rig.server
        standby = server.data + ".standby"
        backup = server.as_user(f"{server.bin}/pg_basebackup", "-d", server.url, "-D", standby, "-c", "fast")
        subprocess.run(backup, check=True, cwd=server.directory, stdout=subprocess.DEVNULL)
        behind = self.chance.random() < 0.5
        if behind:
            self.sidecar.pause()
            time.sleep(self.chance.uniform(0.2, 0.6))
        with self.writers.paused():
            self.oracle.read()
            server.stop("immediate")
            subprocess.run(["cp", "-a", f"{server.data}/pg_wal/.", f"{standby}/pg_wal/"], check=True)
            shutil.rmtree(server.data)
            os.rename(standby, server.data)
            subprocess.run(server.as_user("touch", f"{server.data}/standby.signal"), check=True)
            server.start()
            self.rig.execute("SELECT pg_promote()")
            self.oracle.create()
        self.losses += 1
        if behind:
            self.sidecar.resume()
        if self.chance.random() < 0.5:
            self._rest(0.3)
            self._sidecar()
        self.wait_streaming()
