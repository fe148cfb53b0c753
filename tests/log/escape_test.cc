#include "sidecar/log/escape.h"

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

namespace syncflow::log {
namespace {

std::string Quoted(std::string_view text) {
  std::string out;
  AppendQuoted(out, text);
  return out;
}

std::string Plain(std::string_view text) {
  std::string out;
  AppendPlain(out, text);
  return out;
}

std::string Value(std::string_view text) {
  std::string out;
  AppendValue(out, text);
  return out;
}

// Replaces as the library does: one U+FFFD for each byte that belongs to no character.
std::string Parsed(const std::string& quoted) {
  return nlohmann::json::parse(quoted).get<std::string>();
}

TEST(Quoted, ReadsBackAsItWas) {
  for (std::string text :
       {"", "plain", "with space", "\"\\/", "\n\r\t\b\f", "ä€😀", "\x7f", "\u0085"})
    EXPECT_EQ(Parsed(Quoted(text)), text);
  EXPECT_EQ(Parsed(Quoted(std::string("a\0b", 3))), std::string("a\0b", 3));
}

TEST(Quoted, ControlCharactersAreEscaped) {
  EXPECT_EQ(Quoted("a\nb\x1b\x7f"), R"("a\u000ab\u001b\u007f")");
  EXPECT_EQ(Quoted("\u009b"), R"("\u009b")");
}

TEST(Quoted, BytesThatAreNoUtf8AreReplaced) {
  struct {
    const char* what;
    std::string text;
    std::string expected;
  } cases[] = {{"lone byte",
                "a\xff"
                "b",
                "a�b"},
               {"continuation", "\x80", "�"},
               {"cut", "\xe2\x82", "��"},
               {"cut by a letter", "\xe2\x82x", "��x"},
               {"overlong", "\xc0\xaf", "��"},
               {"overlong of three", "\xe0\x80\xaf", "���"},
               {"surrogate", "\xed\xa0\x80", "���"},
               {"beyond Unicode", "\xf4\x90\x80\x80", "����"}};
  for (const auto& one : cases) EXPECT_EQ(Parsed(Quoted(one.text)), one.expected) << one.what;
}

TEST(Quoted, EveryTwoBytesAreValidJson) {
  for (int first = 0; first < 256; ++first) {
    for (int second = 0; second < 256; ++second) {
      std::string text = {static_cast<char>(first), static_cast<char>(second)};
      EXPECT_TRUE(nlohmann::json::accept(Quoted(text))) << first << " " << second;
    }
  }
}

TEST(Quoted, LongTextsAreCut) {
  std::string out = Parsed(Quoted(std::string(100'000, 'x')));
  EXPECT_EQ(out.size(), 8192 + std::string("…").size());
  EXPECT_TRUE(out.ends_with("…"));
}

TEST(Plain, KeepsSentencesAndDropsWhatSteersATerminal) {
  EXPECT_EQ(Plain("lost \"x\" – in 5 s\nforged\x1b[2J"), "lost \"x\" – in 5 s forged [2J");
  EXPECT_EQ(Plain("\xc2\x9b"
                  "1m"),
            " 1m");
  EXPECT_EQ(Plain("a\xff"), "a�");
}

TEST(Value, OnlyOneWordStandsUnquoted) {
  EXPECT_EQ(Value("0/14319470"), "0/14319470");
  EXPECT_EQ(Value("127.0.0.1:7433"), "127.0.0.1:7433");
  EXPECT_EQ(Value(""), R"("")");
  EXPECT_EQ(Value("two words"), R"("two words")");
  EXPECT_EQ(Value("a=b"), R"("a=b")");
  EXPECT_EQ(Value("say \"x\""), R"("say \"x\"")");
  EXPECT_EQ(Value("ä"), R"("ä")");
  EXPECT_EQ(Value("a\nb"), R"("a\u000ab")");
}

}  // namespace
}  // namespace syncflow::log
