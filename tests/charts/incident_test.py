#!/usr/bin/python3
"""A real Prometheus with the real rules watches a sidecar through an incident: a lost LISTEN connection, a consumer that stalls and
lets the journal fill, a slot that is nearly lost, a server and a sidecar that go. The right alerts fire, no others, and clear when it is
over.

Minutes in the rules are seconds here, and limits in GiB are MiB: the expressions are otherwise those of the file.
"""

import json
import os
import re
import shutil
import sys
import time
import unittest
import urllib.parse
import urllib.request

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [HERE, os.path.join(HERE, "..", "blackbox"), os.path.join(HERE, "..", "support")]
import tools  # noqa: E402

tools.need("prometheus", "promtool")

import subprocess  # noqa: E402

import yaml  # noqa: E402
from alerts_test import CHART, DASHBOARD, RULES, expressions, metric_names, panel_expressions  # noqa: E402
from durable_test import Named  # noqa: E402
from postgres import free_port  # noqa: E402
from rig import Rig  # noqa: E402
from waiting import wait_until  # noqa: E402

SERIES_MAX = 400  # of one sidecar with two named consumers
QUIET = 20  # seconds on a good day: twenty minutes of the rules
# Alerts that a busy machine may well raise.
SLOW = {"SyncflowLatencyHigh", "SyncflowSyncSlow"}


def hurried():
    """The rules with minutes made seconds."""
    text = re.sub(r"\b(\d+)m\b", r"\1s", tools.read(RULES))
    text = re.sub(r"\b(\d+)h\b", lambda hours: f"{int(hours[1]) * 60}s", text)
    text = text.replace("* 1024 * 1024 * 1024", "* 1024 * 1024").replace("64 * 1024 * 1024", "256 * 1024").replace("< 1800", "< 30")
    rules = yaml.safe_load(text)
    for group in rules["groups"]:
        group["interval"] = "1s"
    return rules


class Billing(Named):
    """Reads on while it is stalled, and acknowledges nothing."""

    stalled = False

    def _acknowledge(self):
        if not self.stalled:
            super()._acknowledge()


class Prometheus:
    """Scrapes one sidecar every second, into a folder of the rig."""

    def __init__(self, rig, sidecar):
        self.folder = os.path.join(rig.folder, "prometheus")
        self.port = free_port()
        self.log = os.path.join(self.folder, "log")
        os.makedirs(self.folder)
        self.write("rules.yml", hurried())
        self.write("prometheus.yml", {
            "global": {"scrape_interval": "1s", "evaluation_interval": "1s"},
            "rule_files": ["rules.yml"],
            "scrape_configs": [{"job_name": "syncflow", "static_configs": [{"targets": [f"127.0.0.1:{sidecar.http_port}"]}]}]})
        tools.run("promtool", "check", "config", os.path.join(self.folder, "prometheus.yml"))

    def write(self, name, content):
        with open(os.path.join(self.folder, name), "w", encoding="utf-8") as file:
            yaml.safe_dump(content, file)

    def start(self):
        with open(self.log, "ab") as log:
            self.process = subprocess.Popen(
                ["setpriv", "--pdeathsig=KILL", "prometheus", f"--config.file={self.folder}/prometheus.yml",
                 f"--storage.tsdb.path={self.folder}/data", f"--web.listen-address=127.0.0.1:{self.port}"],
                stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        wait_until(lambda: self.query("up") == [1], "Prometheus to scrape the sidecar", context=self.last_words)
        return self

    def stop(self):
        self.process.kill()
        self.process.wait()

    def last_words(self):
        return tools.read(self.log)[-2000:]

    def ask(self, path):
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/api/v1/{path}", timeout=10) as answer:
                return json.load(answer)["data"]
        except OSError:
            return None

    def query(self, expression):
        """The values of an instant query; None while nobody answers."""
        data = self.ask("query?" + urllib.parse.urlencode({"query": expression}))
        return data and [float(sample["value"][1]) for sample in data["result"]]

    def firing(self):
        """Without those of a busy machine; None while nobody answers."""
        data = self.ask("alerts")
        return data and {alert["labels"]["alertname"] for alert in data["alerts"] if alert["state"] == "firing"} - SLOW

    def firing_of(self, *allowed):
        """AssertionError when another one fires."""
        firing = self.firing() or set()
        if firing - set(allowed):
            raise AssertionError(f"{sorted(firing - set(allowed))} fire, and only {allowed} may\n{self.state()}")
        return firing

    def wait_firing(self, name, *allowed):
        wait_until(lambda: name in self.firing_of(name, *allowed), f"{name} to fire", context=self.state)

    def wait_silent(self, *allowed):
        """Until none fires; those allowed may until then."""
        wait_until(lambda: self.firing() is not None and not self.firing_of(*allowed), f"{allowed} to clear", context=self.state)

    def state(self):
        return json.dumps(self.ask("alerts"), indent=1)


class Incident(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.rig = cls.enterClassContext(Rig(tools.program(), settings={"max_slot_wal_keep_size": "'128MB'"}))
        cls.disk = cls.small_disk()
        folder = {"journal.directory": os.path.join(cls.disk, "journal")} if cls.disk else {}
        cls.sidecar = cls.rig.sidecar(**folder, **{
            "journal.segment_size": "1MiB", "journal.retain_size": "2MiB", "journal.pin_size_max": "8MiB", "feed.connections_max": 4,
            "compaction.jobs": [{"name": "old", "every": "5s", "older_than": "90d"}]})
        cls.sidecar.start_ready()
        cls.sidecar.wait_log("streaming")
        cls.consumers = [cls.rig.stops(Billing(cls.sidecar.feed, name).start()) for name in ("billing", "search")]
        cls.prometheus = cls.rig.stops(Prometheus(cls.rig, cls.sidecar).start())
        # Until the first scrape the sidecar is missing, and said to be.
        cls.prometheus.wait_silent("SyncflowDown")

    @classmethod
    def small_disk(cls):
        """For the journal; None where nobody may mount."""
        folder = os.path.join(cls.rig.folder, "disk")
        os.mkdir(folder)
        if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64m", "syncflow-test", folder], check=False, capture_output=True).returncode != 0:
            return None
        cls.addClassCleanup(subprocess.run, ["umount", "-l", folder], check=False)
        return folder

    def insert(self, prefix, count, size=10):
        self.rig.execute(
            "INSERT INTO operations (id, type, collection, doc_id, data, timestamp, client_id, vector_clock) "
            "SELECT %s || '-' || n, 'put', 'todos', 'doc', jsonb_build_object('x', repeat(md5(random()::text), %s / 32 + 1)), n, 'c', '{}' "
            "FROM generate_series(1, %s) n", prefix, size, count)

    def wait_read(self):
        wait_until(lambda: self.prometheus.query("syncflow_named_consumers_lag_max_bytes") == [0], "the consumers to have read everything",
                   context=self.sidecar.log_tail)

    def test_0_nothing_fires_on_a_good_day(self):
        self.insert("good", 100)
        self.wait_read()
        wait_until(lambda: (self.prometheus.query("syncflow_heartbeat_roundtrip_seconds_count") or [0])[0] > 0, "a heartbeat")
        end = time.monotonic() + QUIET
        while time.monotonic() < end:
            self.insert(f"good-{time.monotonic()}", 10)
            self.assertEqual(self.prometheus.firing(), set(), self.prometheus.state())
            time.sleep(0.2)

    def test_1_page_is_clean_and_within_its_budget(self):
        page = self.sidecar.get("/metrics")[1]
        tools.run("promtool", "check", "metrics", input=page)
        table = tools.run("promtool", "check", "metrics", "--extended", input=page)
        series = int(re.search(r"^Total +(\d+)", table, re.MULTILINE)[1])
        print(f"{series} series")
        self.assertGreater(series, 100)
        self.assertLess(series, SERIES_MAX)

    def test_2_every_name_in_rules_dashboard_and_pages_is_scraped(self):
        scraped = set(self.prometheus.ask("label/__name__/values"))
        scraped |= {name.removesuffix("_bucket") for name in scraped}
        texts = {DASHBOARD: "\n".join(expressions()), RULES: tools.read(RULES)}
        for folder in (os.path.join(CHART, "runbooks"), os.path.join(CHART, "..", "operations")):
            for name in os.listdir(folder):
                texts[name] = tools.read(os.path.join(folder, name))
        for place, text in texts.items():
            self.assertEqual(metric_names(text) - scraped, set(), place)

    def test_3_every_panel_has_something_to_show(self):
        for expression in panel_expressions():
            with self.subTest(expression):
                wait_until(lambda: self.prometheus.query(expression), "an answer to " + expression)

    def test_4_listen_is_lost(self):
        self.rig.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE backend_type = 'client backend' AND pid <> pg_backend_pid()")
        self.prometheus.wait_firing("SyncflowNotifyGap")
        self.prometheus.wait_silent("SyncflowNotifyGap")

    def test_5_a_consumer_stalls_and_fills_the_journal(self):
        self.consumers[0].stalled = True
        self.insert("stall", 700, 10_000)
        # What is WAL of 10 GiB otherwise is 10 MiB here, and the server moves the slot on every 15 s.
        allowed = ("SyncflowConsumerStalled", "SyncflowJournalPinned", "SyncflowSlotRetainsWal")
        for name in allowed[:2]:
            self.prometheus.wait_firing(name, *allowed)
        self.consumers[0].stalled = False
        self.wait_read()
        self.insert("after", 10)
        self.prometheus.wait_silent(*allowed)

    def test_5_then_one_is_left_behind(self):
        """Beyond journal.pin_size_max the journal goes on without it."""
        archive = self.rig.stops(Billing(self.sidecar.feed, "archive").start())
        self.insert("kept", 10)
        self.wait_read()
        archive.stop()
        self.insert("beyond", 1400, 10_000)
        allowed = ("SyncflowConsumerStalled", "SyncflowJournalPinned", "SyncflowSlotRetainsWal", "SyncflowConsumerHistoryLost")
        self.prometheus.wait_firing("SyncflowConsumerHistoryLost", *allowed)
        self.assertEqual(self.prometheus.query('syncflow_consumer_history_lost{consumer="archive"}'), [1])
        tools.run(self.sidecar.program, "consumers", "--config", self.sidecar.config, "remove", "archive")
        self.prometheus.wait_silent(*allowed)

    def test_5_then_the_disk_fills_up(self):
        if not self.disk:
            self.skipTest("no tmpfs can be mounted here")
        allowed = ("SyncflowJournalVolumeFilling", "SyncflowJournalBlocked", "SyncflowJournalErrors", "SyncflowNotStreaming",
                   "SyncflowSlotRetainsWal", "SyncflowConsumerStalled")
        ballast = os.path.join(self.disk, "ballast")

        def fills():
            with open(ballast, "ab") as file:
                file.write(bytes(shutil.disk_usage(self.disk).free // 10))
            return "SyncflowJournalVolumeFilling" in self.prometheus.firing_of(*allowed)

        wait_until(fills, "the alert before it is full", context=self.prometheus.state, every=1)
        with open(ballast, "ab") as file:
            file.write(bytes(max(0, shutil.disk_usage(self.disk).free - (128 << 10))))
        self.insert("full", 200, 10_000)
        self.prometheus.wait_firing("SyncflowJournalBlocked", *allowed)
        os.unlink(ballast)
        self.wait_read()
        self.prometheus.wait_silent(*allowed)

    def test_6_the_slot_is_nearly_lost(self):
        """A transaction that stays open holds the slot back, however well the sidecar reads."""
        allowed = ("SyncflowSlotNearlyLost", "SyncflowSlotRetainsWal")
        forgotten = self.rig.connect()
        forgotten.autocommit = False
        forgotten.cursor().execute("CREATE TABLE forgotten ()")

        def nearly_lost():
            if (self.prometheus.query("syncflow_slot_safe_wal_bytes") or [1e9])[0] > 50e6:
                self.rig.execute("SELECT pg_logical_emit_message(false, 'x', repeat('x', 1000000)) FROM generate_series(1, 4)")
            return "SyncflowSlotNearlyLost" in self.prometheus.firing_of(*allowed)
        wait_until(nearly_lost, "the alert", context=self.prometheus.state, every=1)
        forgotten.rollback()
        forgotten.close()

        def out_of_danger():
            self.rig.execute("CHECKPOINT")
            return self.prometheus.firing() is not None and not self.prometheus.firing_of(*allowed)
        wait_until(out_of_danger, "the alert to clear", context=lambda: self.prometheus.state() + self.sidecar.get("/status")[1], every=1)

    def test_7_postgresql_goes_and_comes_back(self):
        self.rig.server.stop("fast")
        self.prometheus.wait_firing("SyncflowNotStreaming", "SyncflowNotifyGap")
        self.rig.server.start()
        self.prometheus.wait_silent("SyncflowNotStreaming", "SyncflowNotifyGap")

    def test_8_the_sidecar_ends_and_comes_back(self):
        self.assertEqual(self.sidecar.terminate(), 0)
        self.prometheus.wait_firing("SyncflowDown")
        self.sidecar.start_ready()
        self.prometheus.wait_silent("SyncflowDown")


if __name__ == "__main__":
    unittest.main(verbosity=2)
