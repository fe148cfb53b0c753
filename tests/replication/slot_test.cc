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

// Why a slot that is there is not the sidecar's; empty when it is.
std::string Objection(const Slot& slot) {
  try {
    CheckSlot(slot, "wal2json", "app");
  } catch (const adapter::Error& error) {
    EXPECT_EQ(error.sqlstate(), "55000");
    EXPECT_THAT(error.Explain(), ::testing::HasSubstr("pg_drop_replication_slot('feed')"));
    return error.what();
  }
  return "";
}

TEST(CheckSlot, SlotOfSomebodyElseIsNamedAndLeftAlone) {
  Slot slot;
  slot.name = "feed";
  slot.plugin = "wal2json";
  slot.database = "app";
  EXPECT_EQ(Objection(slot), "");
  slot.temporary = true;
  EXPECT_THAT(Objection(slot), ::testing::HasSubstr("temporary"));
  slot.database = "other";
  EXPECT_THAT(Objection(slot), ::testing::HasSubstr("the database 'other'"));
  slot.plugin = "test_decoding";
  EXPECT_THAT(Objection(slot), ::testing::HasSubstr("the plugin test_decoding"));
  slot.plugin = "";
  EXPECT_THAT(Objection(slot), ::testing::HasSubstr("physical replication"));
}

TEST(Slot, InvalidatedIsWhatHasLostItsWal) {
  Slot slot;
  slot.restart = Lsn(0x1000);
  for (const char* status : {"reserved", "extended", "unreserved", ""}) {
    slot.wal_status = status;
    EXPECT_FALSE(IsInvalidated(slot)) << status;
  }
  slot.wal_status = "lost";
  EXPECT_TRUE(IsInvalidated(slot));
  slot.wal_status = "reserved";
  slot.restart = Lsn();
  EXPECT_TRUE(IsInvalidated(slot));
}

TEST(Slot, NamesAreThoseThatPostgresTakes) {
  for (const char* name : {"a", "z_0", "9"}) EXPECT_TRUE(IsSlotName(name)) << name;
  EXPECT_TRUE(IsSlotName(std::string(63, 'a')));
  for (const char* name : {"", "A", "a-b", "a b", "{", "/", ":", "`", "\u00fc"})
    EXPECT_FALSE(IsSlotName(name)) << name;
  EXPECT_FALSE(IsSlotName(std::string(64, 'a')));
}

TEST(KnownBugs, P28_OldMinorsAreNamed) {
  EXPECT_THAT(KnownBugs(150019).value_or(""), ::testing::HasSubstr("upgrade to 15.20"));
  EXPECT_EQ(KnownBugs(150020), std::nullopt);
  EXPECT_EQ(KnownBugs(190000), std::nullopt) << "not known";
}

}  // namespace
}  // namespace syncflow::replication
