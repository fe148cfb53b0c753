// Any bytes as a cron expression: refused, or understood as the slow implementation does.
#include "sidecar/compaction/timetable.h"
#include "tests/compaction/brute_force.h"
#include "tests/fuzz/expect.h"

namespace syncflow::compaction {
namespace {

// The day before Europe/Berlin puts its clocks forward in 2026, and what of it the two must agree
// on.
constexpr int64_t kStart = 29'577'600;  // minutes since 1970
constexpr int64_t kCompared = 2 * 24 * 60;

void CompareDates(const Cron& fast, const BruteForce& slow) {
  LocalMinute start{std::chrono::minutes(kStart)};
  int64_t next = fast.Next(start).time_since_epoch().count();
  int64_t minute = kStart;
  while (minute < kStart + kCompared && !slow.Fits(minute)) ++minute;
  fuzz::Expect(std::min(next, kStart + kCompared) == minute, "both find the same minute");
  fuzz::Expect(slow.Fits(next), "what is found fits");
  fuzz::Expect(fast.has_fixed_times() == slow.IsFixed(), "both agree what has fixed times");
}

void FollowTheClocks(const Cron& cron) {
  static const Zone kZone = Zone::Find("Europe/Berlin").value();
  std::chrono::sys_seconds time{std::chrono::minutes(kStart)};
  for (int i = 0; i < 3; ++i) {
    auto next = NextDue(cron, kZone, time);
    fuzz::Expect(next > time, "runs come one after another");
    time = next;
  }
}

}  // namespace
}  // namespace syncflow::compaction

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace syncflow::compaction;
  std::string text(syncflow::fuzz::Text(data, size));
  auto fast = Cron::Parse(text);
  auto slow = BruteForce::Parse(text);
  syncflow::fuzz::Expect(std::holds_alternative<Cron>(fast) == slow.has_value(),
                         "both refuse the same");
  if (!slow) return 0;
  CompareDates(std::get<Cron>(fast), *slow);
  FollowTheClocks(std::get<Cron>(fast));
  return 0;
}
