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
http: {listen: ""}
notify: {mode: off, watch: false}
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
}

}  // namespace
}  // namespace syncflow::config
