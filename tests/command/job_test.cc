#include "sidecar/command/job.h"

#include <gtest/gtest.h>

#include "config/job_options.h"

namespace syncflow::command {
namespace {

using std::chrono::hours;
using std::chrono::milliseconds;
using std::chrono::minutes;
using std::chrono::seconds;

// None as by default.
TEST(JobOf, TakesEverySetting) {
  config::CompactionJob settings;
  settings.name = "nightly";
  settings.schedule = "0 2 * * *";
  settings.timezone = "Europe/Berlin";
  settings.jitter = minutes(3);
  settings.catch_up = false;
  settings.older_than = hours(50);
  settings.collections = {{"audit", std::nullopt}, {"drafts", hours(7)}};
  settings.keep_last = 4;
  settings.batch_rows = 123;
  settings.pause = milliseconds(45);
  settings.lock_timeout = milliseconds(67);
  settings.statement_timeout = milliseconds(8900);
  settings.share_max = 0.125;
  settings.max_duration = seconds(321);
  settings.dry_run = true;
  settings.vacuum = true;
  compaction::Job job = JobOf(settings);
  EXPECT_EQ(job.name, "nightly");
  EXPECT_EQ(job.schedule, "0 2 * * * Europe/Berlin");
  EXPECT_EQ(std::get<compaction::Clocked>(job.when).zone.name(), "Europe/Berlin");
  EXPECT_TRUE(std::get<compaction::Clocked>(job.when).cron.has_fixed_times());
  EXPECT_EQ(job.jitter, minutes(3));
  EXPECT_FALSE(job.catch_up);
  EXPECT_EQ(job.compact.older_than, hours(50));
  EXPECT_EQ(job.compact.collections, settings.collections);
  EXPECT_EQ(job.compact.keep_last, 4);
  EXPECT_EQ(job.compact.batch_rows, 123);
  EXPECT_EQ(job.compact.pause, milliseconds(45));
  EXPECT_EQ(job.compact.lock_timeout, milliseconds(67));
  EXPECT_EQ(job.compact.statement_timeout, milliseconds(8900));
  EXPECT_EQ(job.compact.share_max, 0.125);
  EXPECT_EQ(job.max_duration, seconds(321));
  EXPECT_TRUE(job.compact.dry_run);
  EXPECT_TRUE(job.compact.vacuum);
  EXPECT_EQ(config::JobOptions().size() + 1, 17u) << "with collections: is a new one taken here?";
}

TEST(JobOf, TakesAnInterval) {
  config::CompactionJob settings;
  settings.every = hours(6);
  compaction::Job job = JobOf(settings);
  EXPECT_EQ(job.schedule, "every 6h");
  EXPECT_EQ(std::get<seconds>(job.when), hours(6));
}

}  // namespace
}  // namespace syncflow::command
