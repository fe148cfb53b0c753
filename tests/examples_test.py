#!/usr/bin/python3
"""What the README tells people to do, done: its SQL, its configuration, every way of reading the feed."""

import json
import os
import re
import subprocess
import sys
import tempfile
import threading
import unittest

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(HERE)
sys.path[:0] = [os.path.join(HERE, "blackbox"), os.path.join(HERE, "support")]

from rig import Rig  # noqa: E402
from sidecar import default_program  # noqa: E402
from waiting import wait_until  # noqa: E402

PROGRAM = os.path.abspath(default_program())
# Line ends of Unicode inside a string are no line ends of the feed.
TITLE = "quo\"te, \u00fc, \u2028, \u2029, \u0085, \r\n, \U0001f600"


def blocks(heading, language):
    """The fenced blocks of a README section."""
    with open(os.path.join(ROOT, "README.md"), encoding="utf-8") as file:
        section = re.search(rf"^## {heading}\n(.*?)(?=^## |\Z)", file.read(), re.DOTALL | re.MULTILINE).group(1)
    return re.findall(rf"^```{language}\n(.*?)^```$", section, re.DOTALL | re.MULTILINE)


def ways_to_read():
    return blocks("Reading the feed", "sh")[0].splitlines()


class Reader:
    """A command of the README, with this test's port and program in place of the usual ones."""

    def __init__(self, command, port):
        self.command = command.replace("7433", str(port)).replace("build/release/syncflow-sidecar", PROGRAM)
        self.text = ""

    def __enter__(self):
        self.process = subprocess.Popen(["setpriv", "--pdeathsig=TERM", "bash", "-c", self.command], cwd=ROOT,
                                        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, start_new_session=True)
        self.thread = threading.Thread(target=self._read, daemon=True)
        self.thread.start()
        return self

    def __exit__(self, *_):
        os.killpg(self.process.pid, 15)
        self.process.wait()
        self.thread.join()
        self.process.stdout.close()

    def _read(self):
        for line in self.process.stdout:
            self.text += line.decode()

    def operations(self):
        """Complete lines that hold an operation, whether bare or in a line of the feed."""
        lines = [json.loads(line) for line in self.text.split("\n")[:-1]]
        return [line.get("op", line) for line in lines if line.get("type") not in ("hello", "live", "heartbeat", "error", "bye")]

    def ids(self):
        return [operation["id"] for operation in self.operations()]


class ReadingTheFeed(unittest.TestCase):
    def setUp(self):
        self.rig = self.enterContext(Rig(PROGRAM))
        self.sidecar = self.rig.sidecar().start_ready()
        self.written = 0

    def insert(self):
        self.written += 1
        self.rig.execute(
            "INSERT INTO operations (id, type, collection, doc_id, data, timestamp, client_id, vector_clock) "
            "VALUES (%s, 'insert', 'todos', 'doc-1', %s, 1700000000000, 'client-1', '{\"client-1\": 1}')",
            f"op-{self.written}", json.dumps({"title": TITLE}))
        return f"op-{self.written}"

    def wait_for(self, reader, condition, what):
        def met():
            self.assertTrue(self.sidecar.running(), self.sidecar.log_tail())
            return condition()
        wait_until(met, f"{what} from '{reader.command}'", every=0.1,
                   context=lambda: reader.text[-2000:] + self.sidecar.log_tail())

    def reader(self, command):
        """Connected: has printed an operation that was written after it was started."""
        reader = self.enterContext(Reader(command, self.sidecar.feed[1]))
        self.wait_for(reader, lambda: self.insert() and reader.ids(), "something")
        return reader

    def expect(self, reader, ids):
        self.wait_for(reader, lambda: ids[-1] in reader.ids(), ids[-1])
        got = reader.ids()
        self.assertEqual(ids, got[got.index(ids[0]):])
        self.assertEqual({TITLE}, {operation["data"]["title"] for operation in reader.operations()})

    def test_every_way_prints_every_operation(self):
        for command in ways_to_read():
            with self.subTest(command):
                self.expect(self.reader(command), [self.insert() for _ in range(5)])

    def test_programs_go_on_where_they_were_when_the_sidecar_is_killed(self):
        commands = [command for command in ways_to_read() if not command.startswith("nc ")]
        readers = [self.reader(command) for command in commands]
        first = self.insert()
        for reader in readers:
            self.expect(reader, [first])
        self.sidecar.kill()
        missed = [self.insert() for _ in range(5)]
        self.sidecar.start_ready()
        for reader in readers:
            self.expect(reader, [first, *missed])


class SettingUp(unittest.TestCase):
    def test_the_configuration_is_valid(self):
        with tempfile.NamedTemporaryFile("w", suffix=".yaml") as file:
            file.write(blocks("Configuration", "yaml")[0])
            file.flush()
            done = subprocess.run([PROGRAM, "check-config", file.name], capture_output=True, text=True, check=False,
                                  env={**os.environ, "DATABASE_URL": "postgresql://sidecar@127.0.0.1/postgres"})
        self.assertEqual(0, done.returncode, done.stderr)

    def test_the_statements_are_all_that_postgresql_needs(self):
        with Rig(PROGRAM, settings={"wal_level": "replica"}, allow_wal2json=False) as rig:
            for statement in blocks("What PostgreSQL needs", "sql")[0].splitlines():
                if "output_plugin_libraries" not in statement or rig.server.knows_plugin_list():
                    rig.execute(statement)
            rig.server.stop()
            rig.server.start()
            subprocess.run([PROGRAM, "init", "--url", rig.server.url], check=True, capture_output=True)
            rig.sidecar(**{"postgres.url": rig.server.url.replace("postgres@", "sidecar@")}).start_ready()


if __name__ == "__main__":
    unittest.main()
