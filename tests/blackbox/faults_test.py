"""Faults of the server and of what is written to it, each of which some peer has lost data to. Named by the rows of
the table in tests/README.md."""

import contextlib
import ctypes
import os
import signal
import subprocess
import threading
import time
import unittest

import psycopg2

from case import INSERT, Case
from consumer import Consumer
from waiting import wait_until
from wire import Wire, is_change, keepalive


@contextlib.contextmanager
def starved(sidecar, runs=0.005, rests=0.095):
    """Lets it run for so many seconds and not for so many, in turn; yields the number of turns."""
    turns, done = [0], threading.Event()

    def limit():
        while not done.is_set():
            sidecar.pause()
            time.sleep(rests)
            sidecar.resume()
            time.sleep(runs)
            turns[0] += 1

    thread = threading.Thread(target=limit)
    thread.start()
    try:
        yield turns
    finally:
        done.set()
        thread.join()


class Faults(Case):
    def begin(self, settings=None, **sidecar):
        self.server = self.rig(settings=settings or {})
        self.sidecar = self.server.sidecar(**{"feed.heartbeat": "1s", **sidecar}).start_ready()
        wait_until(lambda: self.sidecar.status()["state"] == "streaming", "the stream", context=self.sidecar.log_tail)
        self.consumer = self.server.stops(Consumer(self.sidecar.feed, keep_lines=True).start())

    def wait_for(self, id):
        wait_until(lambda: self.consumer.has(id), id, context=self.sidecar.log_tail)

    def assert_whole(self):
        """Everything in the table, once, and nothing was lost on the way."""
        expected = {row[0] for row in self.server.execute("SELECT id FROM operations")}
        wait_until(lambda: self.consumer.ids >= expected, "everything", context=self.sidecar.log_tail)
        by_cursor = {delivery.cursor: delivery.id for delivery in self.consumer.deliveries}
        self.assertEqual(sorted(by_cursor.values()), sorted(expected))
        self.assertEqual(self.consumer.gaps + self.consumer.broken + self.consumer.refusals, [])

    # ---- positions ----

    def test_P2_clean_restarts_of_the_server(self):
        """Before 17 a slot forgets what was confirmed since the last checkpoint, even in a clean stop."""
        self.begin()
        for number in range(3):
            self.commit(self.server, f"round{number}", rows=200)
            self.wait_for(f"round{number}-200")
            self.server.server.stop("fast")
            self.server.server.start()
        self.commit(self.server, "after")
        self.assert_whole()

    def test_P9_rows_of_one_wal_record(self):
        """COPY puts many rows under one LSN; killed again and again in the middle of them."""
        self.begin()
        for number in range(5):
            connection = self.server.connect()
            with connection.cursor() as cursor:
                cursor.execute("CREATE TEMP TABLE t AS SELECT * FROM operations LIMIT 0")
                cursor.execute(INSERT.replace("INTO operations", "INTO t"), (f"copy{number}", 10, 3000))
                cursor.execute("INSERT INTO operations SELECT * FROM t")
            connection.close()
            self.sidecar.kill()
            self.sidecar.start_ready()
        self.assert_whole()

    def test_P10_commit_order_is_neither_id_nor_lsn_order(self):
        """Begun first, committed last; with a kill between."""
        self.begin()
        early = self.server.connect()
        early.autocommit = False
        early.cursor().execute(INSERT, ("early", 10, 10))
        self.commit(self.server, "late")
        self.wait_for("late-10")
        self.sidecar.kill()
        self.sidecar.start_ready()
        early.commit()
        early.close()
        self.wait_for("early-10")
        order = [delivery.id.split("-")[0] for delivery in self.consumer.deliveries]
        self.assertEqual(order, ["late"] * 10 + ["early"] * 10)

    def test_P14_keepalive_inside_a_transaction(self):
        """PostgreSQL's own names nothing beyond the transaction; one that did would have the rest of it forgotten."""
        self.begin()
        self.sidecar.terminate()
        wire = self.server.stops(Wire(self.server.server.url))
        self.sidecar.configure(**{"postgres.url": wire.url})
        self.sidecar.start_ready()
        self.commit(self.server, "before")
        self.wait_for("before-10")
        spoken = []

        def answers(message):
            if spoken:
                return []
            if not is_change(message, 'half-2"'):
                return [message]
            spoken.append(self.server.execute("SELECT (pg_current_wal_lsn() - '0/0')::bigint")[0][0])
            return [message, keepalive(spoken[0])]
        position = self.server.execute("SELECT pg_current_wal_lsn()")[0][0]
        wire.answers = answers
        self.commit(self.server, "half")
        updates = 'syncflow_source_feedback_total{cause="timer"}'
        wait_until(lambda: spoken, "the forged keepalive", context=self.sidecar.log_tail)
        before = self.sidecar.metrics()[updates]
        wait_until(lambda: self.sidecar.metrics()[updates] >= before + 3, "status updates", context=self.sidecar.log_tail)
        self.assertTrue(self.server.slot_fact(self.sidecar.slot, f"confirmed_flush_lsn <= '{position}'"))
        wire.answers = lambda message: [message]
        wire.cut()
        self.wait_for("half-10")
        self.assert_whole()

    def test_P21_terminated_under_load(self):
        self.begin()
        stopping = threading.Event()

        def write():
            number = 0
            while not stopping.is_set():
                number += 1
                self.commit(self.server, f"load{number}", rows=20)
        writer = threading.Thread(target=write)
        writer.start()
        try:
            for _ in range(4):
                self.wait_for(f"load{len(self.consumer.ids) // 20 + 20}-20")
                self.assertEqual(self.sidecar.terminate(), 0)
                self.sidecar.start_ready()
        finally:
            stopping.set()
            writer.join()
        self.assert_whole()

    def test_P25_slot_that_waits_for_an_open_transaction(self):
        """It says for whom."""
        self.begin()
        self.sidecar.terminate()
        connection = psycopg2.connect(self.server.server.url, application_name="forgotten")
        connection.cursor().execute(INSERT, ("open", 10, 1))
        second = self.server.sidecar("second").start()
        self.assert_sentence(second, "waits for the transactions that are open", r"process \d+ \(forgotten, since")
        connection.commit()
        connection.close()
        second.wait_ready()
        self.commit(self.server, "after")
        self.assert_delivers(self.server, second, ["open", "after"])

    # ---- the server ----

    def test_S7_little_processor_time(self):
        """A twentieth of a processor, as a container may be given: all comes late, and the server
        hears from us in time."""
        self.begin({"wal_sender_timeout": "'4s'"})
        connects = self.sidecar.metrics()['syncflow_source_connects_total{result="ok"}']
        with starved(self.sidecar) as turns:
            for number in range(5):
                self.commit(self.server, f"burst{number}", rows=3000)
                self.wait_for(f"burst{number}-3000")
                seen = turns[0]
                wait_until(lambda: turns[0] >= seen + 20, "a while without work", context=self.sidecar.log_tail)
        self.assertEqual(self.sidecar.metrics()['syncflow_source_connects_total{result="ok"}'], connects)
        self.assert_whole()

    def test_S2_invalidated_while_streaming(self):
        """The checkpoint waits for the walsender, which waits for a frozen reader, but not for ever."""
        self.begin({"max_slot_wal_keep_size": "'16MB'", "max_wal_size": "64MB", "wal_sender_timeout": "'5s'"})
        self.commit(self.server, "before")
        self.wait_for("before-10")
        self.sidecar.pause()

        def lost():
            number = self.server.execute("SELECT count(*) FROM operations")[0][0]
            self.commit(self.server, f"more{number}", rows=8000, size=3000)
            self.server.execute("SELECT pg_switch_wal()")
            self.server.execute("CHECKPOINT")
            return self.server.slot_fact(self.sidecar.slot, "wal_status") == "lost"
        wait_until(lost, "the slot to be lost")
        self.sidecar.resume()
        expected = {row[0] for row in self.server.execute("SELECT id FROM operations")}
        wait_until(lambda: self.consumer.ids >= expected, "everything", context=self.sidecar.log_tail)
        self.assertEqual(len(self.consumer.gaps), 1)

    def test_S13_backend_that_crashes(self):
        """PostgreSQL ends every connection and recovers."""
        self.begin()
        for number in range(3):
            self.commit(self.server, f"round{number}", rows=100)
            victim, witness = self.server.connect(), self.server.connect()
            os.kill(victim.get_backend_pid(), signal.SIGKILL)

            def ended():
                try:
                    witness.cursor().execute("SELECT 1")
                except psycopg2.OperationalError:
                    return True

            def recovered():
                try:
                    return self.server.execute("SELECT 1")
                except psycopg2.OperationalError:
                    return None
            wait_until(ended, "the server to notice")
            wait_until(recovered, "crash recovery")
        self.commit(self.server, "after")
        self.assert_whole()

    def test_S15_no_slot_left(self):
        self.server = self.rig(settings={"max_replication_slots": "1"})
        self.server.execute("SELECT pg_create_physical_replication_slot('other')")
        sidecar = self.server.sidecar().start()
        self.assert_retries(sidecar, "all replication slots are in use", "max_replication_slots")
        self.server.execute("SELECT pg_drop_replication_slot('other')")
        sidecar.wait_ready()
        self.commit(self.server, "after")
        self.assert_delivers(self.server, sidecar, ["after"])

    def test_S24_impatient_role(self):
        """Settings of the role end idle and long statements of everybody else."""
        self.begin()
        self.sidecar.terminate()
        for setting in ["statement_timeout", "idle_session_timeout", "lock_timeout"]:
            self.server.execute(f"ALTER ROLE postgres SET {setting} = '300ms'")
        self.sidecar.start_ready()
        self.commit(self.server, "one")
        self.wait_for("one-10")
        self.server.execute("SELECT 1")
        connects = self.sidecar.metrics()['syncflow_source_connects_total{result="ok"}']
        self.commit(self.server, "two", rows=3000)
        self.wait_for("two-3000")
        wait_until(lambda: self.sidecar.status()["slot"]["active"], "the watch", context=self.sidecar.log_tail)
        self.assertEqual(self.sidecar.metrics()['syncflow_source_connects_total{result="ok"}'], connects)
        self.assert_whole()

    def test_S24_impatient_role_that_waits_for_the_table(self):
        """What the stream has lost is read in one attempt, however long that takes."""
        self.begin()
        self.commit(self.server, "before")
        self.wait_for("before-10")
        self.sidecar.terminate()
        self.server.execute("SELECT pg_drop_replication_slot(%s)", self.sidecar.slot)
        self.commit(self.server, "missed")
        for setting in ["statement_timeout", "lock_timeout", "idle_in_transaction_session_timeout"]:
            self.server.execute(f"ALTER ROLE postgres SET {setting} = '1s'")
        wire = self.server.stops(Wire(self.server.server.url))
        wire.hold(b"SELECT id, type")
        self.sidecar.configure(**{"postgres.url": wire.url})
        self.sidecar.start()
        wait_until(wire.held.is_set, "it to read", context=self.sidecar.log_tail)
        locker = psycopg2.connect(self.server.server.url, options="-c idle_in_transaction_session_timeout=0")
        locker.cursor().execute("LOCK TABLE operations")
        wire.go_on()
        waits = "SELECT extract(epoch FROM now() - query_start) > 2 FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND query LIKE 'SELECT id, type%'"
        wait_until(lambda: self.server.execute(waits), "the reader to wait", context=self.sidecar.log_tail)
        wait_until(lambda: self.server.execute(waits) == [(True,)], "a while", context=self.sidecar.log_tail)
        locker.close()
        self.wait_for("missed-10")
        self.assertEqual(len(self.consumer.gaps), 1)

    def test_S26_role_that_may_no_longer(self):
        self.server = self.rig()
        self.server.execute("CREATE ROLE streamer LOGIN REPLICATION IN ROLE pg_read_all_data")
        self.server.sidecar("schema").start_ready().terminate()
        url = self.server.server.url.replace("postgres@", "streamer@")
        self.sidecar = self.server.sidecar(**{"postgres.url": url}).start_ready()
        wait_until(lambda: self.server.slot_fact(self.sidecar.slot, "active"), "the stream", context=self.sidecar.log_tail)
        self.server.execute("ALTER ROLE streamer NOREPLICATION")
        self.server.execute("SELECT pg_terminate_backend(active_pid) FROM pg_replication_slots WHERE slot_name = %s", self.sidecar.slot)
        self.assert_retries(self.sidecar, "replication role|WAL sender", "ALTER ROLE role_name REPLICATION")
        self.commit(self.server, "meanwhile")
        self.server.execute("ALTER ROLE streamer REPLICATION")
        self.assert_delivers(self.server, self.sidecar, ["meanwhile"])

    # ---- what is written ----

    def test_S16_no_room_for_what_the_server_spills(self):
        """A full disk of its own for the spilled transactions."""
        libc = ctypes.CDLL(None)
        if os.geteuid() != 0 or libc.unshare(0x20000) != 0:  # CLONE_NEWNS
            self.skipTest("only root may mount")
        if subprocess.run(["mount", "--make-rprivate", "/"], check=False, capture_output=True).returncode != 0:
            self.skipTest("what is mounted in a chroot might be seen outside")
        self.server = self.rig(settings={"logical_decoding_work_mem": "'64kB'"})
        spill = os.path.join(self.server.server.data, "pg_replslot")
        self.server.server.stop()
        subprocess.run(["mount", "-t", "tmpfs", "-o", f"size=4m,mode=700,uid={os.stat(spill).st_uid}", "none", spill], check=True)
        self.addCleanup(subprocess.run, ["umount", "-l", spill], check=True)
        self.server.server.start()
        self.sidecar = self.server.sidecar().start_ready()
        self.consumer = self.server.stops(Consumer(self.sidecar.feed).start())
        self.commit(self.server, "large", rows=30000)
        self.assert_retries(self.sidecar, "No space left", "free space on the disk of the database server")
        subprocess.run(["mount", "-o", "remount,size=200m", spill], check=True)
        self.commit(self.server, "after")
        self.wait_for("after-10")
        self.assert_whole()

    def test_S17_twenty_thousand_subtransactions(self):
        self.begin()
        resident = self.sidecar.memory()["VmRSS"]
        self.server.execute("""
            DO $$ BEGIN FOR n IN 1..20000 LOOP
              BEGIN
                INSERT INTO operations (id, type, collection, doc_id, data, timestamp, client_id, vector_clock)
                VALUES ('sub-' || n, 'insert', 'todos', 'doc', '{}', n, 'c', '{}');
                IF n % 3 = 0 THEN RAISE EXCEPTION 'undone'; END IF;
              EXCEPTION WHEN raise_exception THEN NULL;
              END;
            END LOOP; END $$""")
        self.wait_for("sub-20000")
        self.assert_whole()
        self.assertEqual(len(self.consumer.ids), 20000 - 20000 // 3)
        self.assertLess(self.sidecar.memory()["VmRSS"] - resident, 64 << 20)

    def both_plugins(self, plugin):
        self.begin(**{"replication.plugin": plugin})
        self.commit(self.server, "huge", rows=1, size=100 << 20)
        self.commit(self.server, "after")
        self.wait_for("after-10")
        self.assert_whole()
        line = next(line for line in self.consumer.lines if b'"huge-1"' in line)
        self.assertLess(len(line), 1000)
        self.assertRegex(line, rb'"omitted":\\{"data":1048576\\d\\d\\}'.replace(b"\\\\", b"\\"))

    def test_D2_operation_of_100_megabytes_wal2json(self):
        self.both_plugins("wal2json")

    def test_D2_operation_of_100_megabytes_pgoutput(self):
        self.both_plugins("pgoutput")

    def test_D7_what_was_rolled_back_to_a_savepoint(self):
        self.begin()
        connection = self.server.connect()
        with connection.cursor() as cursor:
            cursor.execute("BEGIN")
            cursor.execute(INSERT, ("kept", 10, 5))
            cursor.execute("SAVEPOINT s")
            cursor.execute(INSERT, ("undone", 10, 5))
            cursor.execute("ROLLBACK TO s")
            cursor.execute(INSERT, ("also", 10, 5))
            cursor.execute("COMMIT")
        connection.close()
        self.wait_for("also-5")
        self.assert_whole()
        indexes = [int(delivery.cursor.rsplit(".", 1)[1]) for delivery in self.consumer.deliveries]
        self.assertEqual(indexes, list(range(10)))


if __name__ == "__main__":
    unittest.main()
