"""PostgreSQL is away, or not as it must be: the sidecar says so, tries again, and recovers by
itself."""

import os
import re
import shutil
import subprocess
import tempfile
import unittest

from case import Case
from pooler import Pooler


class Server(Case):
    def assert_recovers(self, rig, sidecar):
        sidecar.wait_ready()
        self.commit(rig, "after")
        self.assert_delivers(rig, sidecar, ["after"])

    def test_unreachable(self):
        rig = self.rig()
        rig.server.stop()
        sidecar = rig.sidecar().start()
        self.assert_retries(sidecar, r"127\.0\.0\.1.*refused", "postgres.url|running")
        self.assertEqual(sidecar.get("/readyz")[0], 503)
        rig.server.start()
        self.assert_recovers(rig, sidecar)

    def test_unreachable_is_said_once_an_attempt(self):
        rig = self.rig()
        rig.server.stop()
        sidecar = rig.sidecar(**{"notify.watch": False}).start()
        for line in sidecar.wait_log("refused", times=3):
            self.assertIn("retry_ms", line)

    def test_wrong_password(self):
        """The file is read again at every attempt."""
        rig = self.rig(auth="scram-sha-256", password="right")
        password = os.path.join(rig.folder, "password")
        with open(password, "w", encoding="utf-8") as file:
            file.write("wrong-secret\n")
        url = rig.server.url.replace(":right@", "@")
        sidecar = rig.sidecar(**{"postgres.url": url, "postgres.password_file": password}).start()
        self.assert_retries(sidecar, "password authentication failed", "password_file|postgres.url")
        self.assertNotIn("wrong-secret", sidecar.log_text())
        with open(password, "w", encoding="utf-8") as file:
            file.write("right\n")
        self.assert_recovers(rig, sidecar)

    def test_password_in_the_url_is_never_shown(self):
        rig = self.rig(auth="scram-sha-256", password="right")
        url = rig.server.url.replace(":right@", ":wrong-secret@")
        sidecar = rig.sidecar(**{"postgres.url": url}).start()
        self.assert_retries(sidecar, "password authentication failed", "password")
        shown = sidecar.log_text() + sidecar.get("/status")[1] + sidecar.get("/metrics")[1]
        self.assertNotIn("wrong-secret", shown)

    def test_S29_pooler_in_between(self):
        rig = self.rig()
        pooler = rig.stops(Pooler(rig.server).start())
        sidecar = rig.sidecar(**{"postgres.url": pooler.url}).start()
        self.assert_retries(sidecar, "unsupported startup parameter", "let postgres.url name PostgreSQL itself")
        sidecar.terminate()
        sidecar.configure(**{"postgres.url": rig.server.url})
        sidecar.start()
        self.assert_recovers(rig, sidecar)

    def test_wal_level_replica(self):
        rig = self.rig(settings={"wal_level": "replica"})
        sidecar = rig.sidecar().start()
        self.assert_retries(sidecar, "wal_level", "ALTER SYSTEM SET wal_level = logical")
        rig.server.set("wal_level", "logical")
        rig.server.stop()
        rig.server.start()
        self.assert_recovers(rig, sidecar)

    def test_missing_wal2json(self):
        """As if it were not installed: the server looks for plugins elsewhere."""
        rig = self.rig(settings={"dynamic_library_path": "'/nowhere'"})
        sidecar = rig.sidecar().start()
        self.assert_retries(sidecar, "wal2json", "install|apt")
        rig.server.set("dynamic_library_path", "'$libdir'")
        rig.server.reload()
        self.assert_recovers(rig, sidecar)

    def test_missing_wal2json_is_done_without_where_the_plugin_is_left_open(self):
        """The server finds pgoutput and nothing else."""
        plugins = self.enterContext(tempfile.TemporaryDirectory())
        os.chmod(plugins, 0o755)
        rig = self.rig()
        library = os.path.join(rig.server.bin, "..", "lib", "pgoutput.so")
        os.symlink(library, os.path.join(plugins, "pgoutput.so"))
        rig.server.set("dynamic_library_path", f"'{plugins}'")
        rig.server.reload()
        sidecar = rig.sidecar(**{"replication.plugin": "auto"}).start()
        self.assert_recovers(rig, sidecar)
        sidecar.wait_log("wal2json cannot be used.*pgoutput.*could not access")


class Encrypted(Case):
    """The server's certificate is signed by an authority of our own."""

    def openssl(self, *words):
        subprocess.run(["openssl", *words], check=True, capture_output=True)

    def sign(self, rig, authority):
        """What the server shows from its next reload on; the authority's certificate."""
        path = os.path.join(rig.folder, authority)
        self.openssl("req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", path + ".key", "-out", path + ".crt", "-subj", f"/CN={authority}",
                     "-days", "2")
        server = os.path.join(rig.server.data, "server")
        self.openssl("req", "-newkey", "rsa:2048", "-nodes", "-keyout", server + ".key", "-out", server + ".csr", "-subj", "/CN=server")
        with open(server + ".ext", "w", encoding="utf-8") as file:
            file.write("subjectAltName=IP:127.0.0.1\n")
        self.openssl("x509", "-req", "-in", server + ".csr", "-CA", path + ".crt", "-CAkey", path + ".key", "-CAcreateserial", "-out",
                     server + ".crt", "-days", "2", "-extfile", server + ".ext")
        for ending in (".key", ".crt"):
            shutil.chown(server + ending, rig.server.user)
        os.chmod(server + ".key", 0o600)
        return path + ".crt"

    def begin(self):
        self.server = self.rig()
        trusted = os.path.join(self.server.folder, "trusted.crt")
        shutil.copy(self.sign(self.server, "one"), trusted)
        self.server.server.set("ssl", "on")
        self.server.server.stop()
        self.server.server.start()
        url = f"{self.server.server.url}?sslmode=verify-full&sslrootcert={trusted}"
        self.sidecar = self.server.sidecar(**{"postgres.url": url}).start_ready()
        self.server.wait_slot(self.sidecar.slot)
        return trusted

    def test_S11_small_bursts(self):
        """What TLS has already taken from the socket makes no descriptor readable."""
        self.begin()
        encrypted = "SELECT ssl FROM pg_stat_ssl JOIN pg_stat_replication USING (pid)"
        self.assertEqual(self.server.execute(encrypted), [(True,)])
        for number in range(100):
            self.commit(self.server, f"burst{number}", rows=1 + number % 7, size=2 ** (number % 14))
        self.assert_delivers(self.server, self.sidecar, [f"burst{number}" for number in range(100)])

    def test_S11_backlog_of_small_transactions(self):
        """Each reading brings one message, and none of them may be waited for: a backlog would not come to its end."""
        self.begin()
        self.sidecar.terminate()
        self.server.execute("DO $$ BEGIN FOR n IN 1..60000 LOOP"
                            " INSERT INTO operations (id, type, collection, doc_id, data, timestamp, client_id, vector_clock)"
                            " VALUES ('backlog-' || n, 'insert', 'todos', 'doc', jsonb_build_object('text', repeat('x', 150)), n, 'c', '{}');"
                            " COMMIT; END LOOP; END $$")
        self.sidecar.start_ready()
        self.assert_delivers(self.server, self.sidecar, ["backlog"])

    def test_S27_another_authority(self):
        """The file with the authority is read again at every connect, and nobody goes on without encryption."""
        trusted = self.begin()
        self.commit(self.server, "before")
        self.assert_delivers(self.server, self.sidecar, ["before"])
        other = self.sign(self.server, "two")
        self.server.server.stop()
        self.server.server.start()
        self.assert_retries(self.sidecar, "certificate verify failed", "sslrootcert")
        self.commit(self.server, "meanwhile")
        shutil.copy(other, trusted)
        self.assert_delivers(self.server, self.sidecar, ["before", "meanwhile"])


class RefusedPlugin(Case):
    """output_plugin_libraries, from PostgreSQL 15.19 and its siblings on."""

    REMEDY = "ALTER SYSTEM SET output_plugin_libraries = pgoutput, test_decoding, wal2json"

    def setUp(self):
        self.server = self.rig(allow_wal2json=False)
        if not self.server.server.knows_plugin_list():
            self.skipTest("this PostgreSQL has no output_plugin_libraries")

    def allow(self):
        self.server.execute(self.REMEDY)
        self.server.execute("SELECT pg_reload_conf()")

    def test_at_the_first_start(self):
        sidecar = self.server.sidecar().start()
        self.assert_retries(sidecar, "library .wal2json", re.escape(self.REMEDY))
        self.allow()
        sidecar.wait_ready()
        self.commit(self.server, "after")
        self.assert_delivers(self.server, sidecar, ["after"])

    def test_where_the_plugin_is_left_open(self):
        """pgoutput instead, with the reason; it stays when wal2json is allowed later."""
        sidecar = self.server.sidecar(**{"replication.plugin": "auto"}).start_ready()
        sidecar.wait_log("wal2json cannot be used.*pgoutput.*may not be used")
        self.commit(self.server, "before")
        self.allow()
        sidecar.terminate()
        self.commit(self.server, "meanwhile")
        sidecar.start_ready()
        self.assert_delivers(self.server, sidecar, ["before", "meanwhile"])

    def test_S22_since_an_upgrade(self):
        """The slot exists; what is committed while the plugin is refused comes afterwards."""
        self.allow()
        sidecar = self.server.sidecar().start_ready()
        self.commit(self.server, "before")
        self.server.execute("ALTER SYSTEM RESET output_plugin_libraries")
        self.server.server.stop()
        self.server.server.start()
        self.assert_retries(sidecar, "library .wal2json", re.escape(self.REMEDY))
        self.commit(self.server, "meanwhile")
        self.allow()
        self.assert_delivers(self.server, sidecar, ["before", "meanwhile"])


if __name__ == "__main__":
    unittest.main()
