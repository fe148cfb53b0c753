#include "sidecar/compaction/history.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <fstream>

#include "tests/compaction/times.h"

namespace syncflow::compaction {
namespace {

class Remembering : public ::testing::Test {
 protected:
  Remembering() {
    std::string name =
        (std::filesystem::temp_directory_path() / "syncflow-history-XXXXXX").string();
    folder_ = mkdtemp(name.data());
  }
  ~Remembering() override { std::filesystem::remove_all(folder_); }

  static JobRun RunAt(const std::string& due, Outcome outcome) {
    JobRun run;
    run.due = run.started = UtcOf(due);
    run.outcome = outcome;
    return run;
  }
  void Spoil(const std::string& text) { std::ofstream(folder_ / "compaction.json") << text; }

  std::filesystem::path folder_;
  WallTime now_ = UtcOf("2026-11-24 10:00");
};

TEST_F(Remembering, RunsSurviveARestart) {
  JobRun run = RunAt("2026-11-24 02:00", Outcome::kDone);
  run.ended = run.started + std::chrono::seconds(7);
  run.reason = "it's \"quoted\" \xff";
  run.eligible = 12;
  run.deleted = 11;
  run.limited = true;
  run.left = 7;
  {
    History history(folder_);
    EXPECT_EQ(history.Open("weekly", "0 2 * * *", now_).since, now_);
    history.Put("weekly", run);
  }
  History history(folder_);
  Past past = history.Open("weekly", "0 2 * * *", now_ + std::chrono::hours(1));
  EXPECT_EQ(past.since, now_);
  ASSERT_EQ(past.runs.size(), 1u);
  const JobRun& again = past.runs[0];
  EXPECT_EQ(again.due, run.due);
  EXPECT_EQ(again.ended, run.ended);
  EXPECT_EQ(again.outcome, Outcome::kDone);
  EXPECT_EQ(again.reason, "it's \"quoted\" \xef\xbf\xbd");
  EXPECT_EQ(again.eligible, 12);
  EXPECT_EQ(again.deleted, 11);
  EXPECT_TRUE(again.limited);
  EXPECT_EQ(again.left, 7);
  EXPECT_TRUE(history.Of("unknown").runs.empty());
}

TEST_F(Remembering, RunThatWasKilledIsInterrupted) {
  History(folder_).Put("weekly", RunAt("2026-11-24 02:00", Outcome::kRunning));
  EXPECT_EQ(History(folder_).Of("weekly").runs[0].outcome, Outcome::kInterrupted);
}

TEST_F(Remembering, AnotherScheduleBeginsAnew) {
  History history(folder_);
  history.Open("weekly", "0 2 * * *", now_);
  history.Put("weekly", RunAt("2026-11-24 02:00", Outcome::kDone));
  auto later = now_ + std::chrono::hours(1);
  Past past = history.Open("weekly", "0 3 * * *", later);
  EXPECT_EQ(past.since, later);
  EXPECT_EQ(past.runs.size(), 1u) << "what has run has run";
}

TEST_F(Remembering, EndReplacesTheBeginning) {
  History history(folder_);
  history.Put("weekly", RunAt("2026-11-24 02:00", Outcome::kRunning));
  history.Put("weekly", RunAt("2026-11-24 02:00", Outcome::kSkipped));
  history.Put("weekly", RunAt("2026-11-24 02:00", Outcome::kDone));
  EXPECT_EQ(history.Of("weekly").runs.size(), 1u);
}

TEST_F(Remembering, AttemptsLeaveWhatWasInterrupted) {
  History(folder_).Put("weekly", RunAt("2026-11-24 02:00", Outcome::kRunning));
  History history(folder_);
  history.Put("weekly", RunAt("2026-11-24 02:00", Outcome::kRunning));
  history.Put("weekly", RunAt("2026-11-24 02:00", Outcome::kDone));
  auto runs = history.Of("weekly").runs;
  ASSERT_EQ(runs.size(), 2u);
  EXPECT_EQ(runs[0].outcome, Outcome::kInterrupted);
  EXPECT_EQ(runs[1].outcome, Outcome::kDone);
}

TEST_F(Remembering, OnlyTheLastRunsAreKept) {
  History history(folder_);
  for (int hour = 0; hour < 24; ++hour)
    history.Put("often", RunAt("2026-11-24 " + std::to_string(hour) + ":00", Outcome::kDone));
  Past past = History(folder_).Of("often");
  ASSERT_EQ(past.runs.size(), History::kRunsMax);
  EXPECT_EQ(past.runs.back().due, WallTime(UtcOf("2026-11-24 23:00")));
}

TEST_F(Remembering, WhatCannotBeUnderstoodBeginsAnew) {
  for (
      const char* text :
      {"", "{", "[]", "{\"format\":2,\"jobs\":[]}", "{\"format\":1}",
       "{\"format\":1,\"jobs\":[{\"name\":\"a\"}]}",
       "{\"format\":1,\"jobs\":[{\"name\":\"a\",\"schedule\":\"\",\"since\":0,\"runs\":[{\"due\":0,"
       "\"started\":0,\"ended\":0,\"outcome\":\"odd\",\"reason\":\"\",\"eligible\":0,\"deleted\":0,"
       "\"limited\":false}]}]}"}) {
    Spoil(text);
    History history(folder_);
    EXPECT_TRUE(history.Of("a").runs.empty()) << text;
    history.Put("a", RunAt("2026-11-24 02:00", Outcome::kDone));
    EXPECT_EQ(History(folder_).Of("a").runs.size(), 1u) << text;
  }
}

TEST_F(Remembering, DiskThatTakesNothingIsNoReasonToStop) {
  History history(folder_ / "gone");
  history.Put("a", RunAt("2026-11-24 02:00", Outcome::kDone));
  EXPECT_EQ(history.Of("a").runs.size(), 1u);
}

}  // namespace
}  // namespace syncflow::compaction
