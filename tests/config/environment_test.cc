#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdlib>

#include "config/print.h"
#include "tests/config/rig.h"

namespace syncflow::config {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::Pair;
using testing::StartsWith;

TEST(Environment, WinsOverTheFileAndTheDefault) {
  Loaded loaded = LoadGood("feed: {heartbeat: 5s, line_max: 1MiB}\n",
                           {{"SYNCFLOW_FEED_HEARTBEAT", "7s"}, {"SYNCFLOW_HTTP_LISTEN", ""}});
  EXPECT_THAT(loaded.violations, IsEmpty());
  EXPECT_EQ(loaded.settings.feed.heartbeat, std::chrono::seconds(7));
  EXPECT_EQ(loaded.settings.http.listen, "");
  EXPECT_EQ(loaded.settings.feed.line_max, 1u << 20);
  EXPECT_THAT(loaded.origins,
              ElementsAre(Pair("feed.heartbeat", "environment SYNCFLOW_FEED_HEARTBEAT"),
                          Pair("feed.line_max", "file"),
                          Pair("http.listen", "environment SYNCFLOW_HTTP_LISTEN"),
                          Pair("postgres.url", "file")));
}

TEST(Environment, SetsEverySetting) {
  Environment environment;
  Loaded defaults;
  for (const Option& option : Options())
    environment[option.environment_name()] = option.get(defaults.settings);
  environment["SYNCFLOW_POSTGRES_URL"] = "x";
  Loaded loaded = LoadText("version: 1\n", "f.yaml", environment);
  EXPECT_EQ(Joined(loaded.violations) + Joined(loaded.warnings), "");
  EXPECT_EQ(loaded.origins.size(), Options().size());
}

TEST(Environment, IsNotSubstituted) {
  Loaded loaded = LoadGood("", {{"SYNCFLOW_POSTGRES_URL", "pa$$${word}"}});
  EXPECT_EQ(loaded.settings.postgres.url.Reveal(), "pa$$${word}");
}

TEST(Environment, ViolationsNameTheVariable) {
  Loaded loaded = LoadGood("log: {level: loud}\n", {{"SYNCFLOW_FEED_HEARTBEAT", "soon"},
                                                    {"SYNCFLOW_FEED_LISTEN", "0.0.0.0:1"},
                                                    {"SYNCFLOW_POSTGRES_URL", ""}});
  EXPECT_THAT(loaded.violations,
              ElementsAre(StartsWith("f.yaml:4:14: log.level"),
                          "environment: SYNCFLOW_FEED_HEARTBEAT must be a duration like 30s, from "
                          "1s to 5m, in whole seconds, not 'soon'",
                          StartsWith("environment: SYNCFLOW_POSTGRES_URL: postgres.url is missing"),
                          StartsWith("environment: SYNCFLOW_FEED_LISTEN: feed.listen 0.0.0.0:1")));
}

TEST(Environment, UnknownVariablesAreWarnedOf) {
  Loaded loaded = LoadGood("", {{"SYNCFLOW_POSTGRESS_URL", "x"},
                                {"SYNCFLOW_SOMETHING", "secret"},
                                {"SYNCFLOW_FEED_PORT", "7433"},
                                {"SYNC", "x"},
                                {"HOME", "x"}});
  EXPECT_THAT(loaded.violations, IsEmpty());
  EXPECT_THAT(loaded.warnings,
              ElementsAre(HasSubstr("SYNCFLOW_FEED_PORT"),
                          "the environment variable SYNCFLOW_POSTGRESS_URL is no setting and is "
                          "ignored (did you mean 'SYNCFLOW_POSTGRES_URL'?)",
                          HasSubstr("SYNCFLOW_SOMETHING")));
  EXPECT_THAT(Joined(loaded.warnings), testing::Not(HasSubstr("secret")));
}

TEST(Environment, VariablesThatTheFileNamesAreNoMistakes) {
  Loaded loaded =
      LoadGood("log: {level: '${SYNCFLOW_LOUDNESS:-info}'}\n", {{"SYNCFLOW_LOUDNESS", "debug"}});
  EXPECT_THAT(loaded.warnings, IsEmpty());
  EXPECT_EQ(loaded.settings.log.level, LogLevel::kDebug);
}

TEST(Environment, WhatKubernetesSetsForAServiceIsNoMistake) {
  Loaded loaded = LoadGood("", {{"SYNCFLOW_SIDECAR_SERVICE_HOST", "10.0.0.1"},
                                {"SYNCFLOW_SIDECAR_SERVICE_PORT", "7433"},
                                {"SYNCFLOW_SIDECAR_SERVICE_PORT_FEED", "7433"},
                                {"SYNCFLOW_SIDECAR_PORT", "tcp://10.0.0.1:7433"},
                                {"SYNCFLOW_SIDECAR_PORT_7433_TCP", "tcp://10.0.0.1:7433"},
                                {"SYNCFLOW_SIDECAR_PORT_7433_TCP_PROTO", "tcp"},
                                {"SYNCFLOW_SIDECAR_PORT_7433_TCP_PORT", "7433"},
                                {"SYNCFLOW_SIDECAR_PORT_7433_TCP_ADDR", "10.0.0.1"}});
  EXPECT_THAT(loaded.warnings, IsEmpty());
}

TEST(Environment, OfTheProcessIsReadAsItIs) {
  ASSERT_EQ(setenv("SYNCFLOW_CONFIG_TEST", "a=b=c", 1), 0);
  EXPECT_EQ(ProcessEnvironment().at("SYNCFLOW_CONFIG_TEST"), "a=b=c");
  unsetenv("SYNCFLOW_CONFIG_TEST");
}

}  // namespace
}  // namespace syncflow::config
