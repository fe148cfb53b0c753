// compaction.jobs: what a job may be, and what is said of one that is wrong.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "config/job_options.h"
#include "config/print.h"
#include "tests/config/rig.h"

namespace syncflow::config {
namespace {

using std::chrono::hours;
using std::chrono::milliseconds;
using std::chrono::seconds;
using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::StartsWith;

const std::string kSection = "compaction:\n  jobs:\n";  // lines 4 and 5 after kGood
const std::string kRight = "    - {name: a, every: 6h, older_than: 90d";

TEST(Jobs, AreReadWithTheirDefaults) {
  Loaded loaded = LoadGood(kSection +
                           "    - name: weekly\n"
                           "      schedule: 0 2 * * SUN\n"
                           "      timezone: Europe/Berlin\n"
                           "      older_than: 90d\n"
                           "      collections: {drafts: 7d, audit: never, 'a: b': 1h}\n"
                           "    - {name: often, every: 6h, older_than: never, collections: {x: 1d},"
                           " share_max: 0.05, keep_last: 3}\n");
  ASSERT_EQ(Joined(loaded.violations), "");
  const auto& jobs = loaded.settings.compaction.jobs;
  ASSERT_EQ(jobs.size(), 2u);
  EXPECT_EQ(jobs[0].name, "weekly");
  EXPECT_EQ(jobs[0].schedule, "0 2 * * SUN");
  EXPECT_EQ(jobs[0].every, seconds(0));
  EXPECT_EQ(jobs[0].timezone, "Europe/Berlin");
  EXPECT_EQ(jobs[0].older_than, hours(24 * 90));
  EXPECT_EQ(jobs[0].collections,
            (Ages{{"drafts", hours(24 * 7)}, {"audit", std::nullopt}, {"a: b", hours(1)}}));
  EXPECT_EQ(jobs[0].share_max, 0.5);
  EXPECT_TRUE(jobs[0].catch_up);
  EXPECT_EQ(jobs[1].every, hours(6));
  EXPECT_EQ(jobs[1].timezone, "UTC");
  EXPECT_EQ(jobs[1].older_than, std::nullopt);
  EXPECT_EQ(jobs[1].share_max, 0.05);
  EXPECT_EQ(jobs[1].keep_last, 3u);
  EXPECT_EQ(jobs[1].pause, milliseconds(100));
}

TEST(Jobs, NoneIsFine) {
  EXPECT_THAT(LoadGood("compaction: {jobs: []}\n").violations, IsEmpty());
  EXPECT_THAT(LoadGood("compaction: {}\n").violations, IsEmpty());
  EXPECT_THAT(LoadGood("compaction:\n").violations, IsEmpty());
}

TEST(Jobs, ValuesMayComeFromVariables) {
  Loaded loaded = LoadGood(kSection + "    - {name: a, every: '${OFTEN:-6h}', older_than: $OLD}\n");
  EXPECT_THAT(loaded.violations, ElementsAre(HasSubstr("not '$OLD'")));
  loaded =
      LoadGood(kSection + "    - {name: a, every: 6h, older_than: '${OLD}'}\n", {{"OLD", "5d"}});
  EXPECT_EQ(Joined(loaded.violations), "");
  EXPECT_EQ(loaded.settings.compaction.jobs[0].older_than, hours(24 * 5));
}

struct Mistake {
  std::string text;   // after kGood
  std::string place;  // line:column
  std::string word;
};

const std::vector<Mistake> kMistakes = {
    {"compaction: [a]\n", "4:13", "'compaction' must be a map"},
    {"compactoin: {}\n", "4:1", "did you mean 'compaction'?"},
    {"jobs: []\n", "4:1", "did you mean 'compaction.jobs'?"},
    {"schedule: x\n", "4:1", "did you mean 'compaction.jobs'?"},
    {"compaction: {job: []}\n", "4:14", "did you mean 'jobs'?"},
    {"compaction: {schedule: x}\n", "4:14", "did you mean 'compaction.jobs'?"},
    {"compaction:\n  jobs:\n", "5:3", "must be a list of jobs"},
    {"compaction:\n  jobs: weekly\n", "5:9", "must be a list of jobs"},
    {"compaction:\n  jobs: {name: a}\n", "5:9", "must be a list of jobs"},
    {"compaction:\n  jobs: [a]\n", "5:10", "a job must be a map"},
    {"compaction:\n  jobs: [[]]\n", "5:10", "a job must be a map"},
    {"compaction:\n  jobs: [~]\n", "5:10", "a job must be a map"},
    {kSection + "    - {every: 6h, older_than: 90d}\n", "6:7", "has no name"},
    {kSection + "    - {name: a, older_than: 90d}\n", "6:7", "never runs"},
    {kSection + "    - {name: a, every: 6h, schedule: '@daily', older_than: 90d}\n", "6:7", "both"},
    {kSection + "    - {name: a, every: 6h}\n", "6:7", "how old"},
    {kSection + "    - {name: a, every: 6h, older_than: never}\n", "6:7", "deletes nothing"},
    {kSection + "    - {name: a, every: 6h, older_than: never, collections: {x: never}}\n", "6:7",
     "deletes nothing"},
    {kSection + kRight + ", jitter: 6h}\n", "6:7", "jitter must be shorter than every"},
    {kSection + kRight + "}\n    - {name: a, every: 1h, older_than: 1d}\n", "7:8",
     "'a' stands here a second time, after the job in line 6"},
    {kSection + kRight + ", name: b}\n", "6:45", "'name' stands here a second time"},
    {kSection + kRight + ", sheduel: x}\n", "6:45",
     "'compaction.jobs.sheduel' (did you mean 'schedule'"},
    {kSection + kRight + ", collection: x}\n", "6:45", "did you mean 'collections'?"},
    {kSection + kRight + ", retain_age: 7d}\n", "6:45", "did you mean 'journal.retain_age'?"},
    {kSection + kRight + ", name: [a]}\n", "6:45", "second time"},
    {kSection + "    - {name: 'a b', every: 6h, older_than: 90d}\n", "6:14", "must be 1 to 64 of"},
    {kSection + "    - {name: '', every: 6h, older_than: 90d}\n", "6:14", "must be 1 to 64 of"},
    {kSection + "    - {name: a, schedule: 0 2 * *, older_than: 90d}\n", "6:27", "five fields"},
    {kSection + "    - {name: a, schedule: 0 24 * * *, older_than: 90d}\n", "6:27",
     "compaction.jobs.schedule must have as its hour 0-23, ranges, steps or lists of these, not "
     "'24'"},
    {kSection + "    - {name: a, schedule: 0 0 30 2 *, older_than: 90d}\n", "6:27",
     "a date that comes"},
    {kSection + "    - {name: a, schedule: , older_than: 90d}\n", "6:17", "has no value"},
    {kSection + "    - {name: a, every: 6, older_than: 90d}\n", "6:24", "from 1s to 3650d"},
    {kSection + "    - {name: a, every: [6h], older_than: 90d}\n", "6:24",
     "must be a single value"},
    {kSection + kRight + ", timezone: Europe/Berlim}\n", "6:55", "must be a time zone"},
    {kSection + kRight + ", share_max: 0}\n", "6:56", "greater than 0 and at most 1, not '0'"},
    {kSection + kRight + ", share_max: 50%}\n", "6:56", "must be a share like 0.5"},
    {kSection + kRight + ", share_max: 1.5}\n", "6:56", "must be a share like 0.5"},
    {kSection + kRight + ", share_max: nan}\n", "6:56", "must be a share like 0.5"},
    {kSection + kRight + ", keep_last: -1}\n", "6:56", "whole number from 0 to 1000000"},
    {kSection + kRight + ", batch_rows: 0}\n", "6:57", "whole number from 1 to 100000"},
    {kSection + kRight + ", vacuum: yes}\n", "6:53", "must be true or false"},
    {kSection + kRight + ", pause: 2m}\n", "6:52", "from 0ms to 1m"},
    {kSection + kRight + ", collections: [x]}\n", "6:58", "must be a map of collections"},
    {kSection + kRight + ", collections: }\n", "6:45", "must be a map of collections"},
    {kSection + kRight + ", collections: {x: soon}}\n", "6:62",
     "must be never or a duration like 90d"},
    {kSection + kRight + ", collections: {x: }}\n", "6:59", "has no value"},
    {kSection + kRight + ", collections: {x: [1d]}}\n", "6:62", "must be a single value"},
    {kSection + kRight + ", collections: {x: 1d, x: 2d}}\n", "6:66", "stands here a second time"},
    {kSection + kRight + ", collections: {'': 1d}}\n", "6:59", "must be named with 1 to 128 bytes"},
    {kSection + kRight + ", pause: '${PAUSE}'}\n", "6:52", "PAUSE is not set"},
};

TEST(Jobs, EachMistakeIsReportedAtItsPlace) {
  for (const Mistake& mistake : kMistakes) {
    EXPECT_THAT(
        LoadGood(mistake.text).violations,
        ElementsAre(AllOf(StartsWith("f.yaml:" + mistake.place + ": "), HasSubstr(mistake.word))))
        << mistake.text;
  }
}

TEST(Jobs, AllMistakesAreReportedAtOnce) {
  auto violations = LoadGood(kSection +
                             "    - name: a b\n"
                             "      schedule: 61 * * * *\n"
                             "      older_than: old\n"
                             "    - nam: c\n"
                             "feed: {heartbeat: 1h}\n")
                        .violations;
  EXPECT_THAT(violations,
              ElementsAre(StartsWith("f.yaml:6:13: compaction.jobs.name must"),
                          StartsWith("f.yaml:7:17: compaction.jobs.schedule must"),
                          StartsWith("f.yaml:8:19: compaction.jobs.older_than must"),
                          HasSubstr("did you mean 'name'?"),
                          StartsWith("f.yaml:9:7: compaction.jobs: this job has no name"),
                          StartsWith("f.yaml:9:7: compaction.jobs: this job never runs"),
                          StartsWith("f.yaml:9:7: compaction.jobs: this job does not say"),
                          StartsWith("f.yaml:10:19: feed.heartbeat must")));
}

TEST(Jobs, NothingIsMissingInAFileThatBreaksOff) {
  auto violations = LoadGood(kSection +
                             "    - name: a\n"
                             "      share_max: 7\n"
                             "      older_than: \"90d\n")
                        .violations;
  EXPECT_THAT(violations, ElementsAre(HasSubstr("must be a share"), HasSubstr("never closed")));
}

TEST(Jobs, AreNotSetByVariables) {
  EXPECT_THAT(LoadGood("", {{"SYNCFLOW_COMPACTION_JOBS", "x"}}).warnings,
              ElementsAre(HasSubstr("SYNCFLOW_COMPACTION_JOBS is no setting")));
}

TEST(Jobs, ArePrinted) {
  EXPECT_THAT(Print(LoadGood()), HasSubstr("compaction:\n  jobs: []  # default\n"));
  std::string printed = Print(LoadGood(kSection + kRight + ", collections: {x: never, y: 36h}}\n"));
  EXPECT_THAT(printed,
              HasSubstr("compaction:\n  jobs:  # file\n    - name: \"a\"\n      every: 6h\n"
                        "      timezone: \"UTC\"\n"));
  EXPECT_THAT(printed, HasSubstr("      collections: {\"x\": never, \"y\": 36h}\n"));
}

}  // namespace
}  // namespace syncflow::config
