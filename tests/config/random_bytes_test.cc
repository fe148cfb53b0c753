// Whatever the bytes: settings or violations, each at a place inside the file.
#include <gtest/gtest.h>

#include <algorithm>
#include <cstdio>
#include <fstream>
#include <random>
#include <sstream>

#include "config/print.h"
#include "tests/config/rig.h"

namespace syncflow::config {
namespace {

const Environment kUrl = {{"DATABASE_URL", "postgresql://localhost/app"}};

std::string Example() {
  std::ifstream in(std::string(SYNCFLOW_SOURCE_DIR) + "/config/sidecar.example.yaml");
  std::stringstream text;
  text << in.rdbuf();
  return text.str();
}

// Its comments are half of it and slow the rounds down.
std::string WithoutComments(const std::string& text) {
  std::istringstream in(text);
  std::string out;
  for (std::string line; std::getline(in, line);) {
    size_t first = line.find_first_not_of(' ');
    if (first != line.npos && line[first] != '#') out += line + "\n";
  }
  return out;
}

bool IsInside(const std::string& text, int line, int column) {
  size_t start = 0;
  for (int i = 1; i < line; ++i) {
    start = text.find('\n', start) + 1;
    if (start == 0) return false;
  }
  size_t length = std::min(text.find('\n', start), text.size()) - start;
  return line >= 1 && column >= 1 && static_cast<size_t>(column) <= length + 1;
}

// Settings that load again, or violations inside the file.
void ExpectSane(const std::string& text) {
  Loaded loaded = LoadText(text, "f", kUrl);
  for (const std::string& violation : loaded.violations) {
    if (violation.starts_with("f: and ")) continue;
    int line = 0;
    int column = 0;
    ASSERT_EQ(std::sscanf(violation.c_str(), "f:%d:%d: ", &line, &column), 2) << violation;
    EXPECT_TRUE(IsInside(text, line, column)) << violation;
    EXPECT_EQ(violation.find('\n'), violation.npos) << violation;
  }
  if (!loaded.violations.empty()) return;
  Environment url = {{"SYNCFLOW_POSTGRES_URL", loaded.settings.postgres.url.Reveal()}};
  Loaded again = LoadText(Print(loaded), "f", url);
  EXPECT_EQ(Joined(again.violations), "");
  EXPECT_EQ(TextsOf(again.settings), TextsOf(loaded.settings));
}

TEST(Bytes, EveryBeginningOfTheExampleIsSane) {
  std::string text = Example();
  for (size_t length = 0; length <= text.size(); ++length) {
    ExpectSane(text.substr(0, length));
    ASSERT_FALSE(testing::Test::HasFailure()) << "the first " << length << " bytes";
  }
}

TEST(Bytes, FlippedOnesAreSane) {
  const std::string text = WithoutComments(Example());
  std::mt19937 random(1);
  for (int round = 0; round < 3000; ++round) {
    std::string spoilt = text;
    for (unsigned flips = 1 + random() % 4; flips > 0; --flips)
      spoilt[random() % spoilt.size()] ^= static_cast<char>(1 << random() % 8);
    ExpectSane(spoilt);
    ASSERT_FALSE(testing::Test::HasFailure()) << spoilt;
  }
}

// Characters that mean something to YAML, where they hurt.
TEST(Bytes, IndicatorsAnywhereAreSane) {
  const std::string text = WithoutComments(Example());
  const std::vector<std::string> pieces = {
      ":",  ": ",    "\n",           "\n  ",     "- ",          "? ",   "{",  "}",  "[", "]",
      ",",  "&a ",   "*a ",          "!x ",      "|\n",         ">-\n", "'",  "\"", "#", " #",
      "%",  "---\n", "...\n",        "@",        "`",           "\t",   "\r", "\\", "~", "<<: ",
      "${", "$$",    "\xEF\xBB\xBF", "\xC2\x85", "\xE2\x80\xA8"};
  std::mt19937 random(2);
  for (int round = 0; round < 3000; ++round) {
    std::string spoilt = text;
    for (unsigned cuts = 1 + random() % 4; cuts > 0; --cuts) {
      size_t at = random() % spoilt.size();
      spoilt.replace(at, random() % 4, pieces[random() % pieces.size()]);
    }
    ExpectSane(spoilt);
    ASSERT_FALSE(testing::Test::HasFailure()) << spoilt;
  }
}

TEST(Bytes, NestedAndRepeatedOnesAreSane) {
  for (const char* piece :
       {"[", "{", "- ",    "? ",   "a: {",         "[a: ",    "&a ",    "!",   "a:\n", "\"",
        "'", "|", "---\n", "*a\n", "a: &a [*a]\n", "- - -\n", "k: v\n", "{a,", "\n",   "$"}) {
    for (int times : {1, 10, 600, 5000}) {
      std::string text;
      for (int i = 0; i < times; ++i) text += piece;
      ExpectSane(text);
      ExpectSane(kGood + text);
    }
  }
}

TEST(Bytes, LaughsAreNotMultiplied) {
  std::string text = kGood + "a: &a [x, x, x, x, x, x, x, x, x, x]\n";
  for (char name = 'b'; name < 'z'; ++name) {
    std::string before(1, static_cast<char>(name - 1));
    text += std::string(1, name) + ": &" + name + " [";
    for (int i = 0; i < 10; ++i) text += "*" + before + ",";
    text += "]\n";
  }
  ExpectSane(text);
  EXPECT_GT(ViolationsOf(text).size(), 25u);
}

}  // namespace
}  // namespace syncflow::config
