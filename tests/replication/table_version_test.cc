#include "replication/table_version.h"

#include <gtest/gtest.h>

namespace syncflow::replication {
namespace {

TEST(TableVersion, AnyChangeOfTheTableCounts) {
  EXPECT_TRUE(IsSameTable("16385 740 r p|", "16385 740 r p|"));
  EXPECT_FALSE(IsSameTable("16385 740 r p|", "16385 741 r p|"));
  EXPECT_FALSE(IsSameTable("16385 740 r p|", "|"));
}

TEST(TableVersion, PublicationCountsWhereBothReadOne) {
  EXPECT_TRUE(IsSameTable("16385 740 r p|", "16385 740 r p|16500 750 16501 750"));
  EXPECT_TRUE(IsSameTable("16385 740 r p|16500 750 16501 750", "16385 740 r p|"));
  EXPECT_FALSE(IsSameTable("16385 740 r p|16500 750 16501 750", "16385 740 r p|none"));
  EXPECT_FALSE(IsSameTable("16385 740 r p|16500 750 16501 750", "16385 740 r p|16500 750"));
}

}  // namespace
}  // namespace syncflow::replication
