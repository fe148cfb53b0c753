#include "config/text.h"

#include <gtest/gtest.h>

namespace syncflow::config {
namespace {

TEST(BadByte, IsWhatIsNoUtf8OrAControlCharacter) {
  for (std::string bad :
       {"\xff", "\x80", "\xc3", "\xc0\xaf", "\xe0\x80\xaf", "\xed\xa0\x80", "\xf0\x80\x80\xaf",
        "\xf4\x90\x80\x80", "\x01", "\x04", "\x1b", "\x7f", "\xc2\x9b"}) {
    auto complaint = FindBadByte("a: 1\nb: " + bad + "\n");
    ASSERT_TRUE(complaint) << bad;
    EXPECT_EQ(complaint->place, (Place{2, 4}));
  }
  EXPECT_TRUE(FindBadByte(std::string_view("a\0b", 3)));
}

TEST(BadByte, IsNotInAnyLanguage) {
  EXPECT_FALSE(FindBadByte("täglich: \"日本 😀\"\r\n\t# \u00a0\n"));
}

TEST(OneLine, HasNoBreaksAndTabs) {
  EXPECT_TRUE(IsOneLineOfText(""));
  EXPECT_TRUE(IsOneLineOfText("postgresql://ü@h/db ${x}"));
  EXPECT_FALSE(IsOneLineOfText("a\n"));
  EXPECT_FALSE(IsOneLineOfText("a\tb"));
  EXPECT_FALSE(IsOneLineOfText("a\rb"));
  EXPECT_FALSE(IsOneLineOfText("a\xff"));
}

TEST(Clamped, PlacesLieInTheText) {
  EXPECT_EQ(Clamp("ab\nc\n", {2, 1}), (Place{2, 1}));
  EXPECT_EQ(Clamp("ab\nc\n", {1, 9}), (Place{1, 3}));
  EXPECT_EQ(Clamp("ab\nc\n", {9, 1}), (Place{3, 1}));
  EXPECT_EQ(Clamp("ab", {2, 5}), (Place{1, 3}));
  EXPECT_EQ(Clamp("", {0, 0}), (Place{1, 1}));
}

TEST(Quotes, AreClosedByTheSameQuote) {
  EXPECT_TRUE(IsClosed(R"("a")", 0));
  EXPECT_TRUE(IsClosed(R"("a\"b")", 0));
  EXPECT_FALSE(IsClosed(R"("a\")", 0));
  EXPECT_FALSE(IsClosed(R"("a')", 0));
  EXPECT_TRUE(IsClosed("'it''s'", 0));
  EXPECT_FALSE(IsClosed("'it''s", 0));
  EXPECT_FALSE(IsClosed("'it''", 0));
  EXPECT_TRUE(IsClosed(R"('a\')", 0));
}

}  // namespace
}  // namespace syncflow::config
