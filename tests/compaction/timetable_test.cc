// Clocks that are put forward and back, at real dates.
#include "sidecar/compaction/timetable.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <vector>

#include "tests/compaction/times.h"

namespace syncflow::compaction {
namespace {

using ::testing::ElementsAre;

// The first `count` runs after `from`, all in UTC.
std::vector<std::string> Runs(const std::string& zone, const std::string& expression,
                              const std::string& from, int count) {
  std::vector<std::string> runs;
  auto time = UtcOf(from);
  for (int i = 0; i < count; ++i) {
    time = NextDue(CronOf(expression), Zone::Find(zone).value(), time);
    runs.push_back(TextOf(time));
  }
  return runs;
}

// One change of the clocks: its moment, and what they show before and after it.
struct Change {
  const char* zone;
  const char* moment;            // UTC
  const char* skipped_or_twice;  // local time on that day, in the hour concerned
  const char* day_before;        // the same local time, in UTC
  const char* day_after;
};

constexpr Change kForward[] = {
    {"Europe/Berlin", "2026-03-29 01:00", "30 2", "2026-03-28 01:30", "2026-03-30 00:30"},
    {"Europe/Berlin", "2027-03-28 01:00", "30 2", "2027-03-27 01:30", "2027-03-29 00:30"},
    {"America/New_York", "2026-03-08 07:00", "30 2", "2026-03-07 07:30", "2026-03-09 06:30"},
    {"America/New_York", "2027-03-14 07:00", "30 2", "2027-03-13 07:30", "2027-03-15 06:30"},
};

TEST(Forward, ATimeThatIsSkippedRunsAtTheJump) {
  for (const Change& change : kForward) {
    std::string daily = std::string(change.skipped_or_twice) + " * * *";
    auto before = TextOf(UtcOf(change.day_before) - std::chrono::minutes(1));
    EXPECT_THAT(Runs(change.zone, daily, before, 3),
                ElementsAre(change.day_before, change.moment, change.day_after))
        << change.zone << " " << change.moment;
  }
}

TEST(Forward, SeveralTimesThatAreSkippedRunOnce) {
  for (const Change& change : kForward) {
    auto before = TextOf(UtcOf(change.moment) - std::chrono::minutes(1));
    auto first_after = TextOf(UtcOf(change.moment) + std::chrono::minutes(30));
    // 2:00 to 2:59 do not exist, and 3:00 is the moment of the jump.
    EXPECT_THAT(Runs(change.zone, "0,15,30,45 2 * * *", before, 1), ElementsAre(change.moment));
    EXPECT_THAT(Runs(change.zone, "0,15,30,45 2 * * *", change.moment, 1),
                ElementsAre(TextOf(UtcOf(change.day_after) - std::chrono::minutes(30))));
    EXPECT_THAT(Runs(change.zone, "0,30 2,3 * * *", before, 2),
                ElementsAre(change.moment, first_after));
  }
}

TEST(Forward, EveryRealIntervalCounts) {
  for (const Change& change : kForward) {
    auto moment = UtcOf(change.moment);
    auto at = [&](int minute) { return TextOf(moment + std::chrono::minutes(minute)); };
    EXPECT_THAT(Runs(change.zone, "*/30 * * * *", at(-31), 4),
                ElementsAre(at(-30), at(0), at(30), at(60)));
    EXPECT_THAT(Runs(change.zone, "@hourly", at(-61), 3), ElementsAre(at(-60), at(0), at(60)));
    // The hour from 2 to 3 does not come that night.
    EXPECT_THAT(Runs(change.zone, "*/30 2 * * *", at(-1), 1),
                ElementsAre(TextOf(UtcOf(change.day_after) - std::chrono::minutes(30))));
  }
}

constexpr Change kBack[] = {
    {"Europe/Berlin", "2026-10-25 01:00", "30 2", "2026-10-24 00:30", "2026-10-26 01:30"},
    {"Europe/Berlin", "2027-10-31 01:00", "30 2", "2027-10-30 00:30", "2027-11-01 01:30"},
    {"America/New_York", "2026-11-01 06:00", "30 1", "2026-10-31 05:30", "2026-11-02 06:30"},
    {"America/New_York", "2027-11-07 06:00", "30 1", "2027-11-06 05:30", "2027-11-08 06:30"},
};

TEST(Back, ATimeThatComesTwiceRunsTheFirstTime) {
  for (const Change& change : kBack) {
    std::string daily = std::string(change.skipped_or_twice) + " * * *";
    auto before = TextOf(UtcOf(change.day_before) - std::chrono::minutes(1));
    auto first = TextOf(UtcOf(change.moment) - std::chrono::minutes(30));
    EXPECT_THAT(Runs(change.zone, daily, before, 3),
                ElementsAre(change.day_before, first, change.day_after))
        << change.zone << " " << change.moment;
    // Asked between the two, or at the second.
    EXPECT_THAT(Runs(change.zone, daily, change.moment, 1), ElementsAre(change.day_after));
    auto second = TextOf(UtcOf(change.moment) + std::chrono::minutes(30));
    EXPECT_THAT(Runs(change.zone, daily, second, 1), ElementsAre(change.day_after));
  }
}

TEST(Back, EveryRealIntervalCounts) {
  for (const Change& change : kBack) {
    auto moment = UtcOf(change.moment);
    auto at = [&](int minute) { return TextOf(moment + std::chrono::minutes(minute)); };
    EXPECT_THAT(Runs(change.zone, "*/30 * * * *", at(-61), 6),
                ElementsAre(at(-60), at(-30), at(0), at(30), at(60), at(90)));
    EXPECT_THAT(Runs(change.zone, "@hourly", at(-61), 4),
                ElementsAre(at(-60), at(0), at(60), at(120)));
    std::string hour(1, change.skipped_or_twice[3]);
    EXPECT_THAT(Runs(change.zone, "*/30 " + hour + " * * *", at(-61), 4),
                ElementsAre(at(-60), at(-30), at(0), at(30)));
  }
}

TEST(Midnight, ThatIsSkippedRunsAtTheJump) {
  EXPECT_THAT(Runs("Asia/Beirut", "@daily", "2026-03-28 12:00", 2),
              ElementsAre("2026-03-28 22:00", "2026-03-29 21:00"));
}

TEST(Day, ThatIsSkippedRunsAtTheJump) {
  // Samoa had no December 30 in 2011.
  EXPECT_THAT(Runs("Pacific/Apia", "0 12 30 12 *", "2011-12-01 00:00", 2),
              ElementsAre("2011-12-30 10:00", "2012-12-29 22:00"));
  EXPECT_THAT(Runs("Pacific/Apia", "0 12 * * *", "2011-12-29 12:00", 3),
              ElementsAre("2011-12-29 22:00", "2011-12-30 10:00", "2011-12-30 22:00"));
}

TEST(HalfAnHour, IsAChangeToo) {
  EXPECT_THAT(Runs("Australia/Lord_Howe", "15 2 * * *", "2026-10-03 00:00", 2),
              ElementsAre("2026-10-03 15:30", "2026-10-04 15:15"));
  EXPECT_THAT(Runs("Australia/Lord_Howe", "45 1 * * *", "2026-04-03 16:00", 2),
              ElementsAre("2026-04-04 14:45", "2026-04-05 15:15"));
}

TEST(Utc, HasNoChanges) {
  EXPECT_THAT(Runs("UTC", "30 2 29 2 *", "2026-03-29 00:00", 2),
              ElementsAre("2028-02-29 02:30", "2032-02-29 02:30"));
}

TEST(FarFuture, FollowsTheRule) {
  EXPECT_THAT(Runs("Europe/Berlin", "30 2 * 3 SUN", "2090-03-26 00:00", 1),
              ElementsAre("2090-03-26 01:00"));
}

TEST(Zone, NamesAreThoseOfTheDatabase) {
  for (const char* name : {"UTC", "Europe/Berlin", "America/Argentina/Buenos_Aires", "Etc/GMT+5"})
    EXPECT_TRUE(Zone::Find(name)) << name;
  for (const char* name :
       {"", "Europe/Atlantis", "CET+1", "europe/berlin ", "/etc/localtime", "../zoneinfo/UTC",
        "libc:localtime", "file:UTC", "Europe", "Fixed/UTC+01:00:00"})
    EXPECT_FALSE(Zone::Find(name)) << name;
}

}  // namespace
}  // namespace syncflow::compaction
