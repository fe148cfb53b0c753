#!/usr/bin/python3
"""What `cmake --install` leaves is enough: examples/cmake is built against it and works, and so does the program.

usage: install_test.py BUILD_FOLDER
"""

import os
import subprocess
import sys
import tempfile
import unittest

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(HERE)
sys.path.insert(0, os.path.join(HERE, "support"))

from postgres import PrivatePostgres  # noqa: E402

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

    def test_program_is_installed(self):
        self.assertIn("syncflow-sidecar ", run(os.path.join(self.prefix, "bin", "syncflow-sidecar"), "version"))


if __name__ == "__main__":
    unittest.main(verbosity=2)
