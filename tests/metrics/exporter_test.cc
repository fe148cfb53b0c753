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
  std::string Page() const {
    return Scrape({.version = "1.2.3",
                   .slot = "my_slot",
                   .pipeline = pipeline_,
                   .slot_watch = slot_,
                   .journal = journal_,
                   .feed = feed_,
                   .close_reasons = kReasons,
                   .notify = watched_ ? &notify_ : nullptr,
                   .process = ReadProcess()});
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
  bool watched_ = true;
};

TEST_F(Exporter, EverythingIsThereFromTheStart) {
  EXPECT_EQ(Value("syncflow_changes_total"), 0);
  EXPECT_EQ(Value("syncflow_source_connects_total{result=\"failed\"}"), 0);
  EXPECT_EQ(Value("syncflow_source_reconnects_total{reason=\"blocked\"}"), 0);
  EXPECT_EQ(Value("syncflow_source_feedback_total{cause=\"progress\"}"), 0);
  EXPECT_EQ(Value("syncflow_source_last_message_timestamp_seconds"), 0);
  EXPECT_EQ(Value("syncflow_feed_closed_total{reason=\"shutdown\"}"), 0);
  EXPECT_EQ(Value("syncflow_notify_recovered_operations_total"), 0);
  EXPECT_GE(Value("syncflow_log_messages_total{level=\"error\"}"), 0);
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

TEST_F(Exporter, UnwatchedNotifyIsAbsent) {
  watched_ = false;
  EXPECT_THAT(Page(), Not(HasSubstr("syncflow_notify_")));
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
  EXPECT_LT(seen.size(), 200u);
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
