#include "config/print.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/config/rig.h"

namespace syncflow::config {
namespace {

using testing::HasSubstr;

TEST(Printed, NamesEachOrigin) {
  std::string printed =
      Print(LoadGood("feed: {heartbeat: 60s}\n", {{"SYNCFLOW_LOG_LEVEL", "debug"}}));
  EXPECT_THAT(printed, HasSubstr("version: 1\npostgres:\n  url: \"***\"  # file\n"));
  EXPECT_THAT(printed, HasSubstr("  heartbeat: 1m  # file\n"));
  EXPECT_THAT(printed, HasSubstr("  level: debug  # environment SYNCFLOW_LOG_LEVEL\n"));
  EXPECT_THAT(printed, HasSubstr("  listen: \"127.0.0.1:7433\"  # default\n"));
  EXPECT_THAT(printed, HasSubstr("  connections_max: 20000  # default\n"));
}

TEST(Printed, SectionWithinASection) {
  EXPECT_THAT(
      Print(LoadGood("feed: {tls: {certificate: /c, key: /k}}\n")),
      HasSubstr("  tokens_file: \"\"  # default\n  tls:\n    certificate: \"/c\"  # file\n"));
}

TEST(Printed, DefaultsAreThoseOfTheSettings) {
  Loaded loaded = LoadText(Defaults(), "f.yaml", {{"SYNCFLOW_POSTGRES_URL", "x"}});
  EXPECT_EQ(Joined(loaded.violations), "");
  Settings expected;
  expected.postgres.url = Secret("x");
  EXPECT_EQ(TextsOf(loaded.settings), TextsOf(expected));
}

// The file that sets everything to something else than its default.
constexpr const char* kEverything = R"(version: 1
postgres:
  url: "postgresql://u:p$$w@h/db"
  password_file: "/run/secrets/a \"b\" \\ $${x} 'c' # d: e"
  schema: "täglich: [x]"
  initialize: false
  pool_max: 3
replication:
  slot: "null"
  plugin: pgoutput
  publication: "it's: one"
  backfill: false
journal:
  directory: "~"
  segment_size: 1000000000
  retain_size: 2001000000
  retain_age: 100s
  pin_size_max: 5GiB
  pin_age_max: 3d
feed:
  listen: "[::]:1"
  hello_timeout: 1001ms
  heartbeat: 61s
  tail_memory: 3MB
  connections_max: 1
  line_max: 4097
  allow_anonymous: true
  tokens_file: /etc/tokens
  tls: {certificate: /etc/tls.crt, key: /etc/tls.key, client_ca: /etc/ca.crt}
http: {listen: "", token_file: /run/token}
sync_api: {listen: "0.0.0.0:3000", allow_anonymous: true}
notify: {mode: off, watch: false}
compaction:
  jobs:
    - name: all.of-it_1
      schedule: "*/5 0-6 * * MON-FRI"
      timezone: Europe/Berlin
      jitter: 90s
      catch_up: false
      older_than: 36h
      collections: {"a \"b\" \\ ${x} 'c' # d: e": 7d, "audit": never, "~": 1ms}
      keep_last: 2
      batch_rows: 100
      pause: 0ms
      lock_timeout: 10ms
      statement_timeout: 1m
      share_max: 0.3333333333
      max_duration: 10m
      dry_run: true
      vacuum: true
    - {name: b, every: 90m, older_than: never, collections: {täglich: 5d}}
log: {level: error, format: json}
)";

TEST(Printed, LoadsAgainToTheSameSettings) {
  Loaded first = LoadText(kEverything, "f.yaml", {});
  ASSERT_EQ(Joined(first.violations), "");
  Environment url = {{"SYNCFLOW_POSTGRES_URL", first.settings.postgres.url.Reveal()}};
  Loaded second = LoadText(Print(first), "f.yaml", url);
  EXPECT_EQ(Joined(second.violations), "");
  EXPECT_EQ(TextsOf(second.settings), TextsOf(first.settings));
}

TEST(Printed, EverySettingOfThatTestIsNoDefault) {
  Settings set = LoadText(kEverything, "f.yaml", {}).settings;
  for (const Option& option : Options()) {
    EXPECT_NE(option.get(set), option.get(Settings{})) << option.name();
  }
  ASSERT_EQ(set.compaction.jobs.size(), 2u);
  for (const JobOption& option : JobOptions()) {
    const CompactionJob& job = set.compaction.jobs[option.key == "every" ? 1 : 0];
    EXPECT_NE(option.get(job), option.get(CompactionJob{})) << option.key;
  }
}

}  // namespace
}  // namespace syncflow::config
