#include "sidecar/journal/cursor.h"

#include <gtest/gtest.h>

namespace syncflow::journal {
namespace {

using replication::Lsn;

constexpr Cursor kCursor{Epoch{0x9c41e07b}, {Lsn(0x14319470), 3}};

TEST(Cursor, LooksLikeTheProtocolPage) {
  EXPECT_EQ(kCursor.ToString(), "9c41e07b.0000000014319470.3");
}

TEST(Cursor, ParsesWhatItPrints) {
  for (uint64_t lsn : {0ull, 1ull, 0x8000000000000000ull, ~0ull}) {
    for (uint64_t index : {0ull, 9ull, 10ull, ~0ull}) {
      Cursor cursor{Epoch{0xffffffff}, {Lsn(lsn), index}};
      EXPECT_EQ(Cursor::Parse(cursor.ToString()), cursor);
    }
  }
}

TEST(Cursor, EverythingElseIsRefused) {
  for (const char* text :
       {"", "latest", "9c41e07b", "9c41e07b.0000000014319470", "9c41e07b.0000000014319470.",
        "9c41e07b.0000000014319470.03", "9C41E07B.0000000014319470.3",
        "9c41e07b.000000001431947A.3", "9c41e07b.0000000014319470.-3",
        "9c41e07b.0000000014319470.+3", "9c41e07b.0000000014319470.3 ",
        " 9c41e07b.0000000014319470.3", "9c41e07b.14319470.3", "9c41e07b.00000000143194700.3",
        "9c41e07b.0000000014319470.3.0", "9c41e07b.0000000014319470.18446744073709551616",
        "9c41e07g.0000000014319470.3", "9c41e07b-0000000014319470.3"}) {
    EXPECT_EQ(Cursor::Parse(text), std::nullopt) << text;
  }
}

TEST(Cursor, EveryCutIsRefused) {
  std::string whole = Cursor{Epoch{1}, {Lsn(2), 7}}.ToString();
  for (size_t length = 0; length < whole.size(); ++length)
    EXPECT_EQ(Cursor::Parse(whole.substr(0, length)), std::nullopt);
}

TEST(Position, OrdersByCommitThenIndex) {
  EXPECT_LT((Position{Lsn(9), 500}), (Position{Lsn(16), 0}));
  EXPECT_LT((Position{Lsn(16), 9}), (Position{Lsn(16), 10}));
}

TEST(Position, BeforeAnLsnIsBeforeItsFirstChangeAndAfterEarlierCommits) {
  EXPECT_LT(Position::Before(Lsn(64)), (Position{Lsn(64), 0}));
  EXPECT_GT(Position::Before(Lsn(64)), (Position{Lsn(56), ~0ull}));
  EXPECT_EQ(Position::Before(Lsn(0)), Position{});
}

TEST(CursorOfLine, IsTakenFromTheFixedBeginning) {
  std::string line =
      "{\"type\":\"change\",\"cursor\":\"" + kCursor.ToString() + "\",\"transaction\":{}}\n";
  EXPECT_EQ(CursorOfLine(line), kCursor);
  EXPECT_EQ(CursorOfLine("{\"type\":\"live\",\"cursor\":\"" + kCursor.ToString() + "\"}\n"),
            std::nullopt);
  EXPECT_EQ(CursorOfLine(line.substr(5)), std::nullopt);
  EXPECT_EQ(CursorOfLine(""), std::nullopt);
}

}  // namespace
}  // namespace syncflow::journal
