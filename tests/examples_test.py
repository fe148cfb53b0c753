#!/usr/bin/python3
"""What the README tells people to do, done: its SQL, its configuration, every way of reading the feed; and the examples."""

import contextlib
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
    """The commands of the README, and the programs that it shows."""
    return [*blocks("Reading the feed", "sh")[0].splitlines(),
            "python3 examples/python/short.py 127.0.0.1 7433", "node examples/node/short.mjs 127.0.0.1 7433"]


CLIENTS = ["python3 examples/python/consume.py 127.0.0.1:7433", "node examples/node/consume.mjs 127.0.0.1:7433"]
TAIL = "build/release/syncflow-sidecar tail 127.0.0.1:7433"


class Reader:
    """A command of the README, with this test's port and program in place of the usual ones."""

    def __init__(self, command, port):
        self.command = command.replace("7433", str(port)).replace("build/release/syncflow-sidecar", PROGRAM)
        self.text = ""
        self.errors = ""

    def __enter__(self):
        self.process = subprocess.Popen(["setpriv", "--pdeathsig=TERM", "bash", "-c", self.command], cwd=ROOT,
                                        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                                        start_new_session=True)
        self.threads = [threading.Thread(target=self._read, daemon=True), threading.Thread(target=self._read_errors, daemon=True)]
        for thread in self.threads:
            thread.start()
        return self

    def __exit__(self, *_):
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, 15)
        self._finish()

    def kill(self):
        os.killpg(self.process.pid, 9)
        self._finish()

    def _finish(self):
        self.process.wait()
        for thread in self.threads:
            thread.join()

    def _read(self):
        with self.process.stdout as lines:
            for line in lines:
                self.text += line.decode()

    def _read_errors(self):
        with self.process.stderr as lines:
            for line in lines:
                self.errors += line.decode()

    def operations(self):
        """Complete lines that hold an operation, whether bare or in a line of the feed."""
        lines = [json.loads(line) for line in self.text.split("\n")[:-1]]
        return [line.get("op", line) for line in lines if line.get("type") not in ("hello", "live", "heartbeat", "error", "bye", "gap")]

    def ids(self):
        return [operation["id"] for operation in self.operations()]


class WithASidecar(unittest.TestCase):
    settings = {}

    def setUp(self):
        self.rig = self.enterContext(Rig(PROGRAM))
        self.sidecar = self.rig.sidecar(**self.settings).start_ready()
        self.written = 0

    def insert(self, collection="todos"):
        self.written += 1
        self.rig.execute(
            "INSERT INTO operations (id, type, collection, doc_id, data, timestamp, client_id, vector_clock) "
            "VALUES (%s, 'insert', %s, 'doc-1', %s, 1700000000000, 'client-1', '{\"client-1\": 1}')",
            f"op-{self.written}", collection, json.dumps({"title": TITLE}))
        return f"op-{self.written}"

    def wait_for(self, reader, condition, what):
        def met():
            self.assertTrue(self.sidecar.running(), self.sidecar.log_tail())
            return condition()
        wait_until(met, f"{what} from '{reader.command}'", every=0.1,
                   context=lambda: reader.text[-2000:] + reader.errors[-2000:] + self.sidecar.log_tail())

    def run_reader(self, command):
        return self.enterContext(Reader(command, self.sidecar.feed[1]))


class ReadingTheFeed(WithASidecar):
    def reader(self, command):
        """Connected: has printed an operation that was written after it was started."""
        reader = self.run_reader(command)
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
        commands = [command for command in ways_to_read() if "nc 127" not in command]
        readers = [self.reader(command) for command in commands]
        first = self.insert()
        for reader in readers:
            self.expect(reader, [first])
        self.sidecar.kill()
        missed = [self.insert() for _ in range(5)]
        self.sidecar.start_ready()
        for reader in readers:
            self.expect(reader, [first, *missed])


class CompleteClients(WithASidecar):
    def records(self, path):
        with open(path, encoding="utf-8", newline="\n") as file:
            return [json.loads(line) for line in file.read().split("\n")[:-1]]

    def file_ids(self, path):
        return [line["op"]["id"] for line in self.records(path) if line["type"] == "change"] if os.path.exists(path) else []

    def test_file_has_everything_once_whoever_is_killed(self):
        self.rig.execute("INSERT INTO documents SELECT 'd-' || n, 'todos', '1', 1, false, '{}', 1 FROM generate_series(1, 500) n")
        self.insert()
        for command in CLIENTS:
            with self.subTest(command):
                path = os.path.join(self.rig.folder, command.split()[0])
                command += f" --file {path} --from snapshot"
                reader = self.run_reader(command)
                self.wait_for(reader, lambda: os.path.exists(path) and self.records(path)[-1:], "the snapshot")  # noqa: B023
                wanted = []
                for number in range(3):
                    wanted.append(self.insert())
                    self.wait_for(reader, lambda: wanted[-1] in self.file_ids(path), wanted[-1])  # noqa: B023
                    (self.sidecar if number % 2 else reader).kill()
                    wanted += [self.insert() for _ in range(5)]
                    if number % 2:
                        self.sidecar.start_ready()
                    else:
                        with open(path, "a", encoding="utf-8") as file:
                            file.write('{"type":"change","cursor":"torn')
                        reader = self.run_reader(command)
                self.wait_for(reader, lambda: wanted[-1] in self.file_ids(path), wanted[-1])  # noqa: B023
                reader.kill()
                self.assertEqual(self.file_ids(path), wanted)
                records = self.records(path)
                documents = [line["document"]["id"] for line in records if line["type"] == "document"]
                self.assertCountEqual(documents, [f"d-{number}" for number in range(1, 501)])
                kinds = [line["type"] for line in records]
                self.assertEqual(kinds, ["snapshot_begin", *["document"] * 500, "snapshot_end", *["change"] * len(wanted)])

    def test_broken_snapshot_goes_on_where_the_file_ends(self):
        """The file is cut as a kill in the middle of the documents leaves it."""
        self.rig.execute("INSERT INTO documents SELECT 'd-' || n, 'todos', '1', 1, false, '{}', 1 FROM generate_series(1, 50) n")
        for command in CLIENTS:
            with self.subTest(command):
                path = os.path.join(self.rig.folder, "cut-" + command.split()[0])
                command += f" --file {path} --from snapshot"
                reader = self.run_reader(command)
                self.wait_for(reader, lambda: os.path.exists(path) and "snapshot_end" in str(self.records(path)), "the end")  # noqa: B023
                reader.kill()
                whole = self.records(path)
                with open(path, "w", encoding="utf-8") as file:
                    file.write("".join(json.dumps(line) + "\n" for line in whole[:21]))
                reader = self.run_reader(command)
                self.wait_for(reader, lambda: "snapshot_end" in str(self.records(path)), "the rest")  # noqa: B023
                reader.kill()
                self.assertEqual(self.records(path), whole, "the same snapshot, each document once")
                with open(path, "w", encoding="utf-8") as file:
                    gone = [{**line, "snapshot": "s-gone"} for line in whole[:21]]
                    file.write("".join(json.dumps(line) + "\n" for line in gone))
                reader = self.run_reader(command)
                self.wait_for(reader, lambda: "snapshot_end" in str(self.records(path)), "another snapshot")  # noqa: B023
                self.assertEqual(len(self.records(path)), len(whole), "of the one that is gone nothing is left")

    def acknowledged(self, name):
        answer = subprocess.run([PROGRAM, "consumers", "--config", self.sidecar.config, "--json"], capture_output=True, check=True)
        return {one["name"]: one["acknowledged"] for one in json.loads(answer.stdout)["consumers"]}.get(name)

    def test_name_keeps_the_place(self):
        for command in [*CLIENTS, TAIL]:
            with self.subTest(command):
                name = command.split()[0].split("/")[0]
                command += f" --name {name}"
                reader = self.run_reader(command)
                self.wait_for(reader, lambda: self.insert() and reader.ids(), "something")  # noqa: B023
                last = self.insert()
                self.wait_for(reader, lambda: last in reader.ids(), last)  # noqa: B023
                cursor = [json.loads(line) for line in reader.text.split("\n") if f'"{last}"' in line][0]["cursor"]
                self.wait_for(reader, lambda: self.acknowledged(name) == cursor, "the ack")  # noqa: B023
                self.sidecar.kill()
                self.sidecar.start_ready()
                middle = self.insert()
                self.wait_for(reader, lambda: middle in reader.ids(), middle)  # noqa: B023
                reader.kill()
                self.assertNotIn("bad_ack", reader.errors)
                missed = [self.insert() for _ in range(3)]
                reader = self.run_reader(command)
                self.wait_for(reader, lambda: missed[-1] in reader.ids(), missed[-1])  # noqa: B023
                self.assertEqual([id for id in reader.ids() if id != middle], missed, "none is missing, and only what was not acknowledged again")
                reader.kill()


class ByToken(WithASidecar):
    """Tokens."""

    def setUp(self):
        self.folder = self.enterContext(tempfile.TemporaryDirectory(prefix="syncflow-examples-"))
        self.token = os.path.join(self.folder, "token")
        with open(self.token, "w", encoding="utf-8") as file:
            file.write("secret\n")
        tokens = os.path.join(self.folder, "tokens")
        with open(tokens, "w", encoding="utf-8") as file:
            file.write("reader 2bb80d537b1da3e38bd30361aa855686bde0eacd7162fef6a25fe97bf527a25b todos\n")
        self.settings = {"feed.tokens_file": tokens}
        super().setUp()

    def test_token_opens_and_limits(self):
        for command in [*CLIENTS, TAIL]:
            with self.subTest(command):
                reader = self.run_reader(f"{command} --token-file {self.token} --from earliest")
                self.insert("notes")
                last = self.insert()
                self.wait_for(reader, lambda: last in reader.ids(), last)  # noqa: B023
                self.assertEqual({operation["collection"] for operation in reader.operations()}, {"todos"})

    def test_refusal_is_not_repeated(self):
        for command, wrong in [(command, wrong) for command in [*CLIENTS, TAIL] for wrong in ("", "--collection notes --token-file " + self.token)]:
            with self.subTest(f"{command} {wrong}"):
                reader = self.run_reader(f"{command} {wrong}")
                self.wait_for(reader, lambda: reader.process.poll() is not None, "the end")  # noqa: B023
                self.assertEqual(reader.process.returncode, 1)
                self.assertRegex(reader.errors, "forbidden_collection: " if wrong else "auth_required: ")


class Encrypted(WithASidecar):
    """The feed speaks TLS and asks for a certificate."""

    def setUp(self):
        self.folder = self.enterContext(tempfile.TemporaryDirectory(prefix="syncflow-examples-"))
        feed, self.mine, self.other = (self.make_certificate(name) for name in ("feed", "mine", "other"))
        self.settings = {"feed.tls": {"certificate": feed, "key": feed + ".key", "client_ca": self.mine}}
        super().setUp()
        self.trusts = f"--tls-ca {feed}"

    def make_certificate(self, name):
        """For 127.0.0.1; it vouches for itself."""
        path = os.path.join(self.folder, f"{name}.pem")
        subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "1", "-subj", f"/CN={name}",
                        "-addext", "subjectAltName=IP:127.0.0.1", "-keyout", path + ".key", "-out", path], check=True, capture_output=True)
        return path

    def test_reads_on_when_the_sidecar_is_killed(self):
        for command in [*CLIENTS, TAIL]:
            with self.subTest(command):
                reader = self.run_reader(f"{command} {self.trusts} --tls-certificate {self.mine} --tls-key {self.mine}.key --from earliest")
                last = self.insert()
                self.wait_for(reader, lambda: last in reader.ids(), last)  # noqa: B023
                self.sidecar.kill()
                last = self.insert()
                self.sidecar.start_ready()
                self.wait_for(reader, lambda: last in reader.ids(), last)  # noqa: B023

    def test_whom_either_side_does_not_trust_reads_nothing(self):
        self.insert()
        shown = "--tls-certificate {0} --tls-key {0}.key"
        for command in [*CLIENTS, TAIL]:
            for words in (self.trusts, f"{self.trusts} {shown.format(self.other)}", f"--tls-ca {self.other} {shown.format(self.mine)}"):
                with self.subTest(f"{command} {words}"):
                    reader = self.run_reader(f"{command} {words} --from earliest")
                    self.wait_for(reader, lambda: re.search("certificate|alert", reader.errors), "the refusal")  # noqa: B023
                    self.assertEqual(reader.text, "")


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
