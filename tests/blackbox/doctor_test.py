"""doctor: what is wrong with a PostgreSQL is named with its remedy, and the remedy, done, mends it."""

import json
import re
import subprocess
import unittest

from case import Case


class Doctor(Case):
    def setUp(self):
        self.server = self.rig()
        self.sidecar = self.server.sidecar(**{"replication.plugin": "auto"})

    def initialize(self):
        """SyncFlow's tables and the printed roles, as an administrator makes them."""
        printed = subprocess.run(
            [self.sidecar.program, "init", "--url", self.server.server.url, "--print-sql"],
            check=True, capture_output=True, text=True,
        ).stdout
        self.server.execute(printed)

    def run_doctor(self, *words):
        command = [self.sidecar.program, "doctor", "--config", self.sidecar.config, *words]
        return subprocess.run(command, check=False, capture_output=True, text=True)

    def findings(self):
        """check -> (severity, sentence, remedy) of the worst."""
        answer = self.run_doctor("--json")
        report = json.loads(answer.stdout)
        self.assertEqual(answer.returncode, 0 if report["ok"] else 1, answer.stderr)
        order = ["ok", "warning", "error"]
        worst = {}
        for finding in report["findings"]:
            old = worst.get(finding["check"])
            if old is None or order.index(old[0]) < order.index(finding["severity"]):
                worst[finding["check"]] = (finding["severity"], finding["sentence"], finding["remedy"])
        return worst

    def assert_found(self, check, severity, sentence, remedy):
        found = self.findings()[check]
        self.assertEqual(found[0], severity, found)
        self.assertRegex(found[1], sentence)
        self.assertRegex(found[2], remedy)
        return found[2]

    def assert_mended_by_remedy(self, check, severity, sentence, remedy):
        """The remedy is the exact SQL."""
        self.server.execute(self.assert_found(check, severity, sentence, remedy))
        self.assertEqual(self.findings()[check][0], "ok")

    def as_role(self, role):
        self.sidecar.configure(**{"postgres.url": self.server.server.url.replace("postgres@", f"{role}@")})

    # ---- what is right ----

    def test_printed_roles_are_enough(self):
        self.initialize()
        self.initialize()
        self.as_role("syncflow_stream")
        self.server.execute("ALTER SYSTEM SET max_slot_wal_keep_size = '1GB'")
        self.server.server.reload()
        known_bugs = set() if self.server.server.knows_plugin_list() else {"version"}
        self.assertEqual({check for check, found in self.findings().items() if found[0] != "ok"}, known_bugs)
        self.sidecar.start_ready()
        self.commit(self.server, "one")
        self.assert_delivers(self.server, self.sidecar, ["one"])
        found = self.findings()
        self.assertRegex(found["slot"][1], "of wal2json is read by process")
        self.server.execute("CREATE ROLE cleaner LOGIN IN ROLE syncflow_compact")
        url = self.server.server.url.replace("postgres@", "cleaner@")
        command = [self.sidecar.program, "compact", "--url", url, "--older-than", "1ms", "--share-max", "1"]
        self.assertEqual(subprocess.run(command, check=False, capture_output=True).returncode, 0)
        self.assertEqual(self.server.execute("SELECT count(*) FROM operations")[0][0], 0)

    def test_role_that_may_not_delete_what_jobs_shall(self):
        self.initialize()
        self.as_role("syncflow_stream")
        self.assertNotIn("compaction", self.findings(), "without jobs it need not")
        self.sidecar.configure(**{"compaction.jobs": [{"name": "a", "every": "1h", "older_than": "9d"}]})
        self.assert_mended_by_remedy("compaction", "warning", "may not delete from .*operations.*compaction.jobs fail", "GRANT DELETE, UPDATE")

    def test_index_that_clients_with_a_clock_need(self):
        self.initialize()
        self.assertNotIn("late_operations", self.findings(), "without the sync API nobody needs it")
        self.sidecar.configure(**{"sync_api.listen": "127.0.0.1:3000"})
        self.assert_mended_by_remedy("late_operations", "warning", "whole table read with every request", "CREATE INDEX CONCURRENTLY")

    def test_text_for_people(self):
        self.initialize()
        answer = self.run_doctor()
        self.assertEqual(answer.returncode, 0, answer.stdout + answer.stderr)
        self.assertRegex(answer.stdout, r"(?m)^ok +wal_level +wal_level is logical$")
        self.assertRegex(answer.stdout, r"(?m)^warning +role .* superuser.*\n +-> syncflow-sidecar init --print-sql")

    # ---- what is wrong ----

    def test_table(self):
        self.assert_found("table", "error", "does not exist", "syncflow-sidecar init")
        self.initialize()
        self.server.execute("ALTER TABLE operations SET UNLOGGED")
        self.assert_mended_by_remedy("table", "error", "not logged", "SET LOGGED")
        self.server.execute("CREATE TABLE child () INHERITS (operations)")
        self.assert_found("table", "warning", "inherit", "insert into")
        self.server.execute("DROP TABLE child; ALTER TABLE operations RENAME TO elsewhere")
        self.assert_found("table", "error", "does not exist", "postgres.schema")

    def test_role(self):
        self.initialize()
        self.server.execute("CREATE ROLE nobody LOGIN")
        self.as_role("nobody")
        self.server.execute(self.assert_found("role", "error", "may not read", "GRANT SELECT"))
        self.server.execute(self.assert_found("role", "error", "may not stream", "ALTER ROLE .*nobody.* REPLICATION"))
        self.assert_mended_by_remedy("role", "warning", "no consumer can begin with a snapshot", "GRANT SELECT")
        self.server.execute("ALTER TABLE documents ENABLE ROW LEVEL SECURITY")
        self.assert_found("role", "warning", "row security hides rows of .*documents", "BYPASSRLS")
        self.server.execute("ALTER TABLE documents DISABLE ROW LEVEL SECURITY")
        self.server.execute("ALTER TABLE operations ENABLE ROW LEVEL SECURITY")
        self.assert_mended_by_remedy("table", "error", "row security", "BYPASSRLS")

    def test_plugin_that_is_not_allowed(self):
        self.initialize()
        if not self.server.server.knows_plugin_list():
            self.skipTest("this server has no output_plugin_libraries")
        self.server.server.set("output_plugin_libraries", "'pgoutput'")
        self.server.server.reload()
        self.assert_found("plugin", "warning", "pgoutput will be", "output_plugin_libraries")
        self.assertIn("first start creates it", self.findings()["publication"][1])
        self.sidecar.configure(**{"replication.plugin": "wal2json"})
        self.assert_found("plugin", "error", "may not be used", "ALTER SYSTEM SET output_plugin_libraries")

    def test_slot(self):
        self.initialize()
        self.server.execute("SELECT pg_create_logical_replication_slot(%s, 'test_decoding')", self.sidecar.slot)
        self.assert_found("slot", "error", "plugin test_decoding", "pg_drop_replication_slot")

    def test_publication(self):
        self.initialize()
        self.sidecar.configure(**{"replication.plugin": "pgoutput", "postgres.initialize": False})
        remedy = self.assert_found("publication", "error", "does not exist", "CREATE PUBLICATION")
        self.server.execute(re.match("[^;]*", remedy)[0])
        self.assertEqual(self.findings()["publication"][0], "ok")

    def test_settings(self):
        self.initialize()
        for check, setting, value, sentence in [
            ("wal_kept", "max_slot_wal_keep_size", "-1", "unlimited"),
            ("sender_timeout", "wal_sender_timeout", "0", "is off"),
            ("sender_timeout", "wal_sender_timeout", "2000", "moment's pause"),
        ]:
            self.server.server.set(setting, value)
            self.server.server.reload()
            self.assert_found(check, "warning", sentence, f"ALTER SYSTEM SET {setting}")

    def test_encoding(self):
        self.server.execute("CREATE DATABASE ascii ENCODING 'SQL_ASCII' LOCALE 'C' TEMPLATE template0")
        self.sidecar.configure(**{"postgres.url": re.sub("/postgres$", "/ascii", self.server.server.url)})
        self.assert_found("encoding", "error", "encoded in SQL_ASCII", "ENCODING 'UTF8'")

    def test_nobody_there(self):
        self.server.server.stop()
        answer = self.run_doctor()
        self.assertEqual(answer.returncode, 1)
        self.assertRegex(answer.stdout, "^error +connection +cannot connect")


class Exhausted(Case):
    def test_levels_and_limits(self):
        server = self.rig(settings={"max_replication_slots": "1", "max_wal_senders": "1"})
        sidecar = server.sidecar(**{"replication.plugin": "auto"})
        server.execute("SELECT pg_create_physical_replication_slot('other')")
        answer = subprocess.run([sidecar.program, "doctor", "--config", sidecar.config], check=False, capture_output=True, text=True)
        self.assertEqual(answer.returncode, 1)
        self.assertRegex(answer.stdout, r"error +slots_left +1 of 1 .*\n +-> ALTER SYSTEM SET max_replication_slots = 6")

    def test_wal_level(self):
        server = self.rig(settings={"wal_level": "replica"})
        sidecar = server.sidecar(**{"replication.plugin": "auto"})
        answer = subprocess.run([sidecar.program, "doctor", "--config", sidecar.config], check=False, capture_output=True, text=True)
        self.assertEqual(answer.returncode, 1)
        self.assertRegex(answer.stdout, r"error +wal_level .*\n +-> ALTER SYSTEM SET wal_level = logical")


if __name__ == "__main__":
    unittest.main()
