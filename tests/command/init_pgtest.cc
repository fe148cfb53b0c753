#include "sidecar/command/init.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdio>
#include <optional>
#include <string>

#include "tests/support/postgres.h"

namespace syncflow::command {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

class Initialized : public ::testing::Test {
 protected:
  Initialized() {
    database_.connect.url = testing::PrivatePostgres::Shared().url();
    database_.schema = "odd \"name";
    sql_.emplace(database_.connect);
    sql_->Execute("DROP SCHEMA IF EXISTS \"odd \"\"name\" CASCADE");
  }
  bool HasTables() { return adapter::HasSchema(*sql_, database_.schema); }

  Database database_;
  InitOptions options_;
  std::optional<adapter::Connection> sql_;
};

TEST_F(Initialized, TablesAreThereAndASecondTimeDoesNoHarm) {
  EXPECT_EQ(Init(database_, options_), 0);
  EXPECT_TRUE(HasTables());
  EXPECT_EQ(Init(database_, options_), 0);
}

TEST_F(Initialized, PrintedSqlDoesTheSameAndPrintingDoesNothing) {
  options_.print_sql = true;
  ::testing::internal::CaptureStdout();
  EXPECT_EQ(Init(database_, options_), 0);
  std::fflush(stdout);
  std::string printed = ::testing::internal::GetCapturedStdout();
  EXPECT_FALSE(HasTables());
  sql_->Execute(printed);
  EXPECT_TRUE(HasTables());
}

TEST_F(Initialized, NoServerIsASentenceAndExitCodeOne) {
  DatabaseWords words;
  words.url = "postgresql://someone:hidden@127.0.0.1:1/postgres";
  ::testing::internal::CaptureStderr();
  EXPECT_EQ(
      WithDatabase("init", words, [](const Database& database) { return Init(database, {}); }), 1);
  std::string said = ::testing::internal::GetCapturedStderr();
  EXPECT_THAT(said, HasSubstr("init: cannot connect to 127.0.0.1"));
  EXPECT_THAT(said, Not(HasSubstr("hidden")));
}

}  // namespace
}  // namespace syncflow::command
