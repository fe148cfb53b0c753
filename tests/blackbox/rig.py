"""A private PostgreSQL with sidecars around it, all taken away at the end, however it ends."""

import os
import shutil
import subprocess
import sys
import tempfile

import psycopg2

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "support"))
from postgres import PrivatePostgres  # noqa: E402
from sidecar import Sidecar, default_program  # noqa: E402
from waiting import undisturbed, wait_until  # noqa: E402


class Rig:
    def __init__(self, program=None, root=None, **postgres):
        """`root`: where the folders go, else the temporary one; `postgres`: see PrivatePostgres."""
        self.program = program
        self.folder = tempfile.mkdtemp(prefix="syncflow-rig-", dir=root)
        self.sidecars = []
        self.things = []  # to be stopped before the servers go
        try:
            self.server = PrivatePostgres(root=root, **postgres)
        except BaseException:
            shutil.rmtree(self.folder, ignore_errors=True)
            raise

    def __enter__(self):
        try:
            self.server.start()
        except BaseException:
            self._remove()
            raise
        return self

    def __exit__(self, kind, *_):
        failed = kind is not None and not issubclass(kind, (KeyboardInterrupt, SystemExit))
        with undisturbed():
            if failed:
                for sidecar in self.sidecars:
                    print(sidecar.log_tail(), file=sys.stderr)
            self._remove()

    def _remove(self):
        for thing in self.things:
            thing.stop()
        for sidecar in self.sidecars:
            sidecar.kill()
        self.server.remove()
        shutil.rmtree(self.folder, ignore_errors=True)

    def sidecar(self, name="sidecar", **settings):
        """Configured, not started."""
        url = settings.pop("postgres.url", self.server.url)
        sidecar = Sidecar(self.folder, url, self.program, name, **settings)
        self.sidecars.append(sidecar)
        return sidecar

    def stops(self, thing):
        """`thing` (writers, a consumer, …) is stopped when the rig goes."""
        self.things.append(thing)
        return thing

    def connect(self):
        connection = psycopg2.connect(self.server.url, connect_timeout=10)
        connection.autocommit = True
        return connection

    def execute(self, sql, *parameters):
        """Rows of one statement on a connection of its own."""
        connection = self.connect()
        try:
            with connection.cursor() as cursor:
                cursor.execute(sql, parameters or None)
                return cursor.fetchall() if cursor.description else None
        finally:
            connection.close()

    def stored_long_ago(self):
        """Before a sidecar starts: what the tests store from now on counts as stored long ago, so that it is old enough to go."""
        environment = {**os.environ, "DATABASE_URL": self.server.url}
        subprocess.run([self.program or default_program(), "init"], env=environment, check=True, capture_output=True, timeout=120)
        self.execute("ALTER TABLE operations ALTER received_at SET DEFAULT localtimestamp - interval '400 days'")

    def slot_fact(self, slot, column):
        rows = self.execute(f"SELECT {column} FROM pg_replication_slots WHERE slot_name = %s", slot)
        return rows[0][0] if rows else None

    def wait_slot(self, slot):
        wait_until(lambda: self.slot_fact(slot, "confirmed_flush_lsn"), f"slot {slot}")
