// When a job runs next. Pure: the caller tells the time and throws the dice.
//
// Cron times follow the wall clock, everything else (intervals, jitter, repeated attempts) a
// monotonic one. A wall clock that goes back by less than an hour makes nothing run twice; one that
// was wrong by more is believed when it is put right.
#pragma once

#include <chrono>
#include <functional>
#include <optional>

#include "sidecar/compaction/history.h"
#include "sidecar/compaction/job.h"

namespace syncflow::compaction {

struct Now {
  WallTime wall;
  std::chrono::steady_clock::time_point steady;
};

class Plan {
 public:
  // A number of seconds from 0 to its argument.
  using Dice = std::function<std::chrono::seconds(std::chrono::seconds)>;

  // `past` is that of the job: what was missed runs once, if catch_up says so, and what was cut off
  // goes on, for the time it was due at.
  Plan(const Job& job, const Past& past, Now now, Dice dice);

  // Looks whether the wall clock was put back.
  void Tick(Now now);
  bool IsDue(Now now) const { return Wait(now).count() <= 0; }
  // Until the next run.
  std::chrono::nanoseconds Wait(Now now) const;
  // The time the next run stands for.
  WallTime due() const { return retry_at_ ? retry_due_ : due_; }
  // A run for due() that began at `began` has ended at `now`. What was skipped or has failed is
  // tried again after 5 s, then less and less often, for an hour and until the next time comes.
  void Ran(Outcome outcome, Now began, Now now);

 private:
  void PlanFrom(WallTime after);
  void PlanIn(std::chrono::nanoseconds rest, Now now);
  void TryAgain(WallTime due, Now now);
  const Clocked* clocked() const { return std::get_if<Clocked>(&when_); }

  std::variant<Clocked, std::chrono::seconds> when_;
  std::chrono::seconds jitter_;
  Dice dice_;

  WallTime due_;
  std::chrono::seconds delay_{0};             // of the jitter
  WallTime after_;                            // cron: the time that due_ comes next after
  std::chrono::steady_clock::time_point at_;  // intervals: when due_ is, with the jitter
  std::optional<std::chrono::steady_clock::time_point> retry_at_;
  WallTime retry_due_;
  std::chrono::seconds pause_{0};  // before the next attempt
  std::optional<std::chrono::steady_clock::time_point> first_attempt_;
};

}  // namespace syncflow::compaction
