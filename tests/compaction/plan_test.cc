#include "sidecar/compaction/plan.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/compaction/times.h"

namespace syncflow::compaction {
namespace {

using std::chrono::hours;
using std::chrono::minutes;
using std::chrono::seconds;

class Planning : public ::testing::Test {
 protected:
  Planning() {
    job_.name = "job";
    Daily("0 2 * * *", "Europe/Berlin");
    past_.since = now_.wall;
  }

  void Daily(const std::string& cron, const std::string& zone) {
    job_.when = Clocked{CronOf(cron), Zone::Find(zone).value()};
  }
  void Every(seconds interval) { job_.when = interval; }
  void Past(Outcome outcome, const std::string& due, const std::string& started) {
    JobRun run;
    run.due = UtcOf(due);
    run.started = UtcOf(started);
    run.outcome = outcome;
    past_.since = UtcOf("2026-01-01 00:00");
    past_.runs.push_back(run);
  }
  // Both clocks go on.
  void Pass(seconds time) {
    now_.wall += time;
    now_.steady += time;
  }
  void SetClock(const std::string& wall) { now_.wall = UtcOf(wall); }
  Plan Make() {
    return Plan(job_, past_, now_, [this](seconds most) { return std::min(most, dice_); });
  }
  static seconds Wait(const Plan& plan, Now now) {
    return std::chrono::duration_cast<seconds>(plan.Wait(now));
  }
  std::string Next(const Plan& plan) {
    return TextOf(std::chrono::floor<seconds>(now_.wall + Wait(plan, now_)));
  }
  // Sleeps until it is due and runs it, which takes `time`.
  void RunIt(Plan& plan, Outcome outcome, seconds time = seconds(10)) {
    Pass(std::max(Wait(plan, now_), seconds(0)));
    ASSERT_TRUE(plan.IsDue(now_));
    Now began = now_;
    Pass(time);
    plan.Ran(outcome, began, now_);
  }

  Job job_;
  struct Past past_;
  Now now_{UtcOf("2026-11-24 10:00"), std::chrono::steady_clock::time_point(hours(1000))};
  seconds dice_{0};
};

TEST_F(Planning, CronRunsAtItsTimes) {
  Plan plan = Make();
  EXPECT_EQ(Next(plan), "2026-11-25 01:00");
  EXPECT_FALSE(plan.IsDue(now_));
  RunIt(plan, Outcome::kDone);
  EXPECT_EQ(Next(plan), "2026-11-26 01:00");
}

TEST_F(Planning, IntervalsBeginWithTheRun) {
  Every(hours(6));
  Plan plan = Make();
  EXPECT_EQ(Next(plan), "2026-11-24 16:00");
  RunIt(plan, Outcome::kDone, hours(1));
  EXPECT_EQ(Next(plan), "2026-11-24 22:00");
  RunIt(plan, Outcome::kDone, hours(7));
  EXPECT_TRUE(plan.IsDue(now_)) << "a run that takes longer is followed at once";
}

TEST_F(Planning, IntervalsDoNotHearTheWallClock) {
  Every(hours(6));
  Plan plan = Make();
  SetClock("2027-11-24 10:00");
  plan.Tick(now_);
  EXPECT_EQ(Wait(plan, now_), hours(6));
  SetClock("2025-11-24 10:00");
  plan.Tick(now_);
  EXPECT_EQ(Wait(plan, now_), hours(6));
}

TEST_F(Planning, JitterDelaysEachRun) {
  job_.jitter = minutes(30);
  dice_ = minutes(20);
  Plan plan = Make();
  EXPECT_EQ(Next(plan), "2026-11-25 01:20");
  EXPECT_EQ(TextOf(std::chrono::floor<seconds>(plan.due())), "2026-11-25 01:00");
  dice_ = minutes(5);
  RunIt(plan, Outcome::kDone);
  EXPECT_EQ(Next(plan), "2026-11-26 01:05");
  Every(hours(6));
  past_.since = now_.wall;
  EXPECT_EQ(Wait(Make(), now_), hours(6) + minutes(5));
}

// ---- what was missed ----

TEST_F(Planning, MissedTimesRunOnce) {
  Past(Outcome::kDone, "2026-11-20 01:00", "2026-11-20 01:00");
  Plan plan = Make();
  EXPECT_TRUE(plan.IsDue(now_));
  EXPECT_EQ(TextOf(std::chrono::floor<seconds>(plan.due())), "2026-11-21 01:00");
  RunIt(plan, Outcome::kDone);
  EXPECT_EQ(Next(plan), "2026-11-25 01:00");
}

TEST_F(Planning, WhatWasCaughtUpIsNotMissedAgain) {
  Past(Outcome::kDone, "2026-11-21 01:00", "2026-11-24 09:59");
  EXPECT_EQ(Next(Make()), "2026-11-25 01:00");
}

TEST_F(Planning, MissedTimesCanBeLeftOut) {
  job_.catch_up = false;
  Past(Outcome::kDone, "2026-11-20 01:00", "2026-11-20 01:00");
  EXPECT_EQ(Next(Make()), "2026-11-25 01:00");
}

TEST_F(Planning, RunThatWasCutOffRunsAgain) {
  Past(Outcome::kInterrupted, "2026-11-24 01:00", "2026-11-24 01:00");
  Plan plan = Make();
  EXPECT_TRUE(plan.IsDue(now_));
  EXPECT_EQ(plan.due(), WallTime(UtcOf("2026-11-24 01:00"))) << "it goes on";
  RunIt(plan, Outcome::kFailed);
  EXPECT_EQ(Wait(plan, now_), seconds(5));
  EXPECT_EQ(plan.due(), WallTime(UtcOf("2026-11-24 01:00")));
  RunIt(plan, Outcome::kDone);
  EXPECT_EQ(Next(plan), "2026-11-25 01:00");
  job_.catch_up = false;
  EXPECT_EQ(Next(Make()), "2026-11-25 01:00");
}

TEST_F(Planning, WhatWasTriedAgainGoesOnAfterARestart) {
  for (Outcome outcome : {Outcome::kSkipped, Outcome::kElsewhere, Outcome::kFailed}) {
    past_.runs.clear();
    Past(outcome, "2026-11-24 01:00", "2026-11-24 09:59");
    Plan plan = Make();
    EXPECT_TRUE(plan.IsDue(now_));
    EXPECT_EQ(plan.due(), WallTime(UtcOf("2026-11-24 01:00")));
    RunIt(plan, Outcome::kDone);
    EXPECT_EQ(Next(plan), "2026-11-25 01:00");
  }
  past_.runs.clear();
  Past(Outcome::kSkipped, "2026-11-24 01:00", "2026-11-24 01:30");
  EXPECT_EQ(Next(Make()), "2026-11-25 01:00") << "it was given up";
}

TEST_F(Planning, NewJobHasMissedNothing) {
  EXPECT_FALSE(Make().IsDue(now_));
  Every(hours(1));
  EXPECT_FALSE(Make().IsDue(now_));
}

TEST_F(Planning, RestartsDoNotPutAnIntervalOff) {
  Every(hours(6));
  Past(Outcome::kDone, "2026-11-24 05:00", "2026-11-24 05:00");
  EXPECT_EQ(Next(Make()), "2026-11-24 11:00");
  past_.runs.back().started = past_.runs.back().due = UtcOf("2026-11-23 05:00");
  EXPECT_TRUE(Make().IsDue(now_));
  job_.catch_up = false;
  EXPECT_EQ(Next(Make()), "2026-11-24 16:00");
  past_.runs.back().outcome = Outcome::kInterrupted;
  job_.catch_up = true;
  EXPECT_TRUE(Make().IsDue(now_));
}

TEST_F(Planning, IntervalBeginsAnewWithARunThatGoesOn) {
  Every(hours(6));
  Past(Outcome::kInterrupted, "2026-11-24 05:00", "2026-11-24 05:00");
  Plan plan = Make();
  EXPECT_TRUE(plan.IsDue(now_));
  EXPECT_EQ(plan.due(), WallTime(UtcOf("2026-11-24 05:00")));
  RunIt(plan, Outcome::kDone);
  EXPECT_EQ(Next(plan), "2026-11-24 16:00");
}

// The newer time stands for both.
TEST_F(Planning, WhatWasCutOffLongAgoDoesNotGoOn) {
  Past(Outcome::kInterrupted, "2026-11-20 01:00", "2026-11-20 01:00");
  Plan plan = Make();
  EXPECT_TRUE(plan.IsDue(now_));
  EXPECT_EQ(plan.due(), WallTime(UtcOf("2026-11-21 01:00")));
  RunIt(plan, Outcome::kDone);
  EXPECT_EQ(Next(plan), "2026-11-25 01:00");
}

// ---- clocks that are put forward and back ----

TEST_F(Planning, ClockAYearAheadRunsOnceAndIsForgotten) {
  Plan plan = Make();
  SetClock("2027-11-24 10:00");
  plan.Tick(now_);
  EXPECT_TRUE(plan.IsDue(now_));
  RunIt(plan, Outcome::kDone);
  EXPECT_EQ(Next(plan), "2027-11-25 01:00");
  SetClock("2026-11-24 10:00");
  plan.Tick(now_);
  EXPECT_EQ(Next(plan), "2026-11-25 01:00") << "not in a year";
}

TEST_F(Planning, HistoryOfAClockAYearAheadIsForgotten) {
  Past(Outcome::kDone, "2027-11-24 01:00", "2027-11-24 01:00");
  EXPECT_EQ(Next(Make()), "2026-11-25 01:00");
  Every(hours(6));
  EXPECT_EQ(Next(Make()), "2026-11-24 16:00");
}

TEST_F(Planning, SmallStepBackRunsNothingTwice) {
  Plan plan = Make();
  RunIt(plan, Outcome::kDone);
  SetClock("2026-11-25 00:30");
  plan.Tick(now_);
  EXPECT_EQ(Next(plan), "2026-11-26 01:00");
  Past(Outcome::kDone, "2026-11-25 01:00", "2026-11-25 01:00");
  EXPECT_EQ(Next(Make()), "2026-11-26 01:00") << "after a restart neither";
}

// ---- what did not run ----

TEST_F(Planning, FailuresAreTriedAgainForAnHour) {
  for (Outcome outcome : {Outcome::kFailed, Outcome::kSkipped, Outcome::kElsewhere}) {
    Plan plan = Make();
    RunIt(plan, outcome);
    WallTime due = UtcOf("2026-11-25 01:00");
    std::vector<int64_t> pauses;
    while (plan.due() == due) {
      pauses.push_back(Wait(plan, now_).count());
      RunIt(plan, outcome, seconds(1));
    }
    ASSERT_GE(pauses.size(), 10u);
    pauses.resize(9);
    EXPECT_THAT(pauses, ::testing::ElementsAre(5, 10, 20, 40, 80, 160, 300, 300, 300));
    EXPECT_GE(now_.wall, due + hours(1));
    EXPECT_LE(now_.wall, due + hours(1) + minutes(6));
    EXPECT_EQ(Next(plan), "2026-11-26 01:00");
    now_.wall = UtcOf("2026-11-24 10:00");
  }
}

TEST_F(Planning, OneThatRunsAtLastIsNotTriedAgain) {
  Plan plan = Make();
  RunIt(plan, Outcome::kFailed);
  RunIt(plan, Outcome::kDone);
  EXPECT_EQ(Next(plan), "2026-11-26 01:00");
}

TEST_F(Planning, CancelledAndInterruptedOnesWaitForTheNextTime) {
  for (Outcome outcome : {Outcome::kCancelled, Outcome::kInterrupted}) {
    Plan plan = Make();
    RunIt(plan, outcome);
    EXPECT_EQ(Next(plan), "2026-11-26 01:00");
    now_.wall = UtcOf("2026-11-24 10:00");
  }
}

TEST_F(Planning, NextTimeComesBeforeTheNextAttempt) {
  Every(seconds(4));
  Plan plan = Make();
  RunIt(plan, Outcome::kFailed, seconds(0));
  EXPECT_EQ(Wait(plan, now_), seconds(4));
  EXPECT_EQ(plan.due(), now_.wall + seconds(4));
}

}  // namespace
}  // namespace syncflow::compaction
