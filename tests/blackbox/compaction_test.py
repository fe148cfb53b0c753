#!/usr/bin/python3
"""Scheduled compaction: old operations go, and nothing else does, whatever is killed, missed, twice there, or wrong about
the time; the feed does not notice."""

import time
import unittest

from case import Case
from compacting import Watch, false_clock, put_off
from consumer import Consumer
from durable_test import Named
from waiting import wait_until
from writer import Writers

YOUNG = """
    INSERT INTO operations (id, type, collection, doc_id, data, timestamp, client_id, vector_clock)
    SELECT %s || '-' || n, 'insert', 'todos', 'doc', '{}', (extract(epoch FROM now()) * 1000)::bigint, 'client-1', '{}'
    FROM generate_series(1, %s) n"""


def job(**more):
    return {"name": "job", "every": "2s", "older_than": "30d", "pause": "0ms", "share_max": 1} | more


class Compaction(Case):
    def begin(self, jobs, name="sidecar", **settings):
        self.server = self.rig()
        self.server.stored_long_ago()
        self.sidecar = self.server.sidecar(name, **{"compaction.jobs": jobs, **settings})

    def left(self, pattern="%"):
        return self.server.execute("SELECT count(*) FROM operations WHERE id LIKE %s", pattern)[0][0]

    def runs(self, sidecar=None, name="job"):
        """Newest first; those that go on are left out."""
        for one in (sidecar or self.sidecar).status()["compaction"]["jobs"]:
            if one["name"] == name:
                return [run for run in one["runs"] if run["outcome"] != "running"]
        return []

    def wait_run(self, outcome, sidecar=None, reason=""):
        def found():
            return [run for run in self.runs(sidecar) if run["outcome"] == outcome and reason in run["reason"]]

        return wait_until(found, f"a run that is {outcome} {reason}", context=(sidecar or self.sidecar).log_tail)[0]

    def follow(self, sidecar=None):
        return self.server.stops(Consumer((sidecar or self.sidecar).feed).start())

    def assert_has_once(self, consumer, ids):
        wait_until(lambda: consumer.ids >= set(ids), "all operations", context=self.sidecar.log_tail)
        self.assertCountEqual([delivery.id for delivery in consumer.deliveries], ids)
        self.assertEqual(consumer.gaps + consumer.refusals + consumer.broken, [])

    # ---- what it is for ----

    def test_old_operations_go_and_the_feed_does_not_notice(self):
        self.begin([job(batch_rows=100), job(name="never", every="1000h", dry_run=True)])
        self.sidecar.start_ready()
        consumer = self.follow()
        self.commit(self.server, "old", rows=1000)
        self.server.execute(YOUNG, "young", 50)
        wait_until(lambda: self.left("old-%") == 0, "the old ones to go", context=self.sidecar.log_tail)
        run = wait_until(lambda: [run for run in self.runs() if run["deleted"]], "the run to be told")[0]
        self.assertEqual((run["outcome"], run["deleted"], run["eligible"], run["limited"]), ("done", 1000, 1000, False))
        self.assertLessEqual(run["due"], run["started"])
        self.assertEqual(self.left(), 50)
        self.commit(self.server, "later", rows=10)
        expected = [f"old-{n}" for n in range(1, 1001)] + [f"young-{n}" for n in range(1, 51)] + [f"later-{n}" for n in range(1, 11)]
        self.assert_has_once(consumer, expected)
        metrics = self.sidecar.metrics()
        self.assertGreaterEqual(metrics['syncflow_compaction_runs_total{compaction_job="job",outcome="done"}'], 1)
        self.assertGreaterEqual(metrics["syncflow_compaction_deleted_operations_total"], 1000)
        status = self.sidecar.status()["compaction"]
        self.assertEqual([one["name"] for one in status["jobs"]], ["job", "never"])
        self.assertEqual(status["jobs"][1]["schedule"], "every 1000h")
        self.sidecar.terminate()
        self.sidecar.start_ready()
        self.assertIn(run["started"], [one["started"] for one in self.runs()])

    def test_what_was_stored_late_stays_for_the_others(self):
        """Its timestamp alone would make it go at once."""
        self.begin([job()])
        self.server.execute("ALTER TABLE operations ALTER received_at SET DEFAULT now()")
        self.sidecar.start_ready()
        self.commit(self.server, "late")
        self.server.execute("INSERT INTO operations SELECT 'old', type, collection, doc_id, data, timestamp, client_id, synced, vector_clock,"
                            " received_at - interval '31 days' FROM operations LIMIT 1")
        wait_until(lambda: self.left("old") == 0, "the old one to go", context=self.sidecar.log_tail)
        self.assertEqual(self.left(), 10)

    def test_ages_by_collection_and_the_newest_of_a_document(self):
        self.begin([job(older_than="never", collections={"todos": "30d"}, keep_last=2)])
        self.sidecar.start_ready()
        self.commit(self.server, "old", rows=20)  # one document
        self.wait_run("failed", reason="init --index document")
        self.assertEqual(self.left(), 20)
        self.server.execute("CREATE INDEX idx_ops_document ON operations (collection, doc_id, timestamp, id)")
        wait_until(lambda: self.left() == 2, "all but two to go", context=self.sidecar.log_tail)
        self.wait_run("done")
        self.assertEqual(self.server.execute("SELECT array_agg(id ORDER BY timestamp) FROM operations")[0][0], ["old-19", "old-20"])

    def test_missed_times_run_once(self):
        nightly = {"name": "job", "schedule": "0 2 * * *", "older_than": "30d", "share_max": 1}
        self.begin([nightly])
        self.sidecar.start_ready()
        self.commit(self.server, "old", rows=100)
        self.sidecar.terminate()
        self.assertEqual(put_off(self.sidecar, hours=72), [])
        self.sidecar.start_ready()
        self.wait_run("done")
        self.assertEqual(self.left(), 0)
        status = self.sidecar.status()["compaction"]["jobs"][0]
        self.assertEqual(len(status["runs"]), 1)
        self.assertGreater(status["next"], status["runs"][0]["ended"])
        self.assertRegex(status["next"], "T02:00:00")

    # ---- what is done to it ----

    def terminate_and_kill_in_the_middle_of_three_runs(self):
        self.sidecar.terminate()
        put_off(self.sidecar, hours=2000)
        for _ in range(3):
            before = self.left()
            self.sidecar.start_ready()
            wait_until(lambda: self.left() < before, "some to go", context=self.sidecar.log_tail)
            self.sidecar.kill()

    def test_killed_in_the_middle(self):
        """Everything that was committed is delivered once, and the run is made up for at the next start."""
        self.begin([job(every="1000h", batch_rows=200, pause="50ms")])
        self.sidecar.start_ready()
        consumer = self.follow()
        self.commit(self.server, "old", rows=10000)
        self.terminate_and_kill_in_the_middle_of_three_runs()
        self.assertGreater(self.left(), 0, "it was killed in the middle")
        self.sidecar.start_ready()
        wait_until(lambda: self.left() == 0, "the rest to go", context=self.sidecar.log_tail)
        self.wait_run("done")
        self.assertIn("interrupted", [run["outcome"] for run in self.runs()])
        wait_until(lambda: len(consumer.ids) == 10000, "all operations", context=self.sidecar.log_tail)
        self.assertEqual(consumer.gaps + consumer.refusals + consumer.broken, [])

    def test_two_sidecars_run_it_once(self):
        """Each with a slot of its own, and one that stands by; when the one that runs it is gone, another does."""
        self.begin([job()], name="one")
        others = [self.server.sidecar("two", **{"compaction.jobs": [job()]}),
                  self.server.sidecar("three", **{"compaction.jobs": [job()], "replication.slot": self.sidecar.slot})]
        self.sidecar.start_ready()
        self.wait_run("done")
        others[0].start_ready()
        others[1].start()
        self.commit(self.server, "old", rows=100)
        wait_until(lambda: self.left() == 0, "them to go", context=self.sidecar.log_tail)
        self.wait_run("elsewhere", others[0], "another sidecar on this database")
        wait_until(lambda: others[1].get("/status")[0] and self.runs(others[1]), "a run", context=others[1].log_tail)
        wait_until(lambda: "standing by" in self.runs(others[1])[0]["reason"], "that it stands by", context=others[1].log_tail)
        for other in others:
            self.assertLessEqual({run["outcome"] for run in self.runs(other)}, {"elsewhere", "skipped"})
        self.sidecar.kill()
        self.commit(self.server, "later", rows=100)
        wait_until(lambda: self.left() == 0, "another one to take over", context=others[0].log_tail)
        wait_until(lambda: [run for other in others for run in self.runs(other) if run["outcome"] == "done"], "it to say so",
                   context=others[0].log_tail)

    def test_two_sidecars_that_are_due_at_once_run_it_once(self):
        self.begin([job(every="1000h", batch_rows=50, pause="20ms")], name="one")
        both = [self.sidecar, self.server.sidecar("two", **{"compaction.jobs": [job(every="1000h", batch_rows=50, pause="20ms")]})]
        for sidecar in both:
            sidecar.start_ready()
        self.commit(self.server, "old", rows=1000)
        for sidecar in both:
            sidecar.terminate()
            put_off(sidecar, hours=2000)
        for sidecar in both:
            sidecar.start()
        wait_until(lambda: self.left() == 0, "them to go", context=self.sidecar.log_tail)

        def ended():
            return [run["outcome"] for sidecar in both for run in self.runs(sidecar)]

        wait_until(lambda: sorted(ended()) == ["done", "elsewhere"], "one run and one refusal", context=lambda: str(ended()))
        self.assertEqual(sorted(run["deleted"] for sidecar in both for run in self.runs(sidecar)), [0, 1000])
        counted = [sidecar.metrics()['syncflow_compaction_runs_total{compaction_job="job",outcome="done"}'] for sidecar in both]
        self.assertEqual(sorted(counted), [0, 1])

    def test_clock_of_the_server_a_year_ahead(self):
        self.begin([job(older_than="90d")])
        self.sidecar.start_ready()
        self.wait_run("done")
        self.server.execute(YOUNG, "young", 1000)
        self.server.server.stop()
        self.server.server.clock = "+365d"
        self.server.server.start()
        self.wait_run("skipped", reason="h ahead of the one of this machine")
        self.assertEqual(self.left(), 1000)
        self.server.server.stop()
        self.server.server.clock = None
        self.server.server.start()
        done = len([run for run in self.runs() if run["outcome"] == "done"])
        wait_until(lambda: len([run for run in self.runs() if run["outcome"] == "done"]) > done, "it to go on",
                   context=self.sidecar.log_tail)
        self.assertEqual(self.left(), 1000)

    def test_clocks_of_server_and_sidecar_a_year_ahead(self):
        """Nothing tells the two apart; a consumer that was away for a moment still finds everything it has not read."""
        small = {"journal.segment_size": "1MiB", "journal.retain_size": "2MiB", "feed.tail_memory": "1MiB"}
        self.begin([job(batch_rows=500)], **small)
        self.sidecar.start_ready()
        self.commit(self.server, "early")
        consumer = Named(self.sidecar.feed, "away").start()
        wait_until(lambda: consumer.has("early-10") and consumer.acked, "an ack", context=self.sidecar.log_tail)
        consumer.stop()
        for number in range(4):
            self.commit(self.server, f"bulk{number}", rows=1000, size=1000)
        wait_until(lambda: self.left() == 0, "all to go from the table", context=self.sidecar.log_tail)
        self.sidecar.terminate()
        self.server.server.stop()
        self.server.server.clock = "+365d"
        self.server.server.start()
        self.sidecar.start(prefix=false_clock("+365d"))
        self.sidecar.wait_ready()
        for number in range(4, 8):
            self.commit(self.server, f"bulk{number}", rows=1000, size=1000)
        wait_until(lambda: self.left() == 0, "all to go from the table, now or later", context=self.sidecar.log_tail)
        again = self.server.stops(Named(self.sidecar.feed, "away"))
        again.greeted = True
        again.start()
        expected = {f"bulk{number}-{n}" for number in range(8) for n in range(1, 1001)}
        wait_until(lambda: again.ids >= expected or again.gaps + again.refusals, "everything", context=self.sidecar.log_tail)
        self.assertEqual(again.gaps + again.refusals + again.broken, [])

    def test_clock_that_is_a_little_ahead_takes_no_more_than_its_share(self):
        """Too little to be told from another clock that is wrong; half an hour is much for this job."""
        self.begin([job(older_than="20m", share_max=0.25, every="1000h")])
        self.sidecar.start_ready()
        self.server.execute(YOUNG, "young", 1000)
        self.sidecar.terminate()
        put_off(self.sidecar, hours=2000)
        self.server.server.stop()
        self.server.server.clock = "+50m"
        self.server.server.start()
        self.sidecar.start_ready()
        run = self.wait_run("done")
        self.assertEqual((run["eligible"], run["deleted"], run["limited"]), (1000, 250, True))
        self.assertEqual(self.left(), 750)
        self.assert_sentence(self.sidecar, "compacted", "share_max keeps the rest: is the clock right")

    def test_killed_again_and_again_takes_its_share_once(self):
        """Each attempt would take a quarter of what the one before has left."""
        self.begin([job(every="1000h", batch_rows=200, pause="50ms", share_max=0.25)])
        self.sidecar.start_ready()
        self.commit(self.server, "old", rows=10000)
        self.terminate_and_kill_in_the_middle_of_three_runs()
        self.assertGreater(self.left(), 7500, "it was killed in the middle")
        self.sidecar.start_ready()
        self.wait_run("done", reason="share_max keeps the rest")
        self.assertGreaterEqual(self.left(), 7500)
        self.assertLessEqual(self.left(), 7500 + 4 * 200, "what was claimed and not taken, each time")

    # ---- consumers ----

    def test_consumer_that_is_behind_loses_nothing(self):
        self.begin([job(batch_rows=500)], **{"journal.segment_size": "1MiB", "journal.retain_size": "2MiB", "feed.tail_memory": "1MiB"})
        self.sidecar.start_ready()
        self.commit(self.server, "early")
        consumer = Named(self.sidecar.feed, "away").start()
        wait_until(lambda: consumer.has("early-10") and consumer.acked, "an ack", context=self.sidecar.log_tail)
        consumer.stop()
        for number in range(8):
            self.commit(self.server, f"bulk{number}", rows=1000, size=1000)
        wait_until(lambda: self.left() == 0, "all to go from the table", context=self.sidecar.log_tail)
        again = self.server.stops(Named(self.sidecar.feed, "away"))
        again.greeted = True
        again.start()
        expected = {f"bulk{number}-{n}" for number in range(8) for n in range(1, 1001)}
        wait_until(lambda: again.ids >= expected, "everything that was compacted", context=self.sidecar.log_tail)
        self.assertEqual(again.gaps + again.refusals + again.broken, [])

    def test_consumer_that_the_journal_cannot_serve_keeps_the_table(self):
        self.begin([job()], **{"journal.segment_size": "1MiB", "journal.retain_size": "2MiB", "journal.pin_size_max": "2MiB",
                               "feed.tail_memory": "1MiB"})
        self.sidecar.start_ready()
        self.commit(self.server, "early")
        consumer = Named(self.sidecar.feed, "away").start()
        wait_until(lambda: consumer.has("early-10") and consumer.acked, "an ack", context=self.sidecar.log_tail)
        consumer.stop()
        self.sidecar.terminate()
        self.sidecar.configure(**{"compaction.jobs": []})
        self.sidecar.start_ready()
        for number in range(8):
            self.commit(self.server, f"bulk{number}", rows=1000, size=1000)
        self.assert_delivers_last(8)
        self.sidecar.terminate()
        self.sidecar.configure(**{"compaction.jobs": [job()]})
        self.sidecar.start_ready()
        self.wait_run("skipped", reason="the consumer 'away' has not acknowledged what the journal no longer has")
        self.assertEqual(self.left("bulk%"), 8000)
        self.assertEqual(self.sidecar.status()["compaction"]["jobs"][0]["runs"][0]["outcome"], "skipped")

    def assert_delivers_last(self, count):
        """The journal has come to the last of the bulk."""
        consumer = Consumer(self.sidecar.feed).start()
        wait_until(lambda: consumer.has(f"bulk{count - 1}-1000"), "the last of them", context=self.sidecar.log_tail)
        consumer.stop()

    # ---- load ----

    def test_under_writers_each_transaction_is_short(self):
        """The run as a whole takes far longer than any of its transactions, and the feed has everything once."""
        self.begin([job(every="1000h", batch_rows=500, pause="20ms")])
        self.sidecar.start_ready()
        consumer = self.follow()
        self.commit(self.server, "old", rows=40000)
        self.sidecar.terminate()
        put_off(self.sidecar, hours=2000)
        writers = Writers(self.server.server.url, 11, threads=3).start()
        watch = self.server.stops(Watch(self.server))
        self.sidecar.start_ready()
        watch.start()
        run = self.wait_run("done")
        watch.stop()
        writers.stop()
        writers.resolve()
        self.assertGreaterEqual(run["deleted"], 40000)
        self.assertGreater(watch.seen, 10, "it was seen at work")
        took = self.seconds(run["ended"]) - self.seconds(run["started"])
        self.assertLess(watch.longest, took / 4)
        expected = {f"old-{n}" for n in range(1, 40001)} | set(writers.committed())
        wait_until(lambda: consumer.ids >= expected, "all operations", context=self.sidecar.log_tail)
        self.assertEqual(consumer.ids, expected)
        self.assertEqual(consumer.gaps + consumer.refusals + consumer.broken, [])
        self.sidecar.terminate()
        self.assertEqual(self.sidecar.sanitizer_reports(), [])

    @staticmethod
    def seconds(text):
        return time.mktime(time.strptime(text[:19], "%Y-%m-%dT%H:%M:%S")) + float("0." + text[20:26])


if __name__ == "__main__":
    unittest.main()
