// The page as a scraper reads it.
#include "sidecar/metrics/exporter.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <map>
#include <set>
#include <sstream>
#include <string>
#include <vector>

namespace syncflow::metrics {
namespace {

using ::testing::ContainsRegex;
using ::testing::HasSubstr;
using ::testing::MatchesRegex;
using ::testing::Not;

constexpr std::string_view kReasons[] = {"peer", "shutdown"};

class Exporter : public ::testing::Test {
 protected:
  Exporter() {
    sync_api_.handlers.emplace_back("changes");
    compaction_.jobs.emplace_back("weekly");
    compaction_.jobs.emplace_back("on demand");
  }

  std::string Page() const {
    return Scrape({.version = "1.2.3",
                   .slot = "my_slot",
                   .pipeline = pipeline_,
                   .slot_watch = slot_,
                   .journal = journal_,
                   .feed = feed_,
                   .close_reasons = kReasons,
                   .notify = watched_ ? &notify_ : nullptr,
                   .sync_api = serves_ ? &sync_api_ : nullptr,
                   .consumers = consumers_,
                   .compaction = compaction_,
                   .process = ReadProcess()});
  }
  static std::string Runs(const std::string& job, const std::string& outcome) {
    return "syncflow_compaction_runs_total{compaction_job=\"" + job + "\",outcome=\"" + outcome +
           "\"}";
  }
  // The value of a sample as it is written, labels included.
  double Value(const std::string& sample) const {
    std::istringstream lines(Page());
    for (std::string line; std::getline(lines, line);) {
      if (line.starts_with(sample + " ")) return std::stod(line.substr(sample.size() + 1));
    }
    ADD_FAILURE() << "no sample " << sample;
    return -1;
  }
  std::map<std::string, std::string> Types() const {
    std::map<std::string, std::string> types;
    std::istringstream lines(Page());
    for (std::string line; std::getline(lines, line);) {
      std::istringstream words(line);
      std::string hash, keyword, name, type;
      if (words >> hash >> keyword >> name >> type && hash == "#" && keyword == "TYPE") {
        types[name] = type;
      }
    }
    return types;
  }

  PipelineProbe pipeline_;
  SlotProbe slot_;
  journal::Probe journal_;
  feed::Probe feed_;
  notify::Probe notify_;
  compaction::Probe compaction_;
  bool watched_ = true;
  http::Probe sync_api_;
  bool serves_ = true;
  std::vector<NamedConsumer> consumers_;
};

TEST_F(Exporter, EverythingIsThereFromTheStart) {
  EXPECT_EQ(Value("syncflow_changes_total"), 0);
  EXPECT_EQ(Value("syncflow_source_connects_total{result=\"failed\"}"), 0);
  EXPECT_EQ(Value("syncflow_source_reconnects_total{reason=\"blocked\"}"), 0);
  EXPECT_EQ(Value("syncflow_source_feedback_total{cause=\"progress\"}"), 0);
  EXPECT_EQ(Value("syncflow_source_last_message_timestamp_seconds"), 0);
  EXPECT_EQ(Value("syncflow_feed_closed_total{reason=\"shutdown\"}"), 0);
  EXPECT_EQ(Value("syncflow_notify_recovered_operations_total"), 0);
  EXPECT_EQ(Value(Runs("weekly", "failed")), 0);
  EXPECT_EQ(Value(Runs("on demand", "done")), 0);
  EXPECT_GE(Value("syncflow_log_messages_total{level=\"error\"}"), 0);
}

TEST_F(Exporter, RunsOfCompactionAreCountedByJobAndOutcome) {
  compaction::JobProbe& weekly = compaction_.jobs[0];
  weekly.runs[static_cast<size_t>(compaction::Outcome::kDone)] = 3;
  weekly.runs[static_cast<size_t>(compaction::Outcome::kInterrupted)] = 1;
  weekly.last_done = 1'700'000'000'000'000;
  compaction_.deleted = 12;
  compaction_.milliseconds = 1500;
  EXPECT_EQ(Value(Runs("weekly", "done")), 3);
  EXPECT_EQ(Value(Runs("weekly", "interrupted")), 1);
  EXPECT_EQ(Value(Runs("on demand", "done")), 0);
  EXPECT_THAT(Page(), Not(HasSubstr("outcome=\"running\"")));
  EXPECT_EQ(Value("syncflow_compaction_deleted_operations_total"), 12);
  EXPECT_EQ(Value("syncflow_compaction_run_seconds_total"), 1.5);
  EXPECT_EQ(Value("syncflow_compaction_last_done_timestamp_seconds{compaction_job=\"weekly\"}"),
            1.7e9);
}

TEST_F(Exporter, CurrentStateIsOneAndTheOthersAreZero) {
  pipeline_.state = PipelineState::kBlocked;
  double sum = 0;
  for (std::string_view state : kPipelineStates) {
    sum += Value("syncflow_state{state=\"" + std::string(state) + "\"}");
  }
  EXPECT_EQ(sum, 1);
  EXPECT_EQ(Value("syncflow_state{state=\"blocked\"}"), 1);
}

TEST_F(Exporter, OnlyAStreamingRouteCountsAsStreaming) {
  EXPECT_EQ(Value("syncflow_source_streaming{slot=\"my_slot\"}"), 0);
  pipeline_.state = PipelineState::kStreaming;
  EXPECT_EQ(Value("syncflow_source_streaming{slot=\"my_slot\"}"), 1);
}

TEST_F(Exporter, LargePositionsKeepEveryByte) {
  pipeline_.durable_position = (uint64_t{1} << 53) - 1;
  EXPECT_EQ(Value("syncflow_durable_position_bytes{slot=\"my_slot\"}"), 9007199254740991.0);
}

TEST_F(Exporter, SlotLagIsServerEndMinusConfirmed) {
  pipeline_.stream.server_wal_end = 5000;
  EXPECT_EQ(Value("syncflow_slot_lag_bytes{slot=\"my_slot\"}"), 0) << "nothing confirmed yet";
  pipeline_.confirmed_position = 2000;
  EXPECT_EQ(Value("syncflow_slot_lag_bytes{slot=\"my_slot\"}"), 3000);
  pipeline_.confirmed_position = 6000;
  EXPECT_EQ(Value("syncflow_slot_lag_bytes{slot=\"my_slot\"}"), 0) << "never below zero";
}

TEST_F(Exporter, WhatIsNotKnownOfTheSlotIsLeftOut) {
  EXPECT_THAT(Page(), Not(HasSubstr("syncflow_slot_safe_wal_bytes")));
  slot_.left_bytes = 0;
  slot_.wal_status = WalStatus::kUnreserved;
  EXPECT_EQ(Value("syncflow_slot_safe_wal_bytes{slot=\"my_slot\"}"), 0);
  EXPECT_EQ(Value("syncflow_slot_wal_status{status=\"unreserved\"}"), 1);
  EXPECT_EQ(Value("syncflow_slot_wal_status{status=\"lost\"}"), 0);
}

TEST_F(Exporter, TimesAreSeconds) {
  pipeline_.last_commit_time = 1'700'000'000'250'000;
  journal_.sync_nanoseconds = 1'500'000'000;
  notify_.gap_milliseconds = 2500;
  EXPECT_DOUBLE_EQ(Value("syncflow_source_last_commit_timestamp_seconds"), 1700000000.25);
  EXPECT_DOUBLE_EQ(Value("syncflow_journal_sync_seconds_total"), 1.5);
  EXPECT_DOUBLE_EQ(Value("syncflow_notify_gap_seconds_total"), 2.5);
}

TEST_F(Exporter, EachReasonHasItsOwnCounter) {
  pipeline_.Count(ReconnectReason::kEnded);
  pipeline_.Count(ReconnectReason::kEnded);
  feed_.closed[1] = 7;
  EXPECT_EQ(Value("syncflow_source_reconnects_total{reason=\"ended\"}"), 2);
  EXPECT_EQ(Value("syncflow_source_reconnects_total{reason=\"lost\"}"), 0);
  EXPECT_EQ(Value("syncflow_feed_closed_total{reason=\"shutdown\"}"), 7);
  EXPECT_EQ(Value("syncflow_feed_closed_total{reason=\"peer\"}"), 0);
}

TEST_F(Exporter, BucketsOfAHistogramHoldThoseBefore) {
  using std::chrono::milliseconds;
  slot_.heartbeat_roundtrip.Observe(milliseconds(1));
  slot_.heartbeat_roundtrip.Observe(milliseconds(2));
  slot_.heartbeat_roundtrip.Observe(std::chrono::minutes(2));
  slot_.heartbeat_roundtrip.Observe(milliseconds(-5));
  std::string name = "syncflow_heartbeat_roundtrip_seconds";
  EXPECT_EQ(Value(name + "_bucket{le=\"0.0005\"}"), 1)
      << "what two clocks make negative is nothing";
  EXPECT_EQ(Value(name + "_bucket{le=\"0.001\"}"), 2) << "upper ends are inclusive";
  EXPECT_EQ(Value(name + "_bucket{le=\"0.0025\"}"), 3);
  EXPECT_EQ(Value(name + "_bucket{le=\"60\"}"), 3);
  EXPECT_EQ(Value(name + "_bucket{le=\"+Inf\"}"), 4);
  EXPECT_EQ(Value(name + "_count"), 4);
  EXPECT_DOUBLE_EQ(Value(name + "_sum"), 120.003);
}

TEST_F(Exporter, NamedConsumersHaveTheirOwn) {
  consumers_ = {{"a", true, 700, 0, 1'700'000'000'250'000}, {"b", false, 300, 400, 0, true}};
  EXPECT_EQ(Value("syncflow_named_consumers{state=\"connected\"}"), 1);
  EXPECT_EQ(Value("syncflow_named_consumers{state=\"away\"}"), 1);
  EXPECT_EQ(Value("syncflow_named_consumers_lag_max_bytes"), 400);
  EXPECT_EQ(Value("syncflow_named_consumers_history_lost"), 1);
  EXPECT_EQ(Value("syncflow_consumer_history_lost{consumer=\"a\"}"), 0);
  EXPECT_EQ(Value("syncflow_consumer_history_lost{consumer=\"b\"}"), 1);
  EXPECT_EQ(Value("syncflow_consumer_connected{consumer=\"a\"}"), 1);
  EXPECT_EQ(Value("syncflow_consumer_lag_bytes{consumer=\"b\"}"), 400);
  EXPECT_EQ(Value("syncflow_consumer_acknowledged_position_bytes{consumer=\"b\"}"), 300);
  EXPECT_EQ(Value("syncflow_consumer_seen_timestamp_seconds{consumer=\"a\"}"), 1700000000.25);
}

TEST_F(Exporter, ManyNamesDoNotMakeManySeries) {
  for (size_t i = 0; i < 10'000; ++i) consumers_.push_back({std::to_string(i), false, 0, i, 0});
  std::string page = Page();
  EXPECT_THAT(page, HasSubstr("syncflow_consumer_lag_bytes{consumer=\"49\"}"));
  EXPECT_THAT(page, Not(HasSubstr("syncflow_consumer_lag_bytes{consumer=\"50\"}")));
  EXPECT_EQ(Value("syncflow_named_consumers{state=\"away\"}"), 10'000);
  EXPECT_EQ(Value("syncflow_named_consumers_lag_max_bytes"), 9'999) << "of all of them";
}

TEST_F(Exporter, ServersEndIsTheNewestHeard) {
  pipeline_.stream.server_wal_end = 5000;
  slot_.server_position = 9000;
  EXPECT_EQ(Value("syncflow_server_wal_position_bytes{slot=\"my_slot\"}"), 9000);
}

TEST_F(Exporter, UnwatchedNotifyIsAbsent) {
  watched_ = false;
  EXPECT_THAT(Page(), Not(HasSubstr("syncflow_notify_")));
}

TEST_F(Exporter, RequestsAreCountedByHandlerAndCode) {
  EXPECT_EQ(Value("syncflow_http_requests_total{handler=\"changes\",code=\"413\"}"), 0);
  http::HandlerProbe& changes = sync_api_.handlers.front();
  changes.Count(200, std::chrono::milliseconds(3));
  changes.Count(200, std::chrono::seconds(60));
  changes.Count(418, std::chrono::milliseconds(1));
  EXPECT_EQ(Value("syncflow_http_requests_total{handler=\"changes\",code=\"200\"}"), 2);
  EXPECT_EQ(Value("syncflow_http_requests_total{handler=\"changes\",code=\"other\"}"), 1);
  const std::string duration = "syncflow_http_request_duration_seconds";
  EXPECT_EQ(Value(duration + "_bucket{handler=\"changes\",le=\"0.001\"}"), 1);
  EXPECT_EQ(Value(duration + "_bucket{handler=\"changes\",le=\"0.005\"}"), 2);
  EXPECT_EQ(Value(duration + "_bucket{handler=\"changes\",le=\"+Inf\"}"), 3);
  EXPECT_DOUBLE_EQ(Value(duration + "_sum{handler=\"changes\"}"), 60.004);
  serves_ = false;
  EXPECT_THAT(Page(), Not(HasSubstr("syncflow_http_")));
}

TEST_F(Exporter, LabelsAreEscaped) {
  std::string page = Scrape({.version = "a\"b\\c\nd",
                             .slot = "s",
                             .pipeline = pipeline_,
                             .slot_watch = slot_,
                             .journal = journal_,
                             .feed = feed_,
                             .close_reasons = kReasons,
                             .notify = nullptr,
                             .sync_api = nullptr,
                             .consumers = {},
                             .compaction = compaction_,
                             .process = {}});
  EXPECT_THAT(page, HasSubstr("version=\"a\\\"b\\\\c\\nd\""));
}

TEST_F(Exporter, NamesFollowPrometheusConventions) {
  std::map<std::string, std::string> types = Types();
  EXPECT_GT(types.size(), 40u);
  const char* abbreviated = ".*_(ms|us|ns|secs?|kb|mb|kib|mib|milliseconds|percent)(_.*)?";
  for (const auto& [name, type] : types) {
    EXPECT_THAT(name, MatchesRegex("(syncflow|process)(_[a-z]+)+"));
    EXPECT_THAT(name, Not(MatchesRegex(abbreviated)));
    EXPECT_EQ(name.ends_with("_total"), type == "counter") << name;
    EXPECT_FALSE(name.ends_with("_count") || name.ends_with("_sum")) << name;
  }
}

TEST_F(Exporter, EveryMetricHasHelp) {
  std::string page = Page();
  for (const auto& [name, type] : Types()) {
    EXPECT_THAT(page, ContainsRegex("# HELP " + name + " [A-Z0-9].*\\.\n"));
  }
}

TEST_F(Exporter, NoSampleAppearsTwice) {
  std::set<std::string> seen;
  std::istringstream lines(Page());
  for (std::string line; std::getline(lines, line);) {
    if (line.starts_with('#')) continue;
    EXPECT_TRUE(seen.insert(line.substr(0, line.rfind(' '))).second) << line;
  }
  EXPECT_LT(seen.size(), 250u);
}

TEST_F(Exporter, PromtoolAgrees) {
  if (std::system("command -v promtool >/dev/null") != 0) {
    GTEST_SKIP() << "promtool is not installed: apt-get install prometheus";
  }
  std::string path = ::testing::TempDir() + "syncflow_metrics_page.txt";
  std::ofstream(path) << Page();
  EXPECT_EQ(std::system(("promtool check metrics <" + path).c_str()), 0);
  std::remove(path.c_str());
}

}  // namespace
}  // namespace syncflow::metrics
