"""PgBouncer in front of a server, as its packages set it up: it knows nothing of replication."""

import os
import socket
import subprocess
import time

from postgres import free_port
from waiting import wait_until


class Pooler:
    def __init__(self, server):
        self.server = server
        self.port = free_port()
        self.path = os.path.join(server.directory, "pgbouncer.ini")
        self.process = None

    @property
    def url(self):
        return f"postgresql://postgres@127.0.0.1:{self.port}/postgres"

    def start(self):
        with open(self.path, "w", encoding="utf-8") as file:
            file.write(f"[databases]\npostgres = host=127.0.0.1 port={self.server.port} user=postgres\n"
                       f"[pgbouncer]\nlisten_addr = 127.0.0.1\nlisten_port = {self.port}\nunix_socket_dir =\n"
                       "auth_type = any\npool_mode = transaction\n")
        self.process = subprocess.Popen(self.server.as_user("/usr/sbin/pgbouncer", "-q", self.path))
        wait_until(self._answers, "PgBouncer")
        return self

    def stop(self):
        self.process.terminate()
        self.process.wait()

    def _answers(self):
        if self.process.poll() is not None:
            raise RuntimeError(f"PgBouncer ended with {self.process.returncode}")
        try:
            socket.create_connection(("127.0.0.1", self.port), timeout=1).close()
            return True
        except OSError:
            time.sleep(0.05)
            return False
