#include "sidecar/compaction/plan.h"

#include <algorithm>
#include <utility>

namespace syncflow::compaction {
namespace {

using std::chrono::duration_cast;
using std::chrono::floor;
using std::chrono::hours;
using std::chrono::minutes;
using std::chrono::nanoseconds;
using std::chrono::seconds;

constexpr hours kStepMax{1};
constexpr seconds kFirstPause{5};
constexpr seconds kLongestPause = minutes(5);
constexpr hours kRetryFor{1};

// What the schedule has come to: nothing before is due any more. A clock that was far ahead does
// not count.
WallTime ComeTo(const Past& past, WallTime now) {
  WallTime come_to = past.since;
  if (!past.runs.empty())
    come_to = std::max({past.since, past.runs.back().due, past.runs.back().started});
  return come_to > now + kStepMax ? now : come_to;
}

bool IsTriedAgain(Outcome outcome) {
  return outcome == Outcome::kSkipped || outcome == Outcome::kElsewhere ||
         outcome == Outcome::kFailed;
}

// What was being tried again goes on after a restart; a clock that was far ahead does not count.
bool IsUnfinished(const Past& past, WallTime now) {
  if (past.runs.empty()) return false;
  const JobRun& last = past.runs.back();
  bool recent = last.started > now - kRetryFor && last.started <= now + kStepMax;
  return last.outcome == Outcome::kRunning || last.outcome == Outcome::kInterrupted ||
         (IsTriedAgain(last.outcome) && recent);
}

}  // namespace

Plan::Plan(const Job& job, const Past& past, Now now, Dice dice)
    : when_(job.when), jitter_(job.jitter), dice_(std::move(dice)) {
  bool unfinished = job.catch_up && IsUnfinished(past, now.wall);
  WallTime come_to = ComeTo(past, now.wall);
  if (clocked() != nullptr) {
    PlanFrom(come_to);
    bool missed = due_ <= now.wall;
    if (missed && !job.catch_up) PlanFrom(now.wall);
    if (unfinished && !missed) TryAgain(past.runs.back().due, now);
    return;
  }
  nanoseconds every = std::get<seconds>(when_);
  nanoseconds rest = std::clamp<nanoseconds>(come_to + every - now.wall, nanoseconds(0), every);
  bool goes_on = unfinished && rest.count() > 0;
  if (goes_on || (rest.count() == 0 && !job.catch_up)) rest = every;
  PlanIn(rest, now);
  if (goes_on) TryAgain(past.runs.back().due, now);
}

// The next cron time.
void Plan::PlanFrom(WallTime after) {
  after_ = after;
  due_ = NextDue(clocked()->cron, clocked()->zone, floor<seconds>(after));
  delay_ = dice_(jitter_);
}

void Plan::PlanIn(nanoseconds rest, Now now) {
  delay_ = dice_(jitter_);
  at_ = now.steady + rest + delay_;
  due_ = now.wall + duration_cast<Microseconds>(rest);
}

void Plan::TryAgain(WallTime due, Now now) {
  retry_at_ = now.steady + dice_(jitter_);
  retry_due_ = due;
  first_attempt_ = now.steady;
  pause_ = kFirstPause;
}

void Plan::Tick(Now now) {
  if (clocked() != nullptr && after_ > now.wall + kStepMax) PlanFrom(now.wall);
}

nanoseconds Plan::Wait(Now now) const {
  nanoseconds wait =
      clocked() != nullptr ? nanoseconds(due_ + delay_ - now.wall) : nanoseconds(at_ - now.steady);
  return retry_at_ ? std::min<nanoseconds>(wait, *retry_at_ - now.steady) : wait;
}

void Plan::Ran(Outcome outcome, Now began, Now now) {
  WallTime ran = due();
  if (!retry_at_) {
    first_attempt_ = began.steady;
    pause_ = kFirstPause;
    if (clocked() != nullptr) {
      PlanFrom(std::max(due_, now.wall));
    } else {
      nanoseconds rest = std::get<seconds>(when_) - (now.steady - began.steady);
      PlanIn(std::max(rest, nanoseconds(0)), now);
    }
  }
  retry_at_.reset();
  bool again = IsTriedAgain(outcome) && now.steady - *first_attempt_ < kRetryFor;
  if (!again || Wait(now) <= pause_) return;
  retry_at_ = now.steady + pause_;
  retry_due_ = ran;
  pause_ = std::min(2 * pause_, kLongestPause);
}

}  // namespace syncflow::compaction
