"""The listener SyncFlow's users have today: LISTEN operation_inserted, come back after a
disconnect.

What is committed while it is away, it never hears of: PostgreSQL keeps no notification for a
listener that is not there.
"""

import json
import select
import threading

import psycopg2

CHANNEL = "operation_inserted"


class Listener:
    """`backoff`: seconds before it comes back, as a client library would wait."""

    def __init__(self, url, backoff=1.0):
        self.url = url
        self.backoff = backoff
        self.heard = set()  # operation ids
        self.connections = 0
        self.backend = None  # process id of the server's side while it listens
        self.stopping = threading.Event()
        self.thread = threading.Thread(target=self._run, daemon=True)

    def start(self):
        self.thread.start()
        return self

    def stop(self):
        self.stopping.set()
        if self.thread.ident:
            self.thread.join()

    def _run(self):
        while not self.stopping.is_set():
            try:
                self._listen_once()
            except psycopg2.Error:
                self.backend = None
                self.stopping.wait(self.backoff)

    def _listen_once(self):
        connection = psycopg2.connect(self.url, connect_timeout=10)
        try:
            connection.autocommit = True
            with connection.cursor() as cursor:
                cursor.execute(f"LISTEN {CHANNEL}")
            self.connections += 1
            self.backend = connection.info.backend_pid
            while not self.stopping.is_set():
                select.select([connection], [], [], 0.1)
                connection.poll()
                self._take(connection.notifies)
        finally:
            connection.close()

    def _take(self, notifications):
        while notifications:
            self.heard.add(json.loads(notifications.pop(0).payload)["id"])
