#!/usr/bin/python3
"""What `cmake --install` leaves is enough: examples/cmake is built against it and works, and so does the program.

usage: install_test.py BUILD_FOLDER
"""

import json
import os
import subprocess
import sys
import tempfile
import unittest

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(HERE)
sys.path[:0] = [os.path.join(HERE, "blackbox"), os.path.join(HERE, "support")]

from postgres import PrivatePostgres  # noqa: E402
from rig import Rig  # noqa: E402
from waiting import wait_until  # noqa: E402

BUILD = os.path.abspath(sys.argv.pop())


def run(*command, **options):
    done = subprocess.run(command, capture_output=True, text=True, timeout=600, check=False, **options)
    if done.returncode != 0:
        raise AssertionError(f"{' '.join(command)}:\n{done.stdout}{done.stderr}")
    return done.stdout


class Installed(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        folder = cls.enterClassContext(tempfile.TemporaryDirectory(prefix="syncflow-install-"))
        cls.prefix = os.path.join(folder, "prefix")
        cls.example = os.path.join(folder, "example")
        run("cmake", "--install", BUILD, "--prefix", cls.prefix)
        run("cmake", "-G", "Ninja", "-S", os.path.join(ROOT, "examples", "cmake"), "-B", cls.example, "-D", f"CMAKE_PREFIX_PATH={cls.prefix}")
        run("cmake", "--build", cls.example)

    def test_example_works(self):
        with PrivatePostgres() as server:
            environment = {**os.environ, "DATABASE_URL": server.url}
            for _ in range(2):
                output = run(os.path.join(self.example, "example"), env=environment)
                self.assertEqual(output.splitlines(), [
                    '{"accepted":["example-1"],"conflicts":[]}',
                    '{"_id":"milk","_rev":1,"done":false,"title":"Buy milk"}',
                    "1 open",
                ])

    def test_example_explains_what_is_wrong(self):
        environment = {**os.environ, "DATABASE_URL": "postgresql://127.0.0.1:1/shop"}
        done = subprocess.run([os.path.join(self.example, "example")], env=environment, capture_output=True, text=True,
                              timeout=60, check=False)
        self.assertEqual(done.returncode, 1)
        self.assertIn("cannot connect to 127.0.0.1:1", done.stderr)

    def test_client_follows_the_feed(self):
        program = os.path.join(self.prefix, "bin", "syncflow-sidecar")
        with Rig(program) as rig:
            sidecar = rig.sidecar().start_ready()
            rig.wait_slot(sidecar.slot)
            command = ["setpriv", "--pdeathsig=KILL", os.path.join(self.example, "follow"), "%s:%s" % sidecar.feed, "billing"]
            for number in range(2):
                # The first begins where it is when it is greeted; so does the second, since the feed keeps the place.
                with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as follow:
                    if number == 0:
                        self.wait_connected(program, sidecar)
                    rig.execute("INSERT INTO operations (id, type, collection, doc_id, data, timestamp, client_id, vector_clock) "
                                "VALUES (%s, 'insert', 'todos', 'd', '1', 1, 'c', '{}')", f"op-{number}")
                    ids = [json.loads(follow.stdout.readline())["op"]["id"]]
                    if ids[0] == "op-0" and number == 1:
                        ids.append(json.loads(follow.stdout.readline())["op"]["id"])  # its ack was not sent any more
                    self.assertEqual(ids[-1], f"op-{number}")
                    follow.kill()

    def wait_connected(self, program, sidecar):
        def connected():
            answer = run(program, "consumers", "--config", sidecar.config, "--json")
            return json.loads(answer)["consumers"]
        wait_until(connected, "the consumer", context=sidecar.log_tail)

    def test_client_explains_what_is_wrong(self):
        for words, code, sentence in [(["nowhere", "billing"], 2, "is not host:port"), ([], 2, "usage: follow")]:
            done = subprocess.run([os.path.join(self.example, "follow"), *words], capture_output=True, text=True, timeout=60, check=False)
            self.assertEqual((done.returncode, done.stdout), (code, ""))
            self.assertIn(sentence, done.stderr)

    def test_program_is_installed(self):
        self.assertIn("syncflow-sidecar ", run(os.path.join(self.prefix, "bin", "syncflow-sidecar"), "version"))


if __name__ == "__main__":
    unittest.main(verbosity=2)
