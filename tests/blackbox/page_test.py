"""The status page in a real Chromium, at the real program under load. With SYNCFLOW_PICTURE=FOLDER it also leaves pictures there."""

import os
import re
import time
import unittest
import urllib.parse

from browser import Browser
from case import Case
from durable_test import Named
from sidecar import ROOT
from waiting import wait_until
from web import Web
from writer import Writers

PICTURES = os.environ.get("SYNCFLOW_PICTURE")


class Page(Case):
    def begin(self, **settings):
        self.server = self.rig()
        self.sidecar = self.server.sidecar(**settings).start_ready()
        self.server.wait_slot(self.sidecar.slot)
        self.home = f"http://127.0.0.1:{self.sidecar.http_port}/"

    def open(self, **options):
        browser = self.enterContext(Browser(**options))
        browser.open(self.home)
        return browser

    def assert_shows(self, browser):
        """Wait until what it shows is what /status says, number by number."""
        def differences():
            status = self.sidecar.status()
            shown = {
                "state": (browser.text("state"), {"streaming": "Streaming"}.get(status["state"])),
                "changes": (browser.text("changes"), f"{status['changes']:,}"),
                "lag": (browser.driver.execute_script("return document.getElementById('lag_bytes').title"),
                        str(status["positions"]["lag_bytes"])),
                "slot": (browser.row("slot", "Name"), status["slot"]["name"]),
                "segments": (browser.row("journal", "Segments"), f"{status['journal']['segments']:,}"),
                "head": (browser.row("journal", "Head"), status["journal"]["head"]),
                "announced": (browser.row("notify", "Announced"), f"{status['notify']['announced']:,}"),
                "names": ([row[0] for row in browser.rows("consumers")], [one["name"] for one in status["consumers"]]),
                "acknowledged": ([row[3] for row in browser.rows("consumers")], [one["acknowledged"] for one in status["consumers"]]),
            }
            for name in ("server", "received", "appended", "durable", "confirmed"):
                shown[name] = (browser.text(name), status["positions"][name])
            return {name: pair for name, pair in shown.items() if pair[0] != pair[1]}

        last = {}

        def same():
            last.clear()
            last.update(differences())
            return not last

        wait_until(same, "the page to show what /status says", context=lambda: f"shown, said: {last}\n{self.sidecar.log_tail()}")

    def assert_asked_only_the_sidecar(self, browser):
        addresses = browser.addresses()
        self.assertIn(f"{self.home}status", addresses)
        own = {self.home, f"{self.home}status", f"{self.home}history"}
        self.assertEqual({one for one in addresses if not one.startswith(("data:", "chrome:"))} - own, set())

    def test_it_shows_what_status_says_under_load_and_after_a_restart(self):
        self.begin()
        writers = Writers(self.server.server.url, 7, threads=2, limit=4000).start()
        for name in ("billing", "search-index"):
            self.server.stops(Named(self.sidecar.feed, name).start())
        wait_until(lambda: len(self.sidecar.status()["consumers"]) == 2, "two names")
        browser = self.open()
        wait_until(lambda: browser.text("state") == "Streaming", "the page to show the state", context=browser.complaints)
        wait_until(lambda: browser.points("plot_rate") > 3, "the plot to grow")
        writers.join()
        self.assert_shows(browser)
        self.assertEqual(browser.complaints(), [])
        self.sidecar.terminate()
        wait_until(lambda: browser.text("state") == "No answer from the sidecar", "the page to notice")
        self.sidecar.start_ready()
        wait_until(lambda: browser.text("state") == "Streaming", "the page to find it again")
        browser.complaints()  # that nobody answered meanwhile
        self.commit(self.server, "after", rows=20)
        self.assert_shows(browser)
        self.assertEqual(browser.complaints(), [])
        self.assert_asked_only_the_sidecar(browser)

    def test_a_fresh_page_shows_the_past(self):
        self.begin()
        self.commit(self.server, "one", rows=500)
        wait_until(lambda: len(Web(self.sidecar.http_port).get("/history").json["samples"]) >= 5, "some samples")
        browser = self.open(dark=True)
        wait_until(lambda: browser.text("state") == "Streaming", "the page to show the state", context=browser.complaints)
        self.assertGreaterEqual(browser.points("plot_bytes"), 5)
        self.assertEqual(browser.complaints(), [])

    def test_it_shows_compaction_gaps_and_the_slots_health(self):
        self.server = self.rig(settings={"max_slot_wal_keep_size": "'64MB'"})
        self.server.stored_long_ago()
        job = {"name": "often", "every": "1s", "older_than": "30d", "share_max": 1}
        self.sidecar = self.server.sidecar(**{"compaction.jobs": [job]}).start_ready()
        self.server.wait_slot(self.sidecar.slot)
        self.home = f"http://127.0.0.1:{self.sidecar.http_port}/"
        self.commit(self.server, "old", rows=30)
        browser = self.open()
        wait_until(lambda: browser.row("compaction", "Deleted since the start") == "30 operations", "what was deleted",
                   context=lambda: str(self.sidecar.status()["compaction"]))
        name, schedule, _, last, _ = browser.rows("jobs")[0]
        self.assertEqual((name, schedule), ("often", "every 1s"))
        self.assertRegex(last, "^(done|running)")
        wait_until(lambda: browser.row("slot", "State") == "healthy", "the slot", context=lambda: str(self.sidecar.status()["slot"]))
        self.assertEqual(browser.row("slot", "Read by"), "a walsender, now")
        self.assertRegex(browser.row("slot", "Until it is lost"), "MiB")
        self.assertEqual((browser.row("losses", "Stream lost history"), browser.rows("gaps")), ("never", []))
        self.sidecar.terminate()
        self.server.execute("SELECT pg_drop_replication_slot(%s)", self.sidecar.slot)
        self.sidecar.start_ready()
        wait_until(lambda: browser.rows("gaps"), "the gap", context=lambda: str(self.sidecar.status()["gaps"]))
        status = self.sidecar.status()
        self.assertEqual([row[2] for row in browser.rows("gaps")], [gap["reason"] for gap in status["gaps"]])
        self.assertRegex(browser.row("losses", "Stream lost history"), "^once, healed$")

    def test_it_has_a_word_for_every_state(self):
        page = self.source("sidecar/http/status_page.html")
        for states, header, name in (("states", "sidecar/pipeline_probe.h", "kPipelineStates"), ("slots", "sidecar/slot_probe.h", "kWalStatuses")):
            known = re.findall(r"(\w+): \[", re.search(rf"const {states} = {{(.*?)}};", page, re.DOTALL)[1])
            there_are = re.findall(r'"(\w+)"', re.search(rf"{name} = {{(.*?)}};", self.source(header), re.DOTALL)[1])
            self.assertEqual(sorted(known), sorted(there_are), states)

    def source(self, path):
        with open(os.path.join(ROOT, path), encoding="utf-8") as file:
            return file.read()

    def test_what_others_write_is_text(self):
        self.server = self.rig()
        name = "<img src=x onerror=document.title='owned'>"
        url = self.server.server.url.rsplit("/", 1)[0] + "/" + urllib.parse.quote(name, safe="")
        self.sidecar = self.server.sidecar(**{"postgres.url": url}).start()
        wait_until(lambda: self.sidecar.get("/livez")[0] == 200, "the sidecar")
        self.home = f"http://127.0.0.1:{self.sidecar.http_port}/"
        browser = self.open()
        wait_until(lambda: name in browser.text("sentence"), "the error on the page", context=lambda: browser.text("sentence"))
        self.assertNotEqual(browser.driver.title, "owned")
        self.assertEqual(browser.complaints(), [])

    def test_nothing_else_may_run_on_it(self):
        self.begin()
        answer = Web(self.sidecar.http_port).get("/")
        policy = answer.headers["Content-Security-Policy"]
        self.assertIn("default-src 'none'", policy)
        self.assertNotIn("unsafe", policy)
        self.assertNotEqual(policy, Web(self.sidecar.http_port).get("/").headers["Content-Security-Policy"], "each answer has its own")
        self.assertNotRegex(answer.text, r"(src|href)=.https?:|@nonce@")
        browser = self.open()
        browser.driver.execute_script("const made = document.createElement('script'); made.textContent = 'document.title = \"owned\"';"
                                      "document.body.append(made)")
        self.assertNotEqual(browser.driver.title, "owned")

    @unittest.skipUnless(PICTURES, "no pictures are wanted")
    def test_pictures(self):
        self.begin()
        writers = Writers(self.server.server.url, 7, threads=2, limit=10**9).start()
        for name in ("audit", "billing", "search-index"):
            self.server.stops(Named(self.sidecar.feed, name, pace="slow" if name == "audit" else "fast").start())
        time.sleep(float(os.environ.get("SYNCFLOW_PICTURE_AFTER", "60")))
        for dark in (False, True):
            browser = self.open(dark=dark)
            wait_until(lambda: browser.text("state") == "Streaming", "the page to show the state")
            time.sleep(3)
            browser.picture(os.path.join(PICTURES, "status-page-dark.png" if dark else "status-page.png"))
        writers.stop()


if __name__ == "__main__":
    unittest.main()
