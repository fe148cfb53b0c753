"""The configuration is wrong: every mistake at once, each with its place, and exit code 78."""

import os
import re
import socket
import unittest

from case import CONFIGURATION, FAILED, Case
from sidecar import free_port


class Configuration(Case):
    def setUp(self):
        self.server = self.rig()
        self.sidecar = self.server.sidecar()
        with open(self.sidecar.config, encoding="utf-8") as file:
            self.good = file.read()

    def assert_refused(self, text, *sentences):
        self.sidecar.write_config(text)
        self.sidecar.start()
        self.assertEqual(self.sidecar.wait_exit(), CONFIGURATION, self.sidecar.log_tail())
        for sentence in sentences:
            self.assertRegex(self.sidecar.log_text(), sentence)

    def place(self, line, column=r"\d+"):
        return rf"{re.escape(self.sidecar.config)}:{line}:{column}: "

    def test_no_yaml(self):
        self.assert_refused("version: [1\n", self.place(r"\d+"))

    def test_every_mistake_at_once(self):
        self.assert_refused(
            (
                "version: 1\n"
                "feeed:\n"
                "  listen: x\n"
                "journal:\n"
                "  segment_size: many\n"
                "  segment_size: 1MiB\n"
                "http: []\n"
            ),
            self.place(2, 1) + ".*did you mean.*feed",
            self.place(5),
            self.place(6, 3),
            self.place(7),
        )

    def test_unset_variable(self):
        text = self.good.replace("version: 1", "version: ${SYNCFLOW_TEST_NOT_SET}")
        self.assert_refused(text, self.place(1) + ".*SYNCFLOW_TEST_NOT_SET")

    def test_missing_file(self):
        os.unlink(self.sidecar.config)
        self.sidecar.start()
        self.assertEqual(self.sidecar.wait_exit(), CONFIGURATION)
        self.assertIn(self.sidecar.config, self.sidecar.log_text())

    def test_address_that_everybody_can_reach(self):
        self.sidecar.configure(**{"feed.listen": f"0.0.0.0:{self.sidecar.feed[1]}"})
        self.sidecar.start()
        self.assert_ends(self.sidecar, CONFIGURATION, "0.0.0.0|feed.listen", "allow_anonymous")

    def test_tokens_file_that_is_missing_or_wrong(self):
        tokens = os.path.join(os.path.dirname(self.sidecar.config), "tokens")
        self.sidecar.configure(**{"feed.tokens_file": tokens})
        self.sidecar.start()
        self.assert_ends(self.sidecar, FAILED, "tokens_file", "No such file")
        with open(tokens, "w", encoding="utf-8") as file:
            file.write("billing open-sesame *\n")
        self.sidecar.start()
        self.assert_ends(self.sidecar, FAILED, "line 1", "SHA-256")
        self.assertNotIn("open-sesame", self.sidecar.log_text())

    def test_port_in_use(self):
        for setting in ("feed.listen", "http.listen"):
            with self.subTest(setting), socket.create_server(("127.0.0.1", free_port())) as taken:
                port = taken.getsockname()[1]
                sidecar = self.server.sidecar(setting[:4], **{setting: f"127.0.0.1:{port}"}).start()
                self.assert_ends(sidecar, FAILED, str(port), "in use")


if __name__ == "__main__":
    unittest.main()
