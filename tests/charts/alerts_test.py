#!/usr/bin/python3
"""The alerts and the dashboard: each alert fires when it should and not before, each has its page, each expression parses."""

import json
import os
import re
import sys
import tempfile
import unittest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import tools  # noqa: E402

tools.need("promtool")

import yaml  # noqa: E402

CHART = os.path.join(tools.ROOT, "charts", "syncflow-sidecar")
RULES = os.path.join(CHART, "rules", "syncflow.yaml")
DASHBOARD = os.path.join(CHART, "dashboards", "syncflow-sidecar.json")
ALERTS = {rule["alert"]: rule for group in yaml.safe_load(tools.read(RULES))["groups"] for rule in group["rules"]}
GIB = 1 << 30

WHO = 'job="syncflow",instance="s"'
SLOT = WHO + ',slot="shop"'


def up(pod, instance="10.0.0.1:9464"):
    """As the Prometheus Operator labels a pod's target."""
    return f'up{{job="syncflow",namespace="data",pod="{pod}",instance="{instance}"}}'


# Alert: series by minute; the minute at which it does not fire yet, and one at which it does; labels besides severity, job and
# instance; its description then.
CASES = {
    "SyncflowDown": ({f"up{{{WHO}}}": "1x4 0x20"}, 8, 11, {},
                     "s has not answered for 5 minutes. Meanwhile PostgreSQL keeps WAL."),
    "SyncflowNotStreaming": (
        {f"syncflow_source_streaming{{{SLOT}}}": "1x4 0x20", f'syncflow_state{{{WHO},state="standby"}}': "0x30"}, 13, 16,
        {"slot": "shop"}, "s has not streamed from slot shop for 10 minutes; WAL gathers on the primary."),
    "SyncflowStuck": ({f'syncflow_state{{{WHO},state="stuck"}}': "0x4 1x9"}, 4, 6, {"state": "stuck"},
                      "s meets the same unreadable transaction again and again; somebody must decide whether to skip it."),
    "SyncflowSlotLost": (
        {f'syncflow_slot_wal_status{{{WHO},status="lost"}}': "0x4 1x9", f"syncflow_source_streaming{{{SLOT}}}": "1x3 0x9"}, 4, 7,
        {"status": "lost"},
        "The slot of s is lost. The sidecar makes a new one and fills the hole from the operations table."),
    "SyncflowSlotNearlyLost": ({f"syncflow_slot_endangered{{{SLOT}}}": "0x4 1x9"}, 4, 6, {"slot": "shop"},
                               "More than half of max_slot_wal_keep_size is used up by slot shop."),
    "SyncflowSlotRetainsWal": ({f"syncflow_slot_retained_wal_bytes{{{SLOT}}}": f"{GIB}x4 {12 * GIB}x30"}, 18, 21, {"slot": "shop"},
                               "Slot shop keeps 12GiB."),
    "SyncflowConfirmStalled": (
        {f"syncflow_server_wal_position_bytes{{{SLOT}}}": "0+16777216x40",
         f"syncflow_confirmed_position_bytes{{{SLOT}}}": "0+16777216x10 167772160x30"}, 20, 27, {"slot": "shop"},
        "Slot shop has confirmed nothing for 10 minutes while the server wrote 160MiB."),
    "SyncflowReconcilingLong": ({f'syncflow_state{{{WHO},state="reconciling"}}': "0x4 1x90"}, 63, 66, {"state": "reconciling"},
                                "s has read the table for over an hour, or begins again and again; meanwhile the slot keeps WAL."),
    "SyncflowHistoryLost": ({f"syncflow_source_history_losses_total{{{WHO}}}": "0x9 1x9"}, 9, 11, {},
                            "s had to read what it missed from the operations table; rows deleted meanwhile are missing."),
    "SyncflowDecodeErrors": ({f"syncflow_decode_errors_total{{{WHO}}}": "0x15 3x9"}, 15, 18, {},
                             "s met 3 messages it does not understand in 15 minutes."),
    "SyncflowLatencyHigh": (
        {f'syncflow_heartbeat_roundtrip_seconds_bucket{{{WHO},le="5"}}': "0x60",
         f'syncflow_heartbeat_roundtrip_seconds_bucket{{{WHO},le="10"}}': "0+6x60",
         f'syncflow_heartbeat_roundtrip_seconds_bucket{{{WHO},le="+Inf"}}': "0+6x60"}, 9, 25, {},
        "One in ten heartbeats of s takes more than 5 s."),
    "SyncflowCatalogXminOld": (
        {f"syncflow_slot_catalog_xmin_age_transactions{{{SLOT}}}": "5000x4 150000000x30"}, 18, 21, {"slot": "shop"},
        "Slot shop keeps VACUUM from what the last 150M transactions left in the catalogs."),
    "SyncflowJournalBlocked": ({f'syncflow_state{{{WHO},state="blocked"}}': "0x4 1x9"}, 5, 7, {"state": "blocked"},
                               "s receives nothing until its journal can be written again; PostgreSQL keeps the changes."),
    "SyncflowJournalVolumeFilling": (
        {f"syncflow_journal_volume_available_bytes{{{WHO}}}": f"{2 * GIB}-{GIB // 64}x90",
         f"syncflow_journal_volume_size_bytes{{{WHO}}}": f"{12 * GIB}x90"}, 10, 32, {}, "12.5% are left of the journal's volume of s."),
    "SyncflowJournalPinned": (
        {f"syncflow_journal_size_bytes{{{WHO}}}": f"{GIB}x4 {15 * GIB}x20", f"syncflow_journal_pin_max_bytes{{{WHO}}}": f"{16 * GIB}x30",
         f"syncflow_journal_retain_bytes{{{WHO}}}": f"{4 * GIB}x30"}, 8, 11, {},
        "The journal of s is at 93.75% of journal.pin_size_max; beyond it the slowest consumer loses history."),
    "SyncflowJournalErrors": ({f"syncflow_journal_errors_total{{{WHO}}}": "0x15 2x9"}, 15, 18, {},
                              "2 writes of s to its journal failed in 15 minutes."),
    "SyncflowSyncSlow": (
        {f"syncflow_journal_sync_seconds_total{{{WHO}}}": "0+60x40", f"syncflow_journal_syncs_total{{{WHO}}}": "0+60x40"}, 14, 20, {},
        "An fdatasync of s takes 1s on average."),
    "SyncflowConsumerStalled": (
        {f'syncflow_consumer_lag_bytes{{{WHO},consumer="billing"}}': "0x4 4096x30",
         f'syncflow_consumer_acknowledged_position_bytes{{{WHO},consumer="billing"}}': "0+8x4 40x30"}, 14, 21,
        {"consumer": "billing"}, "billing has acknowledged nothing for 10 minutes and is 4kiB of WAL behind."),
    "SyncflowConsumerHistoryLost": (
        {f"syncflow_named_consumers_history_lost{{{WHO}}}": "0x4 1x9"}, 5, 7, {},
        "1 named consumers of s stand where its journal no longer goes on."),
    "SyncflowConsumersRefused": ({f"syncflow_feed_connections_refused_total{{{WHO}}}": "0x4 0+60x20"}, 8, 14, {},
                                 "s turned 300 connections away in 5 minutes."),
    "SyncflowNotifyGap": ({f"syncflow_notify_gaps_total{{{WHO}}}": "0x15 1x9"}, 15, 18, {},
                          "LISTEN of s was lost 1 times in 15 minutes. The feed lost nothing; who listens on their own may have."),
    "SyncflowCompactionFailing": (
        {f'syncflow_compaction_runs_total{{{WHO},compaction_job="old",outcome="skipped"}}': "0x9 1x60 2x60",
         f'syncflow_compaction_runs_total{{{WHO},compaction_job="old",outcome="done"}}': "7x130",
         f'syncflow_compaction_runs_total{{{WHO},compaction_job="logs",outcome="done"}}': "0+1x130"}, 69, 72, {"compaction_job": "old"},
        "No run of the compaction old on s was done in 6 hours, and some failed, were skipped or cut off."),
    "SyncflowRestarting": ({f"process_start_time_seconds{{{WHO}}}": "0+60x6"}, 3, 5, {}, "s started 5 times in 30 minutes."),
}
# More ways in which an alert fires: what, and alert, series, minute, labels, description.
ALSO = {
    "a table whose reading fails and begins again": (
        "SyncflowReconcilingLong", {f'syncflow_state{{{WHO},state="reconciling"}}': "1x9 0 1x9 0x2 1x9 0 1x9 0 1x9 0 1x9 0 1x9 0 1x9"}, 66,
        {"state": "reconciling"}, "s has read the table for over an hour, or begins again and again; meanwhile the slot keeps WAL."),
    "a transaction that is tried again": (
        "SyncflowStuck", {f'syncflow_state{{{WHO},state="stuck"}}': "0 1x5 0x2 1x5"}, 8, {"state": "stuck"},
        "s meets the same unreadable transaction again and again; somebody must decide whether to skip it."),
    "history lost before the first scrape": (
        "SyncflowHistoryLost", {f"syncflow_source_history_losses_total{{{WHO}}}": "_x5 1x9",
                                f"process_start_time_seconds{{{WHO}}}": "_x5 240x9"}, 7, {},
        "s had to read what it missed from the operations table; rows deleted meanwhile are missing."),
}
# What looks like the start of an incident and is none: series, and the alert that must stay silent at the minute.
SILENT = {
    "a sidecar that stands by": ("SyncflowNotStreaming", {f"syncflow_source_streaming{{{SLOT}}}": "0x30",
                                                         f'syncflow_state{{{WHO},state="standby"}}': "1x30"}, 20),
    "a scrape that is missing": ("SyncflowNotStreaming", {f"syncflow_source_streaming{{{SLOT}}}": "1x9 _x3 1x9"}, 18),
    "a slot that was replaced": ("SyncflowSlotLost", {f'syncflow_slot_wal_status{{{WHO},status="lost"}}': "1 0x9",
                                                     f"syncflow_source_streaming{{{SLOT}}}": "1x9"}, 5),
    "an idle server": ("SyncflowConfirmStalled", {f"syncflow_server_wal_position_bytes{{{SLOT}}}": "5x40",
                                                 f"syncflow_confirmed_position_bytes{{{SLOT}}}": "5x40"}, 30),
    "a sidecar that stands by and confirms nothing": (
        "SyncflowConfirmStalled", {f"syncflow_server_wal_position_bytes{{{SLOT}}}": "0+16777216x40",
                                   f"syncflow_confirmed_position_bytes{{{SLOT}}}": "0x40",
                                   f'syncflow_state{{{WHO},state="standby"}}': "1x40"}, 30),
    "history lost long ago": ("SyncflowHistoryLost", {f"syncflow_source_history_losses_total{{{WHO}}}": "1x60",
                                                     f"process_start_time_seconds{{{WHO}}}": "0x60"}, 40),
    "compaction that was done at the second try": (
        "SyncflowCompactionFailing", {f'syncflow_compaction_runs_total{{{WHO},compaction_job="old",outcome="failed"}}': "0x9 1x200",
                                      f'syncflow_compaction_runs_total{{{WHO},compaction_job="old",outcome="done"}}': "0x20 1x200"}, 120),
    "compaction that was asked for in vain": (
        "SyncflowCompactionFailing", {f'syncflow_compaction_runs_total{{{WHO},compaction_job="on demand",outcome="skipped"}}': "0x9 1x200",
                                      f'syncflow_compaction_runs_total{{{WHO},compaction_job="on demand",outcome="done"}}': "0x200"}, 120),
    "compaction that another sidecar does": (
        "SyncflowCompactionFailing", {f'syncflow_compaction_runs_total{{{WHO},compaction_job="old",outcome="elsewhere"}}': "0+1x200",
                                      f'syncflow_compaction_runs_total{{{WHO},compaction_job="old",outcome="done"}}': "0x200"}, 120),
    "a full volume that does not fill": ("SyncflowJournalVolumeFilling",
                                         {f"syncflow_journal_volume_available_bytes{{{WHO}}}": f"{GIB}x90",
                                          f"syncflow_journal_volume_size_bytes{{{WHO}}}": f"{12 * GIB}x90"}, 60),
    "a volume with much room that fills": ("SyncflowJournalVolumeFilling",
                                           {f"syncflow_journal_volume_available_bytes{{{WHO}}}": f"{6 * GIB}-{GIB // 32}x90",
                                            f"syncflow_journal_volume_size_bytes{{{WHO}}}": f"{12 * GIB}x90"}, 60),
    "a first start that reads a large table": (
        "SyncflowNotStreaming", {f"syncflow_source_streaming{{{SLOT}}}": "0x30",
                                 f'syncflow_state{{{WHO},state="standby"}}': "0x30",
                                 f'syncflow_state{{{WHO},state="reconciling"}}': "1x30"}, 20),
    "a journal of its normal size": ("SyncflowJournalPinned", {f"syncflow_journal_size_bytes{{{WHO}}}": f"{4 * GIB}x30",
                                                              f"syncflow_journal_pin_max_bytes{{{WHO}}}": f"{4 * GIB}x30",
                                                              f"syncflow_journal_retain_bytes{{{WHO}}}": f"{4 * GIB}x30"}, 20),
    "a consumer that has read everything": (
        "SyncflowConsumerStalled", {f'syncflow_consumer_lag_bytes{{{WHO},consumer="c"}}': "0x30",
                                    f'syncflow_consumer_acknowledged_position_bytes{{{WHO},consumer="c"}}': "9x30"}, 25),
    "a StatefulSet's pod that was replaced": (
        "SyncflowDown", {up("shop-syncflow-sidecar-0", "10.0.0.1:9464"): "1x4 stale",
                         up("shop-syncflow-sidecar-0", "10.0.0.2:9464"): "_x6 1x30"}, 20),
    "a Deployment's pod that was replaced": (
        "SyncflowDown", {up("shop-5d69fd6c5b-x7k2q"): "1x4 stale", up("shop-7c9b8f4d65-2vwzk"): "_x6 1x30"}, 20),
    "another program's target": ("SyncflowDown", {'up{job="node",instance="s"}': "0x30", f"up{{{WHO}}}": "1x30"}, 20),
}


def dashboard():
    with open(DASHBOARD, encoding="utf-8") as file:
        return json.load(file)


def panel_expressions():
    """The PromQL of the panels, its variables replaced as Grafana would."""
    return [plain(target["expr"]) for panel in dashboard()["panels"] for target in panel.get("targets", [])]


def expressions():
    return panel_expressions() + [plain(each["expr"]) for each in dashboard()["annotations"]["list"]]


def plain(expression):
    return re.sub(r"\$(job|instance)", ".*", expression.replace("$__rate_interval", "5m"))


def metric_names(text):
    """Names of metrics in PromQL or prose."""
    return set(re.findall(r"\b(?:syncflow|process)_[a-z_]+[a-z]\b", text)) - {"syncflow_sidecar"}


def promtool(*words, content):
    with tempfile.NamedTemporaryFile("w", suffix=".yaml") as file:
        yaml.safe_dump(content, file)
        file.flush()
        return tools.run("promtool", *words, file.name)


def expected(alert, labels, description):
    rule = ALERTS[alert]
    return {"exp_labels": {**rule["labels"], "job": "syncflow", "instance": "s", **labels},
            "exp_annotations": {**rule["annotations"], "description": description}}


def rule_test(series, *checks):
    """`checks`: (minute, alert, expected alerts)."""
    return {"interval": "1m", "input_series": [{"series": name, "values": values} for name, values in series.items()],
            "alert_rule_test": [{"eval_time": f"{minute}m", "alertname": alert, "exp_alerts": alerts} for minute, alert, alerts in checks]}


class Alerts(unittest.TestCase):
    def test_promtool_takes_them(self):
        tools.run("promtool", "check", "rules", RULES)

    def test_each_has_a_case(self):
        self.assertEqual(set(CASES), set(ALERTS))

    def test_each_fires_when_it_should_and_not_before(self):
        for alert, (series, before, after, labels, description) in CASES.items():
            with self.subTest(alert):
                test = rule_test(series, (before, alert, []), (after, alert, [expected(alert, labels, description)]))
                promtool("test", "rules", content={"rule_files": [RULES], "evaluation_interval": "1m", "tests": [test]})

    def test_each_fires_in_other_ways(self):
        for what, (alert, series, minute, labels, description) in ALSO.items():
            with self.subTest(what):
                test = rule_test(series, (minute, alert, [expected(alert, labels, description)]))
                promtool("test", "rules", content={"rule_files": [RULES], "evaluation_interval": "1m", "tests": [test]})

    def test_a_sidecar_that_vanished_is_down(self):
        rule = ALERTS["SyncflowDown"]
        expected_alert = {"exp_labels": rule["labels"], "exp_annotations": {
            **rule["annotations"], "description": "Every sidecar has not answered for 5 minutes. Meanwhile PostgreSQL keeps WAL."}}
        test = rule_test({f"up{{{WHO}}}": "1x4"}, (8, "SyncflowDown", []), (16, "SyncflowDown", [expected_alert]))
        promtool("test", "rules", content={"rule_files": [RULES], "evaluation_interval": "1m", "tests": [test]})

    def test_one_of_two_sidecars_that_vanished_is_down(self):
        rule = ALERTS["SyncflowDown"]
        for pod, workload in (("shop-syncflow-sidecar-0", "shop-syncflow-sidecar-0"), ("shop-5d69fd6c5b-x7k2q", "shop")):
            with self.subTest(pod):
                expected_alert = {"exp_labels": {**rule["labels"], "job": "syncflow", "namespace": "data", "workload": workload},
                                  "exp_annotations": {**rule["annotations"], "description":
                                                      f"{workload} has not answered for 5 minutes. Meanwhile PostgreSQL keeps WAL."}}
                test = rule_test({up(pod): "1x4 stale", up("other-syncflow-sidecar-0"): "1x400"}, (9, "SyncflowDown", []),
                                 (11, "SyncflowDown", [expected_alert]), (360, "SyncflowDown", [expected_alert]),
                                 (366, "SyncflowDown", []))
                promtool("test", "rules", content={"rule_files": [RULES], "evaluation_interval": "1m", "tests": [test]})

    def test_each_is_silent_when_nothing_is_wrong(self):
        for what, (alert, series, minute) in SILENT.items():
            with self.subTest(what):
                test = rule_test(series, (minute, alert, []))
                promtool("test", "rules", content={"rule_files": [RULES], "evaluation_interval": "1m", "tests": [test]})

    def test_style(self):
        for name, rule in ALERTS.items():
            with self.subTest(name):
                self.assertIn(rule["labels"]["severity"], ("critical", "warning", "info"))
                self.assertNotIn("{{", rule["annotations"]["summary"])
                self.assertRegex(rule["annotations"]["summary"], r"^[A-Z].*\.$")


class Runbooks(unittest.TestCase):
    def test_each_alert_has_its_page_and_no_page_is_left_over(self):
        pages = set(os.listdir(os.path.join(CHART, "runbooks")))
        self.assertEqual(pages, {f"{name}.md" for name in ALERTS})
        for name, rule in ALERTS.items():
            self.assertEqual(rule["annotations"]["runbook_url"], f"runbooks/{name}.md")

    def test_each_page_says_what_how_and_what_to_do(self):
        for name in ALERTS:
            path = os.path.join(CHART, "runbooks", f"{name}.md")
            page = tools.read(path)
            self.assertTrue(page.startswith(f"# {name}\n"), name)
            self.assertEqual(re.findall(r"^## (.+)$", page, re.MULTILINE), ["What it means", "How to see it", "What to do"], name)
            self.assertEqual(list(tools.broken_links(path)), [], name)
            for other in re.findall(r"\bSyncflow[A-Z]\w+", page):
                self.assertIn(other, ALERTS, name)


class Dashboard(unittest.TestCase):
    def test_every_expression_parses(self):
        rules = [{"record": f"dashboard:{number}", "expr": each} for number, each in enumerate(expressions())]
        self.assertGreater(len(rules), 50)
        promtool("check", "rules", content={"groups": [{"name": "dashboard", "rules": rules}]})

    def test_a_broken_expression_is_noticed(self):
        with self.assertRaises(AssertionError):
            promtool("check", "rules", content={"groups": [{"name": "g", "rules": [{"record": "a:b", "expr": "sum(("}]}]})

    def test_panels(self):
        panels = dashboard()["panels"]
        ids = [panel["id"] for panel in panels]
        self.assertEqual(len(ids), len(set(ids)))
        for panel in panels:
            self.assertTrue(panel["title"])
            for target in panel.get("targets", []):
                self.assertEqual(target["datasource"]["uid"], "${datasource}", panel["title"])
                self.assertIn('job=~"$job", instance=~"$instance"', target["expr"], panel["title"])

    def test_panels_do_not_overlap(self):
        taken = set()
        for panel in dashboard()["panels"]:
            place = panel["gridPos"]
            cells = {(x, y) for x in range(place["x"], place["x"] + place["w"]) for y in range(place["y"], place["y"] + place["h"])}
            self.assertFalse(taken & cells, panel["title"])
            self.assertLessEqual(place["x"] + place["w"], 24)
            taken |= cells


if __name__ == "__main__":
    unittest.main(verbosity=2)
