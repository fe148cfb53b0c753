#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <string>

#include "sidecar/command/config_commands.h"
#include "tests/support/postgres.h"

namespace syncflow::command {
namespace {

TEST(CheckConfigWithConnect, IsOkWhenTheServerLetsUsIn) {
  std::string path = ::testing::TempDir() + "config_commands_pgtest.yaml";
  std::ofstream(path) << "version: 1\npostgres:\n  url: "
                      << testing::PrivatePostgres::Shared().url() << "\n";
  ::testing::internal::CaptureStdout();
  EXPECT_EQ(CheckConfig(path, true), 0);
  EXPECT_EQ(::testing::internal::GetCapturedStdout(), path + ": ok\n");
  std::filesystem::remove(path);
}

}  // namespace
}  // namespace syncflow::command
