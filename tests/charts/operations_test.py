#!/usr/bin/python3
"""The pages of charts/operations: every command in them works, on a server and a sidecar of the test's own.

Blocks of sh and sql are run in the order of the page; those whose fence says `not run: REASON` are not. `<!-- test: stop -->` and
`start` stand where the text tells to stop or start the sidecar.
"""

import glob
import os
import re
import subprocess
import sys
import unittest

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [HERE, os.path.join(HERE, "..", "blackbox")]
import tools  # noqa: E402
from rig import Rig  # noqa: E402

PAGES = os.path.join(tools.ROOT, "charts", "operations")
STEP = re.compile(r"^ *<!-- test: (stop|start) -->$|^( *)```(\w+)([^\n]*)\n(.*?)^ *```$", re.MULTILINE | re.DOTALL)
RUN = ("sh", "sql")


def steps(page):
    """(kind, text): stop, start, sh or sql of what is run, skipped with its reason of what is not."""
    for found in STEP.finditer(page):
        order, indent, language, about, text = found.groups()
        if order:
            yield order, ""
        elif about:
            yield "skipped", about.strip()
        elif language in RUN:
            yield language, re.sub(f"^{indent}", "", text, flags=re.MULTILINE)


class Pages(unittest.TestCase):
    def run_page(self, name):
        with Rig(tools.program()) as rig:
            sidecar = self.sidecar_of(rig)
            sidecar.start_ready()
            sidecar.wait_log("streaming")
            for kind, text in steps(tools.read(os.path.join(PAGES, name))):
                if kind == "stop":
                    self.assertEqual(sidecar.terminate(), 0)
                elif kind == "start":
                    sidecar.start_ready()
                    sidecar.wait_log("streaming", times=sidecar.starts)
                elif kind in RUN:
                    self.run_block(rig, sidecar, kind, text)

    def sidecar_of(self, rig):
        """As the pages say: sidecar.yaml, journal/ and the program's name, in one folder."""
        sidecar = rig.sidecar(**{"replication.slot": "syncflow_sidecar", "journal.directory": os.path.join(rig.folder, "journal")})
        os.symlink(os.path.abspath(tools.program()), os.path.join(rig.folder, "syncflow-sidecar"))
        tools.run(tools.program(), "init", "--url", rig.server.url)
        rig.execute("INSERT INTO operations (id, type, collection, doc_id, data, timestamp, client_id, vector_clock) "
                    "SELECT 'op-' || n, 'put', 'todos', 'doc-' || n, '{}', n, 'client', '{}' FROM generate_series(1, 3) n")
        return sidecar

    def run_block(self, rig, sidecar, kind, text):
        text = text.replace("127.0.0.1:9464", f"127.0.0.1:{sidecar.http_port}")
        text = text.replace("127.0.0.1:7433", f"127.0.0.1:{sidecar.feed[1]}")
        environment = {**os.environ, "PATH": f"{rig.folder}:{rig.server.bin}:{os.environ['PATH']}", "PGHOST": "127.0.0.1",
                       "PGPORT": str(rig.server.port), "PGUSER": "postgres", "PGDATABASE": "postgres"}
        command = ["bash", "-euo", "pipefail"] if kind == "sh" else ["psql", "-X", "-q", "-v", "ON_ERROR_STOP=1"]
        done = subprocess.run(command, input=text, cwd=rig.folder, env=environment, capture_output=True, text=True, timeout=120,
                              check=False)
        if done.returncode not in (0, 141):  # 141: `head` had enough
            raise AssertionError(f"{text}ended with {done.returncode}:\n{done.stdout}{done.stderr}\n{sidecar.log_tail()}")

    def test_role_may_what_the_program_grants_it(self):
        page = tools.read(os.path.join(PAGES, "security.md"))
        with Rig(tools.program()) as rig:
            printed = tools.run(tools.program(), "init", "--print-sql", "--url", rig.server.url)
        rights = re.findall(r"^GRANT (.+) TO [^;]*\bsyncflow_stream\b", printed, re.MULTILINE)
        self.assertGreaterEqual(len(rights), 3, printed)
        for right in rights:
            right = re.sub(r'"?public"?\.', "", right).replace('"', "")
            self.assertIn(f"GRANT {right} TO sidecar;", page)

    def test_pod_that_moves_the_journal_leaves_a_folder_to_start_in(self):
        [command] = re.findall(r'command: \[sh, -ec, "(.+)"\]', tools.read(os.path.join(PAGES, "backup.md")))
        with Rig(tools.program()) as rig:
            sidecar = self.sidecar_of(rig)
            sidecar.start_ready()
            sidecar.wait_log("streaming")
            self.assertEqual(sidecar.terminate(), 0)
            journal = os.path.join(rig.folder, "journal")
            moved = set(os.listdir(journal))
            tools.run("sh", "-ec", command, cwd=journal)
            self.assertEqual(os.listdir(journal), ["moved-away"])
            self.assertEqual(set(os.listdir(os.path.join(journal, "moved-away"))), moved)
            sidecar.start_ready()
            sidecar.wait_log("streaming", times=sidecar.starts)

    def test_what_is_not_run_says_why(self):
        for path in glob.glob(os.path.join(PAGES, "*.md")):
            for kind, reason in steps(tools.read(path)):
                if kind == "skipped":
                    self.assertRegex(reason, r"^not run: \w", path)

    def test_links_lead_somewhere(self):
        for path in glob.glob(os.path.join(PAGES, "*.md")):
            self.assertEqual(list(tools.broken_links(path)), [], path)


def _add_test(name):
    setattr(Pages, f"test_{name.removesuffix('.md')}", lambda self: self.run_page(name))


for each in sorted(os.listdir(PAGES)):
    if each != "README.md":
        _add_test(each)


if __name__ == "__main__":
    unittest.main(verbosity=2)
