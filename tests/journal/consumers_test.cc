#include "sidecar/journal/consumers.h"

#include "tests/journal/rig.h"

namespace syncflow::journal {
namespace {

using std::chrono::hours;
using std::chrono::microseconds;

class ConsumersTest : public JournalRig {
 protected:
  static Cursor At(uint64_t commit, uint64_t index = 0, uint32_t epoch = 1) {
    return {Epoch{epoch}, {Lsn(commit), index}};
  }
  Consumers Load() const {
    return Consumers(options_.directory, [this] { return steady_; });
  }

  microseconds steady_{0};
};

TEST_F(ConsumersTest, WhatWasSavedIsThereAgain) {
  {
    Consumers consumers = Load();
    EXPECT_TRUE(consumers.all_saved());
    consumers.Move("billing", At(8), 50, "invoicing");
    consumers.Move("billing", At(8), 100, "another");
    EXPECT_FALSE(consumers.all_saved());
    EXPECT_EQ(consumers.Saved("billing"), std::nullopt);
    consumers.Save();
    EXPECT_EQ(consumers.Saved("billing"), At(8));
    consumers.Acknowledge("billing", At(16, 3));
    consumers.Move("audit", At(24), 200);
    consumers.Save();
    EXPECT_TRUE(consumers.all_saved());
    consumers.Acknowledge("billing", At(32));  // and the process is killed
  }
  Consumers consumers = Load();
  auto list = consumers.List();
  ASSERT_EQ(list.size(), 2u);
  EXPECT_EQ(list[0].name, "audit");
  EXPECT_EQ(list[0].token, "");
  EXPECT_EQ(list[1].token, "invoicing") << "the first that took it";
  EXPECT_EQ(list[1].acknowledged, At(16, 3));
  EXPECT_EQ(list[1].seen_at, 100);
  EXPECT_FALSE(list[1].connected);
}

TEST_F(ConsumersTest, AcknowledgementsOnlyRise) {
  Consumers consumers = Load();
  consumers.Move("billing", At(16), 1);
  consumers.Acknowledge("billing", At(8));
  EXPECT_EQ(consumers.Find("billing")->acknowledged, At(16));
  consumers.Acknowledge("billing", At(24, 0, 2));
  EXPECT_EQ(consumers.Find("billing")->acknowledged, At(16)) << "another history";
  consumers.Acknowledge("nobody", At(24));
  EXPECT_EQ(consumers.Find("nobody"), std::nullopt);
  consumers.Move("billing", At(8), 2);
  EXPECT_EQ(consumers.Find("billing")->acknowledged, At(8)) << "a move goes anywhere";
}

TEST_F(ConsumersTest, WhoseItIsCountsWhenItIsDurable) {
  Consumers consumers = Load();
  EXPECT_FALSE(consumers.IsSaved("billing", ""));
  consumers.Move("billing", At(16), 1);
  EXPECT_FALSE(consumers.IsSaved("billing", ""));
  consumers.Save();
  EXPECT_TRUE(consumers.IsSaved("billing", ""));
  EXPECT_FALSE(consumers.IsSaved("billing", "one"));
  consumers.Move("billing", At(16), 1, "one");
  EXPECT_FALSE(consumers.IsSaved("billing", "one"));
  consumers.Save();
  EXPECT_TRUE(consumers.IsSaved("billing", "one"));
  EXPECT_TRUE(Load().IsSaved("billing", "one"));
  EXPECT_EQ(consumers.GiveIdle("billing", "two"), Consumers::Outcome::kDone);
  EXPECT_EQ(consumers.Find("billing")->token, "two");
  EXPECT_FALSE(consumers.IsSaved("billing", "one")) << "though the file says so still";
  consumers.Seen("billing", true, 2);
  EXPECT_EQ(consumers.GiveIdle("billing", "three"), Consumers::Outcome::kConnected);
}

TEST_F(ConsumersTest, RemovedIsForgotten) {
  Consumers consumers = Load();
  consumers.Move("billing", At(16), 1);
  consumers.Save();
  EXPECT_EQ(consumers.RemoveIdle("billing"), Consumers::Outcome::kDone);
  EXPECT_EQ(consumers.RemoveIdle("billing"), Consumers::Outcome::kUnknown);
  consumers.Save();
  EXPECT_TRUE(Load().List().empty());
}

TEST_F(ConsumersTest, OperatorTouchesNoneThatIsConnected) {
  Consumers consumers = Load();
  consumers.Move("billing", At(16), 1);
  consumers.Seen("billing", true, 2);
  EXPECT_EQ(consumers.RemoveIdle("billing"), Consumers::Outcome::kConnected);
  EXPECT_EQ(consumers.MoveIdle("billing", At(8)), Consumers::Outcome::kConnected);
  consumers.Seen("billing", false, 3);
  EXPECT_EQ(consumers.MoveIdle("billing", At(8)), Consumers::Outcome::kDone);
  EXPECT_EQ(consumers.Find("billing")->acknowledged, At(8));
  EXPECT_EQ(consumers.MoveIdle("nobody", At(8)), Consumers::Outcome::kUnknown);
}

TEST_F(ConsumersTest, ThereIsRoomForTenThousand) {
  Consumers consumers = Load();
  for (size_t i = 0; i < Consumers::kMax; ++i)
    ASSERT_TRUE(consumers.Move("c" + std::to_string(i), At(8), 1));
  EXPECT_FALSE(consumers.Move("one-more", At(8), 1));
  EXPECT_TRUE(consumers.Move("c7", At(16), 1)) << "it has a place";
  consumers.Save();
  EXPECT_EQ(Load().List().size(), Consumers::kMax);
}

TEST_F(ConsumersTest, OneThatOnlyListensIsWrittenDownEveryHour) {
  constexpr int64_t kHour = 3600ll * 1'000'000;
  Consumers consumers = Load();
  consumers.Move("billing", At(8), kHour);
  consumers.Save();
  consumers.Seen("billing", true, 2 * kHour);
  EXPECT_TRUE(consumers.all_saved());
  EXPECT_TRUE(consumers.Find("billing")->connected);
  consumers.Seen("billing", true, 2 * kHour + 1);
  EXPECT_FALSE(consumers.all_saved());
}

TEST_F(ConsumersTest, FileThatCannotBeUnderstoodIsToldNotIgnored) {
  for (const char* bad :
       {"", "{", "[]", R"({"format":2,"consumers":[]})",
        R"({"format":1,"consumers":[{"name":"a"}]})",
        R"({"format":1,"consumers":[{"name":"a","acknowledged":"x","seen_at":1}]})"}) {
    Put(options_.directory / "consumers.json", bad);
    EXPECT_THROW(Load(), Error) << bad;
    EXPECT_THROW(Open(), Error) << bad;
  }
}

TEST_F(ConsumersTest, SlowestOfThoseThatWereSeen) {
  Consumers consumers = Load();
  auto slowest = [&](microseconds age) { return consumers.Slowest(Epoch{1}, age, 400); };
  EXPECT_EQ(slowest(microseconds(1000)), std::nullopt);
  consumers.Move("old", At(8), 100);
  steady_ = microseconds(200);
  consumers.Move("new", At(24), 300);
  consumers.Move("elsewhere", At(4, 0, 2), 300);
  steady_ = microseconds(300);
  EXPECT_EQ(slowest(microseconds(300)), (Position{Lsn(8), 0}));
  EXPECT_EQ(slowest(microseconds(299)), (Position{Lsn(24), 0}));
  EXPECT_EQ(slowest(microseconds(99)), std::nullopt);
}

TEST_F(ConsumersTest, SlowestStandsWhereACrashWouldFindIt) {
  Consumers consumers = Load();
  auto slowest = [&] { return consumers.Slowest(Epoch{1}, microseconds(1000), 200); };
  consumers.Move("a", At(8), 100);
  consumers.Save();
  consumers.Acknowledge("a", At(24));
  EXPECT_EQ(slowest(), (Position{Lsn(8), 0})) << "what follows is needed once more after a crash";
  consumers.Save();
  EXPECT_EQ(slowest(), (Position{Lsn(24), 0}));
}

TEST_F(ConsumersTest, ClockThatJumpsMakesNobodyOld) {
  Consumers consumers = Load();
  consumers.Move("billing", At(8), 100);
  int64_t in_a_year = std::chrono::microseconds(hours(24 * 365)).count();
  EXPECT_FALSE(consumers.Find("billing")->WasAway(hours(1), in_a_year));
  steady_ = hours(2);
  EXPECT_TRUE(consumers.Find("billing")->WasAway(hours(1), in_a_year));
  EXPECT_FALSE(consumers.Find("billing")->WasAway(hours(1), 200)) << "nor one that went back";
}

TEST_F(ConsumersTest, TimeCountsOnlyWhileASidecarRuns) {
  {
    Consumers consumers = Load();
    consumers.Move("billing", At(8), 100);
    consumers.Save();
    EXPECT_TRUE(consumers.all_saved());
    steady_ = hours(5);
    EXPECT_FALSE(consumers.all_saved()) << "every hour";
    consumers.Save();
    EXPECT_TRUE(consumers.all_saved());
  }
  steady_ = hours(1000);
  Consumers consumers = Load();
  EXPECT_EQ(consumers.Find("billing")->missed, hours(5));
  steady_ += hours(1);
  EXPECT_EQ(consumers.Find("billing")->missed, hours(6));
  consumers.Seen("billing", true, 200);
  EXPECT_EQ(consumers.Find("billing")->missed, hours(0));
}

TEST_F(ConsumersTest, FileOfAnEarlierVersionIsUnderstood) {
  Put(options_.directory / "consumers.json",
      R"({"format":1,"consumers":[{"name":"a","acknowledged":"00000001.0000000000000008.0",)"
      R"("seen_at":1}]})");
  EXPECT_FALSE(Load().Find("a")->WasAway(hours(1), 1'000'000'000'000'000));
}

// ---- what they hold back ----

class PinTest : public ConsumersTest {
 protected:
  // Twelve lines of 500 bytes, two to a segment.
  void WriteSegments() {
    options_.segment_bytes = 1000;
    Open();
    for (uint64_t commit = 0x2000; commit < 0x2060; commit += 8) Append(commit, 1, 500);
  }
  void StandAt(uint64_t commit, hours ago = hours(0)) {
    int64_t now = std::chrono::duration_cast<std::chrono::microseconds>(
                      std::chrono::system_clock::now().time_since_epoch() - ago)
                      .count();
    journal_->consumers().Move("billing", {epoch_, {Lsn(commit), 0}}, now);
    journal_->consumers().Save();
  }
  // As if a sidecar had run for so long on the folder, without the consumer.
  void HaveRun(hours time) {
    Consumers consumers = Load();
    steady_ += time;
    consumers.Save();
  }
  // Whether everything after `commit` is still held when the limits allow one segment.
  bool HoldsAfter(uint64_t commit) {
    options_.retain_bytes = 1;
    Reopen();
    return std::holds_alternative<uint64_t>(journal_->Find({Lsn(commit), 0}));
  }
};

TEST_F(PinTest, WhatANamedConsumerHasNotAcknowledgedStays) {
  WriteSegments();
  StandAt(0x2020);
  EXPECT_TRUE(HoldsAfter(0x2020));
  EXPECT_FALSE(HoldsAfter(0x2000)) << "what all have is removed";
  journal_->consumers().Acknowledge("billing", {epoch_, {Lsn(0x2058), 0}});
  journal_->consumers().Save();
  EXPECT_FALSE(HoldsAfter(0x2020));
  EXPECT_EQ(journal_->probe().segments, 1u);
}

TEST_F(PinTest, NotBeyondTheSizeForIt) {
  WriteSegments();
  StandAt(0x2020);
  options_.pin_bytes = 2500;
  EXPECT_FALSE(HoldsAfter(0x2020));
  EXPECT_LE(journal_->probe().size_bytes, 2500u);
}

TEST_F(PinTest, NotForOneThatWasNotSeenForLong) {
  WriteSegments();
  StandAt(0x2020, hours(49));
  options_.pin_age = hours(48);
  EXPECT_TRUE(HoldsAfter(0x2020)) << "who knows whether the clock is right";
  HaveRun(hours(49));
  options_.pin_age = hours(50);
  EXPECT_TRUE(HoldsAfter(0x2020));
  options_.pin_age = hours(48);
  EXPECT_FALSE(HoldsAfter(0x2020));
  EXPECT_NE(journal_->consumers().Find("billing"), std::nullopt) << "it will be told";
}

}  // namespace
}  // namespace syncflow::journal
