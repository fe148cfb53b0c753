#!/usr/bin/python3
"""The house is tidy, and the rules that say so catch what is planted."""

import shutil
import tempfile
import unittest
from pathlib import Path

import tidy

ROOT = Path(__file__).resolve().parent.parent


class TheHouseIsTidy(unittest.TestCase):
    """One test for each rule, added below."""


def _add_test(rule):
    def test(self):
        violations = list(rule(ROOT))
        self.assertFalse(violations, "\n" + "\n".join(violations))
    setattr(TheHouseIsTidy, f"test_{rule.__name__}", test)


for each in tidy.RULES:
    _add_test(each)


class PlantedViolationsAreCaught(unittest.TestCase):
    """Each test changes one thing in a copy of the tree and expects one more complaint, which names it."""

    def setUp(self):
        self.root = Path(tempfile.mkdtemp(prefix="syncflow-tidy-"))
        self.addCleanup(shutil.rmtree, self.root)
        for name in tidy.files(ROOT):
            (self.root / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(ROOT / name, self.root / name)

    def write(self, name, text):
        (self.root / name).parent.mkdir(parents=True, exist_ok=True)
        (self.root / name).write_text(text, encoding="utf-8")

    def append(self, name, line):
        with open(self.root / name, "a", encoding="utf-8") as file:
            file.write(line + "\n")

    def replace(self, name, old, new):
        before = tidy.text(self.root, name)
        self.assertIn(old, before)
        self.write(name, before.replace(old, new, 1))

    def expect(self, rule, words):
        added = [violation for violation in rule(self.root) if violation not in set(rule(ROOT))]
        self.assertEqual(1, len(added), added)
        self.assertIn(words, added[0])

    # ---- includes ----

    def test_an_include_against_the_arrows(self):
        self.append("adapter/operation.cc", '#include "replication/lsn.h"')
        self.expect(tidy.include_arrows, "adapter must not include replication/lsn.h")

    def test_an_include_that_is_allowed_elsewhere(self):
        self.append("sidecar/journal/cursor.cc", '#include "replication/change.h"')
        self.expect(tidy.include_arrows, "sidecar/journal must not include replication/change.h")

    def test_configuration_beyond_the_command_line(self):
        self.append("sidecar/service.cc", '#include "config/load.h"')
        self.expect(tidy.include_arrows, "sidecar must not include config/load.h")

    def test_the_service_knowing_a_command(self):
        self.append("sidecar/service.cc", '  #  include "sidecar/command/run.h"')
        self.expect(tidy.include_arrows, "sidecar must not include sidecar/command/run.h")

    def test_a_test_header_in_the_program(self):
        self.append("adapter/operation.cc", '#include "tests/support/postgres.h"')
        self.expect(tidy.include_arrows, "tests/support/postgres.h")

    def test_an_include_that_does_not_begin_at_the_root(self):
        self.append("adapter/operation.cc", '#include "operation.h"')
        self.expect(tidy.include_arrows, "there is no operation.h")

    def test_a_file_in_no_room(self):
        self.write("helpers/strings.h", "")
        self.expect(tidy.include_arrows, "helpers/strings.h: lies in no room")

    def test_a_library_away_from_home(self):
        self.append("adapter/listener.cc", "#include <libpq-fe.h>")
        self.expect(tidy.foreign_homes, "<libpq-fe.h> does not belong here")

    def test_a_library_without_a_home(self):
        self.append("adapter/listener.cc", "#include <boost/json.hpp>")
        self.expect(tidy.foreign_homes, "<boost/json.hpp> has no home")

    def test_json_documents_on_the_hot_path(self):
        self.append("sidecar/feed/encode.cc", "#include <nlohmann/json.hpp>")
        self.expect(tidy.foreign_homes, "sidecar/feed/encode.cc")

    # ---- CMake ----

    def test_an_include_without_its_link(self):
        self.append("sidecar/journal/cursor.cc", '#include "adapter/operation.h"')
        self.expect(tidy.link_lines, "journal includes headers of adapter")

    def test_a_link_without_an_include(self):
        self.replace("sidecar/http/CMakeLists.txt", "LINKS log", "LINKS log adapter")
        self.expect(tidy.link_lines, "http has LINKS adapter")

    def test_a_library_without_its_link(self):
        self.replace("sidecar/http/CMakeLists.txt", " civetweb", "")
        self.expect(tidy.foreign_link_lines, "http has PRIVATE_LINKS")

    def test_a_library_handed_on(self):
        self.replace("sidecar/http/CMakeLists.txt", "LINKS log", "LINKS log civetweb")
        self.expect(tidy.foreign_link_lines, "use PRIVATE_LINKS")

    def test_a_source_that_is_not_built(self):
        self.write("adapter/forgotten.cc", "")
        self.expect(tidy.sources_are_built, "adapter/forgotten.cc")

    # ---- words ----

    def test_a_folder_the_map_leaves_out(self):
        self.write("sidecar/attic/README.md", "")
        self.expect(tidy.folder_map, "leaves out sidecar/attic/")

    def test_a_folder_only_the_map_knows(self):
        shutil.rmtree(self.root / "sidecar/notify")
        self.expect(tidy.folder_map, "sidecar/notify/, which does not exist")

    def test_a_room_without_a_readme(self):
        (self.root / "sidecar/http/README.md").unlink()
        self.expect(tidy.room_readmes, "sidecar/http/README.md: missing")

    def test_a_readme_without_a_heading(self):
        self.replace("sidecar/http/README.md", "## What can fail", "## Errors")
        self.expect(tidy.room_readmes, "needs the headings")

    def test_unfinished_work(self):
        self.append("adapter/operation.cc", "// TO" + "DO: later")
        self.expect(tidy.unwanted_words, "finish it")

    def test_a_path_of_one_machine(self):
        self.append("README.md", "/" + "home/me/syncflow")
        self.expect(tidy.unwanted_words, "a path of one machine")

    def test_a_long_line(self):
        self.append("adapter/operation.cc", "//" + "x" * tidy.COLUMNS)
        self.expect(tidy.line_lengths, "more than 100 columns")

    def test_an_example_that_the_readme_does_not_show(self):
        self.append("examples/python/short.py", "print()")
        self.expect(tidy.readme_examples, "examples/python/short.py")

    def test_a_fault_that_nobody_injects(self):
        self.append("tests/README.md", "| S99 | nothing | `healing S99` |")
        self.expect(tidy.fault_rows, "no test_S99_")

    def test_a_test_of_a_fault_without_a_row(self):
        self.append("tests/blackbox/healing_test.py", "def test_" + "S98_of_nothing(): pass")
        self.expect(tidy.fault_rows, "lacks `healing S98`")


if __name__ == "__main__":
    unittest.main()
