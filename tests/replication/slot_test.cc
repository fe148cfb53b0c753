#include "replication/slot.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "replication/preflight.h"
#include "replication/server_version.h"

namespace syncflow::replication {
namespace {

constexpr std::string_view kHistory =
    "1\t0/3000060\tno recovery target specified\n\n# a comment\n2\t1/A0000028\tbefore 2026\n";

// 14 knows no options in parentheses, and refuses them as a syntax error.
TEST(ServerVersion, SlotsAreCreatedInTheServersOwnWords) {
  EXPECT_STREQ(ExportSnapshot(140'023), " EXPORT_SNAPSHOT");
  EXPECT_STREQ(NoSnapshot(140'023), " NOEXPORT_SNAPSHOT");
  EXPECT_STREQ(ExportSnapshot(150'000), " (SNAPSHOT 'export')");
  EXPECT_STREQ(ExportSnapshot(169'999), " (SNAPSHOT 'export')");
  EXPECT_STREQ(ExportSnapshot(170'000), " (SNAPSHOT 'export', FAILOVER true)");
  EXPECT_STREQ(NoSnapshot(180'000), " (SNAPSHOT 'nothing')");
}

TEST(SwitchPoint, EachAncestorHasItsOwn) {
  EXPECT_EQ(SwitchPointIn(kHistory, 1), Lsn::Parse("0/3000060"));
  EXPECT_EQ(SwitchPointIn(kHistory, 2), Lsn::Parse("1/A0000028"));
}

TEST(SwitchPoint, StrangersHaveNone) {
  EXPECT_EQ(SwitchPointIn(kHistory, 3), std::nullopt);
  EXPECT_EQ(SwitchPointIn("", 1), std::nullopt);
  EXPECT_EQ(SwitchPointIn("1", 1), std::nullopt);
  EXPECT_EQ(SwitchPointIn("1\tnowhere\tx", 1), std::nullopt);
}

TEST(KnownBugs, P28_OldMinorsAreNamed) {
  EXPECT_THAT(KnownBugs(150019).value_or(""), ::testing::HasSubstr("upgrade to 15.20"));
  EXPECT_EQ(KnownBugs(150020), std::nullopt);
  EXPECT_EQ(KnownBugs(190000), std::nullopt) << "not known";
}

}  // namespace
}  // namespace syncflow::replication
