"""The stream has lost history, the table has it: after healing a consumer that stayed has every operation
of the table, each under one cursor; what the stream did not bring is marked, and a gap stands before
it."""

import collections
import contextlib
import glob
import json
import random
import shutil
import subprocess
import time
import unittest

import psycopg2
from case import INSERT, Case
from consumer import Consumer
from postgres import PrivatePostgres
from waiting import wait_until
from wire import Wire
from writer import Writers

SEED = 11


class Healing(Case):
    def setUp(self):
        self.server = self.rig(settings={"wal_keep_size": "0", "max_wal_size": "64MB"})
        self.sidecar = self.server.sidecar(**{"feed.heartbeat": "1s"})

    def begin(self):
        """A sidecar that streams, and a consumer of everything."""
        self.sidecar.start_ready()
        self.commit(self.server, "before")
        self.follow()
        self.wait_for_all()

    def follow(self, name="consumer"):
        self.consumer = self.server.stops(Consumer(self.sidecar.feed, name, keep_lines=True).start())

    def write(self, prefix):
        return self.server.stops(Writers(self.server.server.url, SEED, prefix=prefix)).start()

    def in_table(self):
        return {row[0] for row in self.server.execute("SELECT id FROM operations")}

    def wait_for_all(self):
        expected = self.in_table()
        wait_until(lambda: self.consumer.ids >= expected, "everything in the table", context=self.sidecar.log_tail)

    def drop_slot(self):
        """The walsender may be faster than we are; a slot that is still being created is left alone."""
        def dropped():
            self.server.execute("SELECT pg_terminate_backend(active_pid) FROM pg_replication_slots WHERE slot_name = %s "
                                "AND confirmed_flush_lsn IS NOT NULL", self.sidecar.slot)
            try:
                self.server.execute("SELECT pg_drop_replication_slot(%s)", self.sidecar.slot)
                return True
            except (psycopg2.errors.ObjectInUse, psycopg2.errors.UndefinedObject):
                return False
        wait_until(dropped, "the slot to be dropped", every=0.001)

    def assert_whole(self, gaps):
        """Everything once, in order of the cursors, and as many gaps as losses."""
        self.wait_for_all()
        changes = [json.loads(line) for line in self.consumer.lines]
        cursors = [(change["cursor"], change["op"]["id"]) for change in changes]
        self.assertEqual(self.consumer.broken + self.consumer.refusals, [])
        self.assertEqual(len(set(cursors)), len(self.in_table()), "one cursor for each")
        self.assertEqual({id for _, id in cursors}, self.in_table())
        self.assertEqual(len(self.consumer.gaps), gaps)
        for gap in map(json.loads, self.consumer.gaps):
            self.assertEqual(gap["code"], "history_recovered")
        return [change["op"]["id"] for change in changes if change.get("recovered")]

    # ---- the slot ----

    def test_S4_slot_dropped_under_load(self):
        self.begin()
        writers = self.write("load")
        for losses in range(1, 4):
            time.sleep(0.5)
            self.drop_slot()
            # One that is lost while the last is still being healed needs no gap of its own.
            wait_until(lambda: self.sidecar.metrics()["syncflow_source_history_losses_total"] == losses, "it to be healed",
                       context=self.sidecar.log_tail)
        time.sleep(0.5)
        writers.stop()
        recovered = self.assert_whole(gaps=3)
        self.assertLess(len(recovered), len(self.in_table()))

    def test_S4_slot_dropped_while_the_sidecar_was_away(self):
        self.begin()
        self.sidecar.terminate()
        self.server.execute("SELECT pg_drop_replication_slot(%s)", self.sidecar.slot)
        self.commit(self.server, "missed", rows=5000)
        self.sidecar.start_ready()
        self.assertEqual(set(self.assert_whole(gaps=1)), {f"missed-{n}" for n in range(1, 5001)})
        self.assertEqual(self.sidecar.metrics()["syncflow_source_history_losses_total"], 1)
        self.assertEqual(self.sidecar.metrics()["syncflow_source_recovered_operations_total"], 5000)

    def test_S4_state_says_that_the_table_is_being_read(self):
        self.begin()
        self.sidecar.terminate()
        self.server.execute("SELECT pg_drop_replication_slot(%s)", self.sidecar.slot)
        self.commit(self.server, "missed")
        wire = self.server.stops(Wire(self.server.server.url))
        wire.hold(b"SELECT id, type")
        self.sidecar.configure(**{"postgres.url": wire.url})
        self.sidecar.start_ready()
        wait_until(lambda: self.sidecar.status()["state"] == "reconciling", "the table to be asked for", context=self.sidecar.log_tail)
        wire.go_on()
        wait_until(lambda: self.sidecar.status()["state"] == "streaming", "the stream", context=self.sidecar.log_tail)
        self.assertEqual(len(self.assert_whole(gaps=1)), 10)

    def test_P6_slot_advanced_by_somebody_else(self):
        self.begin()
        self.sidecar.terminate()
        self.commit(self.server, "skipped")
        self.server.execute("SELECT pg_replication_slot_advance(%s, pg_current_wal_flush_lsn())", self.sidecar.slot)
        self.server.execute("CHECKPOINT")
        self.commit(self.server, "after")
        self.sidecar.start_ready()
        self.assertLessEqual({f"skipped-{n}" for n in range(1, 11)}, set(self.assert_whole(gaps=1)))
        self.sidecar.wait_log("somebody else has consumed")

    def test_P6_slot_advanced_between_looking_and_reading(self):
        """PostgreSQL begins where the slot stands by then, and says nothing."""
        wire = self.server.stops(Wire(self.server.server.url))
        self.sidecar.configure(**{"postgres.url": wire.url})
        self.begin()
        self.sidecar.terminate()
        self.commit(self.server, "skipped")
        wire.hold(b"START_REPLICATION")
        self.sidecar.start()
        wait_until(wire.held.is_set, "the sidecar to have looked", context=self.sidecar.log_tail)
        self.server.execute("SELECT pg_replication_slot_advance(%s, pg_current_wal_flush_lsn())", self.sidecar.slot)
        self.commit(self.server, "after")
        wire.go_on()
        self.assertLessEqual({f"skipped-{n}" for n in range(1, 11)}, set(self.assert_whole(gaps=1)))
        self.sidecar.wait_log("somebody else has consumed")

    def test_S1_slot_invalidated(self):
        self.begin()
        self.sidecar.kill()
        self.server.server.set("max_slot_wal_keep_size", "'16MB'")
        self.server.server.reload()

        def invalidated():
            self.commit(self.server, f"more{random.random()}", rows=2000, size=4000)
            self.server.execute("SELECT pg_switch_wal()")
            self.server.execute("CHECKPOINT")
            return self.server.slot_fact(self.sidecar.slot, "wal_status") == "lost"
        wait_until(invalidated, "the slot to be invalidated")
        self.sidecar.start_ready()
        self.assertTrue(self.assert_whole(gaps=1))
        self.sidecar.wait_log("raise max_slot_wal_keep_size")

    # ---- another plugin ----

    def switch(self, plugin):
        self.sidecar.terminate()
        self.commit(self.server, f"unread{self.sidecar.starts}")
        self.sidecar.configure(**{"replication.plugin": plugin})
        self.sidecar.start_ready()
        self.commit(self.server, f"new{self.sidecar.starts}")

    def test_O1_switch_of_plugin(self):
        """At the same position, so nothing is lost and nothing recovered."""
        self.begin()
        self.server.execute("CREATE PUBLICATION syncflow_sidecar FOR TABLE ONLY operations WITH (publish = 'insert')")
        younger = self.server.execute("SELECT txid_current()::text")[0][0]

        def known():
            self.commit(self.server, f"published{random.random()}")
            self.server.execute("CHECKPOINT")
            return self.server.slot_fact(self.sidecar.slot, f"age(catalog_xmin) < age('{younger}'::xid)")
        wait_until(known, "the slot to pass the publication", every=0.3)
        self.wait_for_all()
        for plugin in ["pgoutput", "wal2json", "pgoutput"]:
            self.switch(plugin)
            self.assertEqual(self.assert_whole(gaps=0), [])
            self.assertEqual(self.server.slot_fact(self.sidecar.slot, "plugin"), plugin)
        self.assertEqual(self.server.execute("SELECT count(*) FROM pg_replication_slots")[0][0], 1)

    def test_O1_switch_that_was_cut_off(self):
        self.begin()
        self.sidecar.terminate()
        self.commit(self.server, "unread")
        spare = self.sidecar.slot + "_switch"
        self.server.execute("SELECT pg_copy_logical_replication_slot(%s, %s, false, 'wal2json')", self.sidecar.slot, spare)
        self.server.execute("SELECT pg_drop_replication_slot(%s)", self.sidecar.slot)
        self.sidecar.start_ready()
        self.assertEqual(self.assert_whole(gaps=0), [])

    def test_O1_changes_older_than_the_publication(self):
        """pgoutput can never read them: they come from the table."""
        self.begin()
        self.switch("pgoutput")
        self.assertTrue(self.assert_whole(gaps=1))

    # ---- another server ----

    def standby(self):
        """A physical standby of the server, without its slots."""
        primary = self.server.server
        standby = PrivatePostgres()
        self.addCleanup(standby.remove)
        shutil.rmtree(standby.data)
        subprocess.run(standby.as_user(f"{primary.bin}/pg_basebackup", "-d", primary.url, "-D", standby.data, "-R", "-c", "fast"),
                       check=True, cwd=standby.directory, env=standby._environment())
        standby.set("port", str(standby.port))
        standby.set("unix_socket_directories", "''")
        standby.start()
        return standby

    def fail_over(self, standby):
        """The primary is gone at once; everything it has reached the standby before."""
        def ask(sql):
            with contextlib.closing(psycopg2.connect(standby.url)) as connection, connection.cursor() as cursor:
                cursor.execute(sql)
                return cursor.fetchone()[0]
        end = self.server.execute("SELECT pg_current_wal_lsn()")[0][0]
        wait_until(lambda: ask(f"SELECT pg_last_wal_replay_lsn() >= '{end}'"), "the standby to have everything")
        self.server.server.stop("immediate")
        self.promote(standby)

    def promote(self, standby):
        self.addCleanup(self.server.server.remove)
        self.server.server = standby
        self.server.execute("SELECT pg_promote()")
        self.sidecar.configure(**{"postgres.url": standby.url})

    def test_S5_standby_promoted(self):
        self.begin()
        standby = self.standby()
        self.sidecar.kill()
        self.commit(self.server, "missed", rows=2000)
        self.fail_over(standby)
        self.commit(self.server, "new")
        self.sidecar.start_ready()
        self.commit(self.server, "newer")
        recovered = self.assert_whole(gaps=1)
        self.assertLessEqual({f"missed-{n}" for n in range(1, 2001)}, set(recovered))
        self.sidecar.wait_log("a standby was promoted.*goes on there")
        self.sidecar.terminate()
        self.sidecar.start_ready()
        self.commit(self.server, "newest")
        self.assert_whole(gaps=1)

    def test_P8_primary_killed_under_load(self):
        """The standby may have less than consumers were told; whatever it has reaches them."""
        self.begin()
        standby = self.standby()
        writers = self.write("load")
        time.sleep(1.5)
        self.server.server.stop("immediate")
        writers.stop()
        self.promote(standby)
        self.commit(self.server, "new", rows=100)
        self.sidecar.kill()
        self.sidecar.start_ready()
        self.commit(self.server, "newer")
        self.assert_new_primary_is_told()

    def test_P8_standby_that_had_less(self):
        self.begin()
        standby = self.standby()
        self.server.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_replication WHERE application_name = 'walreceiver'")
        standby.stop("fast")
        self.commit(self.server, "lost")
        self.wait_for_all()
        self.sidecar.terminate()
        self.server.server.stop("immediate")
        standby.start()
        self.promote(standby)
        self.commit(self.server, "new", rows=3000)
        self.sidecar.start_ready()
        self.sidecar.wait_log("history has forked.*timeline 2.* and the journal goes on to")
        self.assert_new_primary_is_told()
        self.assertFalse(self.consumer.has("lost-1"))

    def assert_new_primary_is_told(self):
        """Everything that it has, once, by this cursor or, after a fork, from the beginning."""
        wait_until(lambda: self.consumer.refusals or self.consumer.has("newer-10"), "either", context=self.sidecar.log_tail)
        if self.consumer.refusals:
            self.assertIn(b"epoch_changed", self.consumer.refusals[0])
            self.consumer.stop()
            self.follow("new")
        self.wait_for_all()
        self.assert_whole(gaps=1)

    def test_P8_old_primary_that_comes_back(self):
        """Two primaries: the one that was replaced is not listened to."""
        self.begin()
        standby = self.standby()
        self.sidecar.terminate()
        old = self.server.server
        self.fail_over(standby)
        self.sidecar.start_ready()
        self.commit(self.server, "new")
        self.wait_for_all()
        self.sidecar.terminate()
        old.start()
        self.sidecar.configure(**{"postgres.url": old.url})
        self.sidecar.start()
        self.assert_retries(self.sidecar, "older than the journal's 2", "present primary")
        self.sidecar.terminate()
        self.sidecar.configure(**{"postgres.url": standby.url})
        self.sidecar.start_ready()
        self.commit(self.server, "newer")
        self.assert_whole(gaps=1)

    # ---- the journal ----

    def test_P27_journal_lost_while_the_slot_stands(self):
        """The gap stands for what was compacted away before a consumer had it; a kill does not take it away."""
        self.begin()
        self.sidecar.terminate()
        shutil.rmtree(self.sidecar.journal)
        self.commit(self.server, "missed")
        connection = self.server.connect()
        with connection.cursor() as cursor:
            cursor.execute("BEGIN")
            cursor.execute(INSERT, ("open", 10, 1))
            self.sidecar.start()
            self.sidecar.wait_log("waits for the transactions that are open")
            self.sidecar.kill()
            cursor.execute("COMMIT")
        connection.close()
        self.sidecar.start()
        self.sidecar.wait_log("pipeline: streaming", times=2)
        self.commit(self.server, "after")
        wait_until(lambda: self.consumer.ids >= self.in_table(), "everything", context=self.sidecar.log_tail)
        self.assertEqual(len(self.consumer.gaps), 1)
        self.assertIn(b"the journal is new", self.consumer.gaps[0])
        self.consumer.stop()
        self.follow("new")
        self.assertEqual(len(self.assert_whole(gaps=1)), 21)

    # ---- the first start ----

    def test_P27_operations_that_are_already_there_come_first(self):
        self.sidecar.start_ready()
        self.sidecar.terminate()
        self.server.execute("SELECT pg_drop_replication_slot(%s)", self.sidecar.slot)
        shutil.rmtree(self.sidecar.journal)
        self.commit(self.server, "old", rows=3000)
        writers = self.write("load")
        self.sidecar.start_ready()
        self.follow()
        time.sleep(0.5)
        writers.stop()
        recovered = self.assert_whole(gaps=0)
        self.assertLessEqual({f"old-{n}" for n in range(1, 3001)}, set(recovered))
        flags = [b'"recovered":true' in line for line in self.consumer.lines]
        self.assertEqual(flags, sorted(flags, reverse=True))

    def test_role_that_may_not_read_the_table_is_told_before_anything_is_dropped(self):
        self.begin()
        self.sidecar.terminate()
        self.server.execute("CREATE ROLE reader LOGIN REPLICATION; GRANT USAGE ON SCHEMA public TO reader")
        shutil.rmtree(self.sidecar.journal)
        position = self.server.slot_fact(self.sidecar.slot, "confirmed_flush_lsn")
        self.sidecar.configure(**{"postgres.url": self.server.server.url.replace("postgres@", "reader@"),
                                  "postgres.initialize": False, "notify.watch": False})
        self.sidecar.start()
        self.assert_retries(self.sidecar, "may not read the table", 'GRANT SELECT ON "public".operations TO "reader"')
        self.assertEqual(self.server.slot_fact(self.sidecar.slot, "confirmed_flush_lsn"), position)
        self.server.execute("GRANT SELECT ON operations TO reader")
        self.consumer.stop()
        self.follow("new")
        self.assert_whole(gaps=1)

    def test_backfill_can_be_left_out(self):
        self.sidecar.start_ready()
        self.sidecar.terminate()
        self.server.execute("SELECT pg_drop_replication_slot(%s)", self.sidecar.slot)
        shutil.rmtree(self.sidecar.journal)
        self.commit(self.server, "old")
        self.sidecar.configure(**{"replication.backfill": False})
        self.sidecar.start_ready()
        self.commit(self.server, "new")
        self.assert_delivers(self.server, self.sidecar, ["new"])

    def test_P27_first_start_killed_in_the_middle_of_one_large_transaction(self):
        """With a journal that keeps everything, and with one that has let go already of what came first."""
        for name, retain_size in (("whole", "1GiB"), ("short", "4MiB")):
            with self.subTest(name):
                sidecar = self.server.sidecar(name, **{"journal.retain_size": retain_size, "journal.segment_size": "1MiB",
                                                       "feed.tail_memory": "64MiB"})  # so that retention overtakes nobody who reads
                sidecar.start_ready().terminate()
                self.server.execute("SELECT pg_drop_replication_slot(%s)", sidecar.slot)
                shutil.rmtree(sidecar.journal)
                self.server.execute("TRUNCATE operations")
                self.commit(self.server, name, rows=60000, size=1000)
                sidecar.start()
                wait_until(lambda: self.lines_in(sidecar.journal) > 15000, "a quarter of it", context=sidecar.log_tail)  # noqa: B023
                sidecar.kill()
                self.assertLess(self.lines_in(sidecar.journal), 60000, "it was killed in the middle")
                sidecar.start_ready()
                self.commit(self.server, f"{name}after")
                consumer = self.server.stops(Consumer(sidecar.feed).start())
                wait_until(lambda: consumer.has(f"{name}after-10"), "the end", context=sidecar.log_tail)  # noqa: B023
                delivered = [one.id for one in consumer.deliveries]
                order = [row[0] for row in self.server.execute('SELECT id FROM operations ORDER BY received_at, id COLLATE "C"')]
                self.assertEqual(len(delivered) < len(order), name == "short", (len(delivered), len(order)))
                wrong = [pair for pair in zip(delivered[:-10], order[-len(delivered):-10]) if pair[0] != pair[1]]
                self.assertEqual(wrong[:5], [], "an end of the table, in its order")

    def lines_in(self, folder):
        """As the names of its segments tell."""
        return max((int(name.split(".")[-2]) for name in glob.glob(f"{folder}/*.ndjson")), default=0)

    # ---- again and again ----

    def test_P27_killed_at_any_moment_of_it(self):
        self.begin()
        chance = random.Random(SEED)
        recovered = 0
        for round_number in range(8):
            self.sidecar.kill()
            self.drop_slot()
            self.commit(self.server, f"round{round_number}", rows=8000)
            for _ in range(3):
                self.sidecar.start()
                time.sleep(chance.uniform(0, 0.6))
                self.sidecar.kill()
            self.sidecar.start_ready()
            wait_until(lambda: self.sidecar.status()["state"] == "streaming", "a slot", context=self.sidecar.log_tail)
        self.wait_for_all()
        cursors = collections.defaultdict(set)
        for line in map(json.loads, self.consumer.lines):
            cursors[line["op"]["id"]].add(line["cursor"])
            recovered += line.get("recovered", False)
        self.assertEqual({id: found for id, found in cursors.items() if len(found) != 1}, {}, f"seed {SEED}")
        self.assertEqual(set(cursors), self.in_table())
        self.assertGreaterEqual(recovered, 64_000)

    def test_what_retention_has_removed_does_not_come_back(self):
        self.sidecar.configure(**{"journal.segment_size": "1MiB", "journal.retain_size": "2MiB"})
        self.begin()
        for number in range(40):
            self.commit(self.server, f"much{number}", rows=500, size=300)
        self.wait_for_all()
        self.sidecar.terminate()
        self.server.execute("SELECT pg_drop_replication_slot(%s)", self.sidecar.slot)
        self.commit(self.server, "missed")
        self.sidecar.start_ready()
        self.assertEqual(len(self.assert_whole(gaps=1)), 10)


if __name__ == "__main__":
    unittest.main()
