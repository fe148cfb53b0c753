#include "adapter/error.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace syncflow::adapter {
namespace {

using ::testing::HasSubstr;

TEST(Error, NamesTheRemedyForWhatPostgreSqlSays) {
  Error refused("library \"wal2json\" may not be used as an output plugin", "42501");
  EXPECT_THAT(refused.hint(), HasSubstr("ALTER SYSTEM SET output_plugin_libraries = pgoutput, "
                                        "test_decoding, wal2json; SELECT pg_reload_conf();"));
  Error missing("could not access file \"wal2json\": No such file or directory", "58P01");
  EXPECT_THAT(missing.hint(), HasSubstr("postgresql-NN-wal2json"));
  Error slot(
      "cannot read from logical replication slot \"s\" (This slot has been invalidated "
      "because it exceeded the maximum reserved size.)",
      "55000");
  EXPECT_THAT(slot.hint(), HasSubstr("max_slot_wal_keep_size"));
  Error level("logical decoding requires wal_level >= logical", "55000");
  EXPECT_THAT(level.hint(), HasSubstr("ALTER SYSTEM SET wal_level = logical"));
}

TEST(Error, KeepsTheHintItIsGiven) {
  EXPECT_EQ(Error("x", "28P01", "do this").hint(), "do this");
}

TEST(Error, ExplainsMessageAndHintInOneLine) {
  EXPECT_EQ(Error("it failed", "XX000", "mend it").Explain(), "it failed; mend it");
  EXPECT_EQ(Error("it failed", "XX000").Explain(), "it failed");
}

TEST(Error, TellsALostConnectionFromARefusal) {
  for (const char* sqlstate : {"", "08006", "08P01", "57P01", "57P02", "57P03", "57P05"})
    EXPECT_TRUE(Error("x", sqlstate).NeedsReconnect()) << sqlstate;
  for (const char* sqlstate : {"57014", "42P01", "28P01", "55006", "23505"})
    EXPECT_FALSE(Error("x", sqlstate).NeedsReconnect()) << sqlstate;
}

TEST(Error, TellsWhatNeedsAPersonFromWhatPasses) {
  for (const char* sqlstate : {"28P01", "28000", "3D000", "42501", "58P01", "55000", "42P01"})
    EXPECT_TRUE(Error("x", sqlstate).NeedsOperator()) << sqlstate;
  for (const char* sqlstate : {"", "57P01", "57P03", "53300", "55006", "40001"})
    EXPECT_FALSE(Error("x", sqlstate).NeedsOperator()) << sqlstate;
}

}  // namespace
}  // namespace syncflow::adapter
