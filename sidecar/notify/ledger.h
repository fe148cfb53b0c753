// Judges which operations NOTIFY never announced. Pure: no threads, no clock of its own.
//
//   Announced ────┐
//                 ├─ the same key on both sides: matched, forgotten
//   Delivered ────┘
//   delivered, and not announced within `settle`: recovered, and blamed on the gap it fell into
//   announced, and not delivered within a minute: forgotten (anybody may NOTIFY anything)
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <vector>

#include "sidecar/notify/timed_set.h"

namespace syncflow::notify {

// A time without LISTEN, told once everything in it has been judged.
struct Gap {
  std::chrono::milliseconds away{0};
  uint64_t recovered = 0;
  bool at_start = false;  // the time before LISTEN was in force for the first time
};

class Ledger {
 public:
  using Time = TimedSet::Time;

  struct Options {
    std::chrono::milliseconds settle{5'000};
    std::chrono::milliseconds announcement_waits{60'000};
    size_t entries_max = 65'536;  // on each side
  };
  explicit Ledger(Options options);

  // Times must not fall from call to call, except for Delivered, which may lag behind.
  void Announced(uint64_t key, Time now);
  void Delivered(uint64_t key, Time at);
  void GapBegins(Time now);
  // `away`: since LISTEN surely was in force, which is earlier than GapBegins heard of it.
  void GapEnds(Time now, std::chrono::milliseconds away);

  // Judges what is due and returns the gaps that are settled.
  std::vector<Gap> Settle(Time now);

  uint64_t recovered() const { return recovered_; }
  // Of these, the ones no gap explains: the trigger is missing or disabled, or they are older than
  // the watch.
  uint64_t unexplained() const { return unexplained_; }
  uint64_t unjudged() const { return unjudged_; }

 private:
  struct OpenGap {
    Time begin;
    Time end = Time::max();
    Gap gap;
    Time::duration DistanceTo(Time time) const;
  };
  void Blame(Time delivered);

  Options options_;
  TimedSet announced_;
  TimedSet delivered_;
  std::deque<OpenGap> gaps_;  // not yet settled, oldest first
  uint64_t recovered_ = 0;
  uint64_t unexplained_ = 0;
  uint64_t unjudged_ = 0;
};

}  // namespace syncflow::notify
