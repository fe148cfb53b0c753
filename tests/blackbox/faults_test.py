"""Faults of the server and of what is written to it, each of which some peer has lost data to. Named by the rows of
the table in tests/README.md."""

import os
import signal
import threading
import unittest

import psycopg2

from case import INSERT, Case
from consumer import Consumer
from waiting import wait_until


class Faults(Case):
    def begin(self, settings=None, **sidecar):
        self.server = self.rig(settings=settings or {})
        self.sidecar = self.server.sidecar(**{"feed.heartbeat": "1s", **sidecar}).start_ready()
        self.server.wait_slot(self.sidecar.slot)
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

    def test_S26_role_that_may_no_longer(self):
        self.server = self.rig()
        self.server.execute("CREATE ROLE streamer LOGIN REPLICATION IN ROLE pg_read_all_data")
        self.server.sidecar("schema").start_ready().terminate()
        url = self.server.server.url.replace("postgres@", "streamer@")
        self.sidecar = self.server.sidecar(**{"postgres.url": url}).start_ready()
        self.server.execute("ALTER ROLE streamer NOREPLICATION")
        self.server.execute("SELECT pg_terminate_backend(active_pid) FROM pg_replication_slots WHERE slot_name = %s", self.sidecar.slot)
        self.assert_retries(self.sidecar, "replication role|WAL sender", "ALTER ROLE role_name REPLICATION")
        self.commit(self.server, "meanwhile")
        self.server.execute("ALTER ROLE streamer REPLICATION")
        self.assert_delivers(self.server, self.sidecar, ["meanwhile"])

    # ---- what is written ----

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
