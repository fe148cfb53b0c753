"""What happens to a slot and its table while sidecars live: others read it, the table is taken away, WAL piles up."""

import json
import time
import unittest

import psycopg2
import psycopg2.extras

from case import INSERT, Case
from consumer import Consumer
from waiting import wait_until
from wire import Wire

SLOT = {"replication.slot": "shared", "notify.watch": False}


class Sharing(Case):
    """Two sidecars, each with a journal of its own, and one slot."""

    def setUp(self):
        self.server = self.rig()
        self.first = self.server.sidecar("first", **SLOT).start_ready()
        self.commit(self.server, "before")
        self.assert_delivers(self.server, self.first, ["before"])
        self.second = self.server.sidecar("second", **SLOT).start()
        self.wait_state(self.second, "standby")

    def wait_state(self, sidecar, state):
        wait_until(lambda: sidecar.get("/livez")[0] == 200 and sidecar.status()["state"] == state,
                   f"{sidecar.config} to be {state}", context=sidecar.log_tail)

    def test_P22_second_takes_over_when_the_first_dies(self):
        for survivor, victim, name in [(self.second, self.first, "one"), (self.first, self.second, "two")]:
            self.commit(self.server, name)
            wait_until(lambda: victim.status()["state"] == "streaming", "the reader", context=victim.log_tail)
            victim.kill()
            self.wait_state(survivor, "streaming")
            self.commit(self.server, name + "after")
            consumer = self.server.stops(Consumer(survivor.feed).start())
            expected = {row[0] for row in self.server.execute("SELECT id FROM operations")}
            wait_until(lambda: consumer.ids >= expected, "everything", context=survivor.log_tail)
            self.assertEqual(len(consumer.deliveries), len(expected))
            victim.start()
            self.wait_state(victim, "standby")
        self.assertEqual(self.second.log_text().count("standing by"), 2, "said once each time")

    def test_P23_frozen_one_is_replaced(self):
        """Nothing new is heard of it for 10 s; awake again it finds itself fenced and stands by."""
        self.first.pause()
        self.commit(self.server, "meanwhile")
        self.second.wait_log("not been heard of for 10 s and is ended")
        self.wait_state(self.second, "streaming")
        consumer = self.server.stops(Consumer(self.second.feed).start())
        wait_until(lambda: consumer.has("meanwhile-10"), "meanwhile", context=self.second.log_tail)
        self.first.resume()
        self.wait_state(self.first, "standby")
        self.assertEqual(self.second.status()["state"], "streaming")

    def put_the_first_behind_a_wire(self):
        """It streams alone."""
        wire = self.server.stops(Wire(self.server.server.url))
        self.second.kill()
        self.first.terminate()
        self.first.configure(**{"postgres.url": wire.url})
        self.first.start_ready()
        self.wait_state(self.first, "streaming")
        return wire

    def test_P23_killed_behind_a_network_that_is_gone(self):
        """The server goes on believing in the reader; nothing new is heard of it, so it is ended."""
        wire = self.put_the_first_behind_a_wire()
        wire.freeze()
        self.first.kill()
        self.commit(self.server, "meanwhile")
        self.first.start()
        self.first.wait_log("not been heard of for 10 s and is ended")
        self.wait_state(self.first, "streaming")
        self.assert_delivers(self.server, self.first, ["before", "meanwhile"])

    def test_P23_half_open(self):
        """The server has given the connection up long ago, and we were not told."""
        wire = self.put_the_first_behind_a_wire()
        self.server.execute("ALTER SYSTEM SET wal_sender_timeout = '3s'")
        self.server.execute("SELECT pg_reload_conf()")
        wire.freeze()
        self.commit(self.server, "meanwhile")
        self.first.wait_log("half open")
        self.assert_delivers(self.server, self.first, ["before", "meanwhile"])

    def test_P22_living_one_is_left_alone(self):
        """Longer than a frozen one would be."""
        reader = self.server.slot_fact("shared", "active_pid")
        patience = time.monotonic() + 13

        def longer():
            self.commit(self.server, f"more{self.server.execute('SELECT count(*) FROM operations')[0][0]}")
            return time.monotonic() > patience
        wait_until(longer, "13 s", every=0.5, context=self.second.log_tail)
        self.assertEqual(self.server.slot_fact("shared", "active_pid"), reader)


class Table(Case):
    """PostgreSQL leaves out in silence what is written under another name; then the table has it."""

    def begin(self, plugin="wal2json"):
        self.server = self.rig()
        self.sidecar = self.server.sidecar(**{"replication.plugin": plugin, "feed.heartbeat": "1s"}).start_ready()
        self.commit(self.server, "before")
        self.consumer = self.server.stops(Consumer(self.sidecar.feed).start())
        self.wait_for_all()
        wait_until(lambda: self.sidecar.status()["slot"]["active"], "the watch", context=self.sidecar.log_tail)

    def wait_for_all(self):
        expected = {row[0] for row in self.server.execute("SELECT id FROM operations")}
        wait_until(lambda: self.consumer.ids >= expected, "everything in the table", context=self.sidecar.log_tail)

    def assert_healed(self):
        self.commit(self.server, "after")
        self.wait_for_all()
        self.assertEqual([json.loads(gap)["code"] for gap in self.consumer.gaps], ["history_recovered"])
        ids = [delivery.id for delivery in self.consumer.deliveries]
        self.assertEqual(len(ids), len(set(ids)))

    def rename(self, plugin):
        self.begin(plugin)
        self.server.execute("ALTER TABLE operations RENAME TO elsewhere")
        self.sidecar.wait_log("operations does not exist")
        self.server.execute(INSERT.replace("INTO operations", "INTO elsewhere"), "hidden", 10, 10)
        self.assertEqual(self.sidecar.status()["state"], "connecting")
        self.server.execute("ALTER TABLE elsewhere RENAME TO operations")
        self.assert_healed()

    def test_W12_renamed_wal2json(self):
        self.rename("wal2json")

    def test_W12_renamed_pgoutput(self):
        self.rename("pgoutput")

    def test_W12_another_one_in_its_place(self):
        self.begin()
        self.server.execute("CREATE TABLE fresh (LIKE operations INCLUDING ALL)")
        self.server.execute(INSERT.replace("INTO operations", "INTO fresh"), "hidden", 10, 10)
        self.server.execute("BEGIN; ALTER TABLE operations RENAME TO old; ALTER TABLE fresh RENAME TO operations; COMMIT")
        self.sidecar.wait_log("another one than before")
        self.assert_healed()

    def test_W12_renamed_while_no_sidecar_ran(self):
        self.begin()
        self.sidecar.kill()
        self.server.execute("ALTER TABLE operations RENAME TO elsewhere")
        self.server.execute(INSERT.replace("INTO operations", "INTO elsewhere"), "hidden", 10, 10)
        self.server.execute("ALTER TABLE elsewhere RENAME TO operations")
        self.sidecar.start()
        self.assert_healed()
        self.sidecar.terminate()
        self.sidecar.start_ready()
        self.commit(self.server, "later")
        self.wait_for_all()
        self.assertEqual(len(self.consumer.gaps), 1, "it is not suspected again")

    def moment(self):
        """Not logged in one transaction, which no look from beside can see."""
        self.server.execute("BEGIN; ALTER TABLE operations SET UNLOGGED; " + INSERT + "; ALTER TABLE operations SET LOGGED; COMMIT",
                            "hidden", 10, 10)

    def test_W12_not_logged_for_a_moment(self):
        self.begin()
        self.moment()
        self.commit(self.server, "next")
        wait_until(lambda: self.consumer.has("next-10"), "the stream to go on", context=self.sidecar.log_tail)
        self.assert_healed()

    def test_W12_killed_before_it_was_noticed(self):
        self.begin()
        self.sidecar.pause()
        self.moment()
        self.sidecar.kill()
        self.sidecar.start()
        self.assert_healed()

    def test_W12_altered_and_nothing_is_missing(self):
        """It looks the same, but for the table: no gap."""
        self.begin()
        self.server.execute("ALTER TABLE operations ADD COLUMN note text")
        self.sidecar.wait_log("missing are taken from the table operations=0", times=2)
        self.commit(self.server, "after")
        self.wait_for_all()
        self.assertEqual(self.consumer.gaps, [])
        self.assertEqual(self.sidecar.metrics()["syncflow_source_history_losses_total"], 0)

    def test_W12_not_logged_for_a_while(self):
        self.begin()
        self.server.execute("ALTER TABLE operations SET UNLOGGED")
        self.sidecar.wait_log("is not logged")
        self.commit(self.server, "hidden")
        self.server.execute("ALTER TABLE operations SET LOGGED")
        self.assert_healed()


class Wal(Case):
    def test_S3_alarm_before_the_slot_is_lost(self):
        """Somebody holds the slot and confirms nothing."""
        server = self.rig(settings={"max_slot_wal_keep_size": "'64MB'"})
        sidecar = server.sidecar().start_ready()
        sidecar.terminate()
        other = psycopg2.connect(server.server.url, connection_factory=psycopg2.extras.LogicalReplicationConnection)
        self.addCleanup(other.close)
        other.cursor().start_replication(slot_name=sidecar.slot)
        sidecar.start()

        def endangered():
            self.commit(server, f"more{server.execute('SELECT count(*) FROM operations')[0][0]}", rows=1000, size=2000)
            server.execute("SELECT pg_switch_wal()")
            return sidecar.get("/livez")[0] == 200 and sidecar.status()["slot"]["endangered"]
        wait_until(endangered, "the alarm", context=sidecar.log_tail)
        self.assert_sentence(sidecar, "about to give the slot up", "max_slot_wal_keep_size")
        self.assertGreater(sidecar.metrics()[f'syncflow_slot_retained_wal_bytes{{slot="{sidecar.slot}"}}'], 16 << 20)
        other.close()
        sidecar.wait_log("the slot is out of danger")

    def test_what_nobody_can_be_asked_is_not_told(self):
        """A gauge that stood still would look like a slot in good health."""
        server = self.rig()
        sidecar = server.sidecar().start_ready()
        server.wait_slot(sidecar.slot)
        gauges = {f'syncflow_slot_{name}{{slot="{sidecar.slot}"}}' for name in ("retained_wal_bytes", "active")}
        wait_until(lambda: gauges <= sidecar.metrics().keys(), "a look at the slot", context=sidecar.log_tail)
        server.server.stop("immediate")
        wait_until(lambda: not gauges & sidecar.metrics().keys(), "the gauges to go", context=sidecar.log_tail)
        server.server.start()
        wait_until(lambda: gauges <= sidecar.metrics().keys(), "the gauges to be back", context=sidecar.log_tail)

    def test_S8_giant_transaction_of_another_table(self):
        """wal2json sends nothing while it filters; only a timer of our own keeps the stream."""
        server = self.rig(settings={"wal_sender_timeout": "'1s'"})
        sidecar = server.sidecar().start_ready()
        server.wait_slot(sidecar.slot)

        def connects():
            return sidecar.metrics()['syncflow_source_connects_total{result="ok"}']
        wait_until(lambda: connects() == 1, "the stream")
        server.execute("CREATE TABLE noise AS SELECT n FROM generate_series(1, 1) n")
        server.execute("INSERT INTO noise SELECT n FROM generate_series(1, 1500000) n")
        self.commit(server, "behind")
        self.assert_delivers(server, sidecar, ["behind"])
        self.assertEqual(connects(), 1)

    def test_P15_traffic_of_another_database_is_not_kept(self):
        """Keepalives alone do it, where the role may not write heartbeats."""
        server = self.rig()
        server.sidecar().start_ready().terminate()
        server.execute("REVOKE EXECUTE ON FUNCTION pg_logical_emit_message(boolean, text, text) FROM PUBLIC")
        server.execute("CREATE ROLE reader LOGIN REPLICATION")
        server.execute("GRANT SELECT ON operations, documents TO reader")
        sidecar = server.sidecar("reader", **{"postgres.url": server.server.url.replace("postgres@", "reader@"), "postgres.initialize": False})
        sidecar.start_ready()
        server.wait_slot(sidecar.slot)
        server.execute("CREATE DATABASE elsewhere")
        elsewhere = psycopg2.connect(server.server.url, dbname="elsewhere")
        self.addCleanup(elsewhere.close)
        elsewhere.autocommit = True
        cursor = elsewhere.cursor()
        cursor.execute("CREATE TABLE noise AS SELECT repeat('x', 1000) FROM generate_series(1, 50000)")
        end = server.execute("SELECT pg_current_wal_lsn()")[0][0]

        def released():
            cursor.execute("CHECKPOINT")
            return server.execute("SELECT restart_lsn >= %s FROM pg_replication_slots WHERE slot_name = %s", end, sidecar.slot)[0][0]
        wait_until(released, "the slot to let go", every=0.5, context=sidecar.log_tail)
        self.assertEqual(sidecar.metrics()["syncflow_heartbeat_roundtrip_seconds_count"], 0)


if __name__ == "__main__":
    unittest.main()
