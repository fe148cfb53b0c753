#include "sidecar/command/config_commands.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <stdlib.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <string>

namespace syncflow::command {
namespace {

using ::testing::EndsWith;
using ::testing::HasSubstr;
using ::testing::Not;
using ::testing::StartsWith;

class ConfigCommands : public ::testing::Test {
 protected:
  ConfigCommands() : path_(::testing::TempDir() + "config_commands_test.yaml") {
    Write("postgresql://someone:hidden@127.0.0.1:1/app");
  }
  ~ConfigCommands() override { std::filesystem::remove(path_); }

  void Write(const std::string& url, const std::string& more = "") {
    std::ofstream(path_) << "version: 1\npostgres:\n  url: " << url << "\n" << more;
  }

  // The exit code; what was printed is in out_ and err_.
  template <typename Command>
  int Run(Command command) {
    ::testing::internal::CaptureStdout();
    ::testing::internal::CaptureStderr();
    int status = command();
    out_ = ::testing::internal::GetCapturedStdout();
    err_ = ::testing::internal::GetCapturedStderr();
    return status;
  }
  int Check(bool connect = false) {
    return Run([&] { return CheckConfig(path_, connect); });
  }
  int Print(bool defaults = false) {
    return Run([&] { return PrintConfig(path_, defaults); });
  }

  std::string path_;
  std::string out_;
  std::string err_;
};

TEST_F(ConfigCommands, GoodFileIsOk) {
  EXPECT_EQ(Check(), 0);
  EXPECT_EQ(out_, path_ + ": ok\n");
  EXPECT_EQ(err_, "");
}

TEST_F(ConfigCommands, EveryViolationGoesToStderrAndTheExitCodeIs78) {
  Write("x", "feeed: {}\nlog: {level: loud}\n");
  std::string violations = path_ + ":4:1: unknown section 'feeed' (did you mean 'feed'?)\n" +
                           path_ +
                           ":5:14: log.level must be one of: debug, info, warning, error, not "
                           "'loud'\n";
  EXPECT_EQ(Check(), 78);
  EXPECT_EQ(err_, violations);
  EXPECT_EQ(out_, "");
  EXPECT_EQ(Print(), 78);
  EXPECT_EQ(err_, violations);
  EXPECT_EQ(out_, "");
}

TEST_F(ConfigCommands, UnreachableServerIsOneSentenceWithoutThePassword) {
  EXPECT_EQ(Check(true), 1);
  EXPECT_EQ(out_, "");
  EXPECT_THAT(err_, HasSubstr("127.0.0.1"));
  EXPECT_THAT(err_, Not(HasSubstr("hidden")));
  EXPECT_EQ(std::count(err_.begin(), err_.end(), '\n'), 1);
}

TEST_F(ConfigCommands, PrintedSettingsHideThePassword) {
  EXPECT_EQ(Print(), 0);
  EXPECT_THAT(out_, StartsWith("version: 1\npostgres:\n  url: \"***\"  # file\n"));
  EXPECT_THAT(out_, Not(HasSubstr("hidden")));
}

TEST_F(ConfigCommands, DefaultsNeedNoFile) {
  path_ = "no such file";
  EXPECT_EQ(Print(true), 0);
  EXPECT_THAT(out_, EndsWith("jobs: []  # default\n"));
}

TEST_F(ConfigCommands, UnknownVariableIsAWarning) {
  setenv("SYNCFLOW_FEED_LISTENN", "x", 1);
  EXPECT_EQ(Check(), 0);
  unsetenv("SYNCFLOW_FEED_LISTENN");
  EXPECT_THAT(err_, StartsWith("warning: the environment variable SYNCFLOW_FEED_LISTENN"));
}

}  // namespace
}  // namespace syncflow::command
