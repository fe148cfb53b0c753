"""The replication slot is not the sidecar's to read."""

import unittest

import psycopg2
import psycopg2.extras

from case import Case
from consumer import Consumer
from waiting import wait_until


class Slot(Case):
    def setUp(self):
        self.server = self.rig()

    def test_P26_of_another_plugin(self):
        sidecar = self.server.sidecar()
        self.server.execute(
            "SELECT pg_create_logical_replication_slot(%s, 'test_decoding')", sidecar.slot
        )
        sidecar.start()
        self.assert_retries(
            sidecar, "plugin test_decoding", "replication.slot.*pg_drop_replication_slot"
        )
        self.server.execute("SELECT pg_drop_replication_slot(%s)", sidecar.slot)
        sidecar.wait_ready()
        self.commit(self.server, "after")
        self.assert_delivers(self.server, sidecar, ["after"])

    def test_O1_without_its_publication(self):
        """Nothing is created where the settings forbid it; the sentence has the statement."""
        self.server.sidecar("schema").start_ready().terminate()
        sidecar = self.server.sidecar(
            **{"replication.plugin": "pgoutput", "postgres.initialize": False}
        ).start()
        self.assert_retries(sidecar, "'syncflow_sidecar' does not exist", "CREATE PUBLICATION")
        self.assertEqual(self.server.execute("SELECT count(*) FROM pg_replication_slots")[0][0], 1)
        self.server.execute(
            "CREATE PUBLICATION syncflow_sidecar FOR TABLE ONLY public.operations"
            " WITH (publish = 'insert')"
        )
        sidecar.wait_ready()
        self.commit(self.server, "after")
        self.assert_delivers(self.server, sidecar, ["after"])

    def test_O5_that_lost_its_publication(self):
        """What was written meanwhile is never sent: it comes from the table."""
        sidecar = self.server.sidecar(**{"replication.plugin": "pgoutput"}).start_ready()
        self.commit(self.server, "before")
        self.assert_delivers(self.server, sidecar, ["before"])
        sidecar.terminate()
        self.server.execute("ALTER PUBLICATION syncflow_sidecar DROP TABLE operations")
        sidecar.start()
        self.assert_retries(sidecar, "does not contain the table", "ADD TABLE ONLY")
        self.commit(self.server, "meanwhile")
        self.server.execute("ALTER PUBLICATION syncflow_sidecar ADD TABLE ONLY operations")
        self.commit(self.server, "after")
        sidecar.wait_log("publication .* is younger than the position")
        self.assert_has_all(sidecar)

    def test_O6_that_loses_its_publication_for_a_moment(self):
        """The same while it streams; nobody reports an error."""
        sidecar = self.server.sidecar(**{"replication.plugin": "pgoutput"}).start_ready()
        self.commit(self.server, "before")
        self.assert_delivers(self.server, sidecar, ["before"])
        wait_until(lambda: sidecar.status()["slot"]["active"], "the watch", context=sidecar.log_tail)
        self.server.execute("ALTER PUBLICATION syncflow_sidecar DROP TABLE operations")
        self.commit(self.server, "meanwhile")
        self.server.execute("ALTER PUBLICATION syncflow_sidecar ADD TABLE ONLY operations")
        self.commit(self.server, "after")
        self.assert_has_all(sidecar)

    def assert_has_all(self, sidecar):
        consumer = self.server.stops(Consumer(sidecar.feed).start())
        expected = {row[0] for row in self.server.execute("SELECT id FROM operations")}
        wait_until(lambda: consumer.ids >= expected, "everything", context=sidecar.log_tail)
        self.assertEqual(len(consumer.deliveries), len(expected))
        self.assertEqual(len(consumer.gaps), 1)

    def test_P26_of_another_database(self):
        sidecar = self.server.sidecar()
        self.server.execute("CREATE DATABASE elsewhere")
        elsewhere = psycopg2.connect(self.server.server.url, dbname="elsewhere")
        self.addCleanup(elsewhere.close)
        elsewhere.autocommit = True
        elsewhere.cursor().execute(
            "SELECT pg_create_logical_replication_slot(%s, 'wal2json')", (sidecar.slot,)
        )
        sidecar.start()
        self.assert_retries(
            sidecar, "database 'elsewhere'", "replication.slot.*pg_drop_replication_slot"
        )

    def test_P22_in_use(self):
        """Another receiver holds it and confirms nothing: everything is still there afterwards."""
        sidecar = self.server.sidecar().start_ready()
        self.commit(self.server, "before")
        self.assert_delivers(self.server, sidecar, ["before"])
        sidecar.terminate()
        receiver = psycopg2.extras.LogicalReplicationConnection
        other = psycopg2.connect(self.server.server.url, connection_factory=receiver)
        self.addCleanup(other.close)
        other.cursor().start_replication(slot_name=sidecar.slot)
        sidecar.start()
        self.assert_sentence(sidecar, f"{sidecar.slot}.*is active for PID", "standing by")
        self.assertEqual(sidecar.status()["state"], "standby")
        self.commit(self.server, "meanwhile")
        other.close()
        self.assert_delivers(self.server, sidecar, ["before", "meanwhile"])


if __name__ == "__main__":
    unittest.main()
