// Random schedules at random times, against an implementation that looks at every minute.
#include <gtest/gtest.h>

#include <random>

#include "tests/compaction/brute_force.h"
#include "tests/compaction/times.h"

namespace syncflow::compaction {
namespace {

using Random = std::mt19937;

std::string OneOf(Random& random, const std::vector<std::string>& words) {
  return words[random() % words.size()];
}

std::string Value(Random& random, int least, int most, const std::vector<std::string>& names) {
  auto value = least + static_cast<int>(random() % static_cast<unsigned>(most - least + 1));
  bool named = random() % 3 == 0 && static_cast<size_t>(value - least) < names.size();
  return named ? names[static_cast<size_t>(value - least)] : std::to_string(value);
}

// Mostly right: now and then a range is upside down or a step too long.
std::string Field(Random& random, int least, int most, const std::vector<std::string>& names = {}) {
  std::string out;
  for (unsigned pieces = random() % 4 == 0 ? 3 : 1; pieces > 0; --pieces) {
    std::string step = random() % 2 == 0 ? "" : "/" + std::to_string(1 + random() % 12);
    std::string one = Value(random, least, most, names);
    out +=
        OneOf(random, {"*" + step, one, one, one + "-" + Value(random, least, most, names) + step});
    if (pieces > 1) out += ",";
  }
  return out;
}

std::string Expression(Random& random) {
  std::string day = random() % 2 == 0 ? "*" : Field(random, 1, 31);
  std::string weekday =
      random() % 2 == 0 ? "*"
                        : Field(random, 0, 7, {"sun", "MON", "Tue", "wed", "thu", "fri", "sat"});
  std::string month =
      random() % 3 != 0 ? "*" : Field(random, 1, 12, {"jan", "Feb", "MAR", "apr", "may", "jun"});
  return Field(random, 0, 59) + " " + Field(random, 0, 23) + " " + day + " " + month + " " +
         weekday;
}

constexpr int64_t kDay = 24 * 60;  // minutes

int64_t MinuteOf(std::chrono::sys_seconds time) {
  return std::chrono::floor<std::chrono::minutes>(time.time_since_epoch()).count();
}

// Both say when it is next due after `minute`, or both that this lies beyond the clock's end.
void Compare(const std::string& text, const Zone& zone, const LibcClock& clock, int64_t minute) {
  auto slow = BruteForce::Parse(text);
  auto parsed = Cron::Parse(text);
  ASSERT_EQ(std::holds_alternative<Cron>(parsed), slow.has_value()) << text;
  if (!slow) return;
  std::chrono::sys_seconds after{std::chrono::minutes(minute)};
  int64_t fast = MinuteOf(NextDue(std::get<Cron>(parsed), zone, after));
  int64_t expected = clock.Next(*slow, minute).value_or(clock.last() + 1);
  ASSERT_EQ(std::min(fast, clock.last() + 1), expected)
      << text << " in " << zone.name() << " after " << TextOf(after);
}

// Two weeks around a change of the clocks, where all the trouble is.
TEST(Differential, AroundEachChange) {
  const std::pair<const char*, const char*> changes[] = {
      {"Europe/Berlin", "2026-03-29 01:00"},       {"Europe/Berlin", "2026-10-25 01:00"},
      {"Europe/Berlin", "2027-03-28 01:00"},       {"Europe/Berlin", "2027-10-31 01:00"},
      {"America/New_York", "2026-03-08 07:00"},    {"America/New_York", "2026-11-01 06:00"},
      {"America/New_York", "2027-03-14 07:00"},    {"America/New_York", "2027-11-07 06:00"},
      {"Australia/Lord_Howe", "2026-10-03 15:30"}, {"Asia/Beirut", "2026-03-28 22:00"},
      {"Pacific/Apia", "2011-12-30 10:00"},        {"UTC", "2028-02-29 00:00"},
  };
  Random random(20261124);
  for (auto [name, moment] : changes) {
    int64_t change = MinuteOf(UtcOf(moment));
    LibcClock clock(name, change - 7 * kDay, 14 * kDay);
    Zone zone = Zone::Find(name).value();
    for (int round = 0; round < 250; ++round) {
      SCOPED_TRACE(round);
      int64_t minute = change - kDay + static_cast<int64_t>(random() % (2 * kDay));
      Compare(Expression(random), zone, clock, minute);
      if (HasFatalFailure()) return;
    }
  }
}

TEST(Differential, OverTwoYears) {
  Random random(4711);
  for (const char* name : {"Europe/Berlin", "America/New_York"}) {
    int64_t start = MinuteOf(UtcOf("2027-12-20 00:00"));
    LibcClock clock(name, start, 2 * 366 * kDay);
    Zone zone = Zone::Find(name).value();
    for (int round = 0; round < 30; ++round) {
      SCOPED_TRACE(round);
      Compare(Expression(random), zone, clock,
              start + 2 * kDay + static_cast<int64_t>(random() % (300 * kDay)));
      if (HasFatalFailure()) return;
    }
  }
}

// Bytes that nearly are expressions: both refuse the same.
TEST(Differential, SpoiltOnes) {
  Random random(99);
  const std::string letters = "0123456789*/,- \tjanfebsunmon@x";
  LibcClock clock("UTC", 0, 10 * kDay);
  Zone zone = Zone::Find("UTC").value();
  for (int round = 0; round < 20'000; ++round) {
    std::string text = Expression(random);
    for (auto spoils = 1 + random() % 3; spoils > 0; --spoils)
      text.replace(random() % text.size(), random() % 2, 1, letters[random() % letters.size()]);
    auto parsed = Cron::Parse(text);
    ASSERT_EQ(std::holds_alternative<Cron>(parsed), BruteForce::Parse(text).has_value()) << text;
  }
}

}  // namespace
}  // namespace syncflow::compaction
