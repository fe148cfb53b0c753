#include "sidecar/notify/ledger.h"

#include <algorithm>

namespace syncflow::notify {

Ledger::Ledger(Options options)
    : options_(options), announced_(options.entries_max), delivered_(options.entries_max) {
  gaps_.push_back({Time::min(), Time::max(), {.at_start = true}});
}

void Ledger::Announced(uint64_t key, Time now) {
  if (delivered_.Take(key)) return;
  while (!announced_.Add(key, now)) announced_.TakeOldest(Time::max());
}

void Ledger::Delivered(uint64_t key, Time at) {
  if (announced_.Take(key)) return;
  if (!delivered_.Add(key, at)) ++unjudged_;
}

void Ledger::GapBegins(Time now) {
  bool open = !gaps_.empty() && gaps_.back().end == Time::max();
  if (!open) gaps_.push_back({now, Time::max(), {}});
}

void Ledger::GapEnds(Time now, std::chrono::milliseconds away) {
  if (gaps_.empty() || gaps_.back().end != Time::max()) return;
  OpenGap& gap = gaps_.back();
  gap.end = now;
  gap.gap.away = away;
  if (!gap.gap.at_start) gap.begin = now - away;
}

std::vector<Gap> Ledger::Settle(Time now) {
  while (announced_.TakeOldest(now - options_.announcement_waits)) {
  }
  while (auto delivered = delivered_.TakeOldest(now - options_.settle)) Blame(*delivered);
  std::vector<Gap> settled;
  // What was delivered within `settle` after the end is judged another `settle` later.
  auto is_settled = [&](const OpenGap& gap) {
    return gap.end != Time::max() && now - gap.end > 2 * options_.settle;
  };
  for (; !gaps_.empty() && is_settled(gaps_.front()); gaps_.pop_front()) {
    settled.push_back(gaps_.front().gap);
  }
  return settled;
}

// The slot may deliver shortly before the loss what NOTIFY would have announced after it, and
// deliver after the end what was committed before: `settle` on both sides belongs to a gap. The
// nearest is to blame.
void Ledger::Blame(Time delivered) {
  ++recovered_;
  auto nearer = [&](const OpenGap& a, const OpenGap& b) {
    return a.DistanceTo(delivered) < b.DistanceTo(delivered);
  };
  auto nearest = std::min_element(gaps_.begin(), gaps_.end(), nearer);
  bool explained = nearest != gaps_.end() && nearest->DistanceTo(delivered) <= options_.settle;
  ++(explained ? nearest->gap.recovered : unexplained_);
}

Ledger::Time::duration Ledger::OpenGap::DistanceTo(Time time) const {
  if (time < begin) return begin - time;
  if (time > end) return time - end;
  return Time::duration::zero();
}

}  // namespace syncflow::notify
