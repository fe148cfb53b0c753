// The judge of NOTIFY, with times that the test makes up.
#include "sidecar/notify/ledger.h"

#include <gtest/gtest.h>

#include <vector>

namespace syncflow::notify {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

Ledger::Time At(double second) {
  return Ledger::Time(milliseconds(static_cast<int64_t>(second * 1000) + 1'000'000));
}

// LISTEN is in force since second 0; announcements may lag 5 s.
class Judge : public ::testing::Test {
 protected:
  Judge() { Listening(); }
  void Listening() {
    ledger_.GapEnds(At(0), milliseconds(0));
    std::vector<Gap> start = ledger_.Settle(At(10.1));
    ASSERT_EQ(start.size(), 1u);
    ASSERT_TRUE(start[0].at_start);
  }
  Ledger ledger_{{.settle = seconds(5), .announcement_waits = seconds(60), .entries_max = 100}};
};

TEST_F(Judge, AnnouncedBeforeDeliveredIsNotRecovered) {
  ledger_.Announced(1, At(20));
  ledger_.Delivered(1, At(20.1));
  ledger_.Settle(At(100));
  EXPECT_EQ(ledger_.recovered(), 0u);
}

TEST_F(Judge, AnnouncedAfterDeliveredIsNotRecovered) {
  ledger_.Delivered(1, At(20));
  ledger_.Settle(At(24.9));
  ledger_.Announced(1, At(24.95));
  ledger_.Settle(At(100));
  EXPECT_EQ(ledger_.recovered(), 0u);
}

TEST_F(Judge, NeverAnnouncedIsRecoveredOnceItSettled) {
  ledger_.Delivered(1, At(20));
  ledger_.Settle(At(24.9));
  EXPECT_EQ(ledger_.recovered(), 0u);
  ledger_.Settle(At(25));
  ledger_.Settle(At(26));
  EXPECT_EQ(ledger_.recovered(), 1u);
}

TEST_F(Judge, RecoveredWithoutAGapIsUnexplained) {
  ledger_.Delivered(1, At(20));
  ledger_.Settle(At(30));
  EXPECT_EQ(ledger_.unexplained(), 1u);
}

TEST_F(Judge, AnnouncementWaitsAMinuteForTheSlot) {
  ledger_.Announced(1, At(20));
  ledger_.Announced(2, At(21));
  ledger_.Settle(At(80.5));
  ledger_.Delivered(1, At(80.6));
  ledger_.Delivered(2, At(80.6));
  ledger_.Settle(At(90));
  EXPECT_EQ(ledger_.recovered(), 1u) << "the first had been forgotten";
}

TEST_F(Judge, AnnouncementIsGoodForOneDelivery) {
  ledger_.Announced(1, At(20));
  ledger_.Delivered(1, At(20));
  ledger_.Delivered(1, At(30));
  ledger_.Settle(At(40));
  EXPECT_EQ(ledger_.recovered(), 1u);
}

TEST_F(Judge, GapIsToldOnceWhenEverythingInItIsJudged) {
  ledger_.GapBegins(At(20));
  ledger_.Delivered(1, At(21));
  ledger_.Delivered(2, At(22));
  ledger_.GapEnds(At(23), milliseconds(3500));
  EXPECT_TRUE(ledger_.Settle(At(33)).empty());
  std::vector<Gap> gaps = ledger_.Settle(At(33.1));
  ASSERT_EQ(gaps.size(), 1u);
  EXPECT_EQ(gaps[0].away, milliseconds(3500));
  EXPECT_EQ(gaps[0].recovered, 2u);
  EXPECT_FALSE(gaps[0].at_start);
  EXPECT_TRUE(ledger_.Settle(At(60)).empty());
  EXPECT_EQ(ledger_.unexplained(), 0u);
}

TEST_F(Judge, OpenGapIsNotTold) {
  ledger_.GapBegins(At(20));
  EXPECT_TRUE(ledger_.Settle(At(1000)).empty());
}

TEST_F(Judge, SlotThatIsLateAfterTheGapIsStillPartOfIt) {
  ledger_.GapBegins(At(20));
  ledger_.GapEnds(At(22), milliseconds(2000));
  ledger_.Delivered(1, At(26.9));
  ledger_.Delivered(2, At(27.1));
  EXPECT_EQ(ledger_.Settle(At(32.2)).at(0).recovered, 1u);
  EXPECT_EQ(ledger_.recovered(), 2u);
  EXPECT_EQ(ledger_.unexplained(), 1u);
}

TEST_F(Judge, LossBeforeItWasNoticedIsPartOfTheGap) {
  ledger_.Delivered(1, At(18));  // its announcement died with the connection, noticed at 20
  ledger_.GapBegins(At(20));
  ledger_.GapEnds(At(21), milliseconds(1000));
  EXPECT_EQ(ledger_.Settle(At(31.1)).at(0).recovered, 1u);
}

TEST_F(Judge, AnnouncedDuringAGapIsNotRecovered) {
  ledger_.GapBegins(At(20));
  ledger_.Delivered(1, At(20.5));
  ledger_.GapEnds(At(21), milliseconds(1000));
  ledger_.Announced(1, At(21.1));
  EXPECT_EQ(ledger_.Settle(At(31.1)).at(0).recovered, 0u);
}

TEST_F(Judge, SecondBeginningOfAnOpenGapIsTheSameGap) {
  ledger_.GapBegins(At(20));
  ledger_.GapBegins(At(25));
  ledger_.GapEnds(At(26), milliseconds(6000));
  EXPECT_EQ(ledger_.Settle(At(100)).size(), 1u);
}

TEST_F(Judge, EndWithoutABeginningIsNoGap) {
  ledger_.GapEnds(At(20), milliseconds(10));
  EXPECT_TRUE(ledger_.Settle(At(100)).empty());
}

TEST_F(Judge, EachOfTwoGapsHasItsOwn) {
  ledger_.GapBegins(At(20));
  ledger_.Delivered(1, At(20.5));
  ledger_.GapEnds(At(21), milliseconds(1000));
  ledger_.GapBegins(At(40));
  ledger_.Delivered(2, At(40.5));
  ledger_.Delivered(3, At(40.6));
  ledger_.GapEnds(At(41), milliseconds(1000));
  std::vector<Gap> gaps = ledger_.Settle(At(100));
  ASSERT_EQ(gaps.size(), 2u);
  EXPECT_EQ(gaps[0].recovered, 1u);
  EXPECT_EQ(gaps[1].recovered, 2u);
}

TEST_F(Judge, DeliveryInsideAGapIsNotBlamedOnTheOneJustBefore) {
  ledger_.GapBegins(At(20));
  ledger_.GapEnds(At(21), milliseconds(1000));
  ledger_.GapBegins(At(23));
  ledger_.Delivered(1, At(23.5));
  ledger_.Delivered(2, At(21.5));
  ledger_.GapEnds(At(24), milliseconds(1000));
  std::vector<Gap> gaps = ledger_.Settle(At(100));
  ASSERT_EQ(gaps.size(), 2u);
  EXPECT_EQ(gaps[0].recovered, 1u);
  EXPECT_EQ(gaps[1].recovered, 1u);
}

TEST_F(Judge, MoreThanItRemembersIsUnjudgedNotRecovered) {
  for (uint64_t key = 0; key < 103; ++key) ledger_.Delivered(key, At(20));
  ledger_.Settle(At(30));
  EXPECT_EQ(ledger_.recovered(), 100u);
  EXPECT_EQ(ledger_.unjudged(), 3u);
}

TEST_F(Judge, TooManyAnnouncementsPushOutTheOldest) {
  for (uint64_t key = 0; key < 101; ++key) ledger_.Announced(key, At(20));
  ledger_.Delivered(0, At(20));
  ledger_.Delivered(100, At(20));
  ledger_.Settle(At(30));
  EXPECT_EQ(ledger_.recovered(), 1u);
}

TEST(JudgeAtStart, BacklogFromBeforeTheWatchBelongsToTheStart) {
  Ledger ledger({.settle = seconds(5)});
  ledger.Delivered(1, At(1));
  ledger.Settle(At(7));
  ledger.GapBegins(At(7));  // the first attempt to connect failed
  ledger.GapEnds(At(8), milliseconds(0));
  ledger.Delivered(2, At(9));
  std::vector<Gap> gaps = ledger.Settle(At(18.1));
  ASSERT_EQ(gaps.size(), 1u);
  EXPECT_TRUE(gaps[0].at_start);
  EXPECT_EQ(gaps[0].recovered, 2u);
}

}  // namespace
}  // namespace syncflow::notify
