// Whatever the bytes: settings or violations, each at a place inside the file.
#include <gtest/gtest.h>

#include <fstream>
#include <random>
#include <sstream>

#include "tests/config/rig.h"
#include "tests/config/sane.h"

namespace syncflow::config {
namespace {

std::string Example() {
  std::ifstream in(std::string(SYNCFLOW_SOURCE_DIR) + "/config/sidecar.example.yaml");
  std::stringstream text;
  text << in.rdbuf();
  return text.str();
}

// Its comments are half of it and slow the rounds down; a job makes it deeper.
std::string WithoutComments(const std::string& text) {
  std::istringstream in(text);
  std::string out;
  for (std::string line; std::getline(in, line);) {
    size_t first = line.find_first_not_of(' ');
    if (first != line.npos && line[first] != '#') out += line + "\n";
  }
  const std::string none = "  jobs: []\n";
  return out.replace(out.find(none), none.size(),
                     "  jobs:\n    - name: weekly\n      schedule: \"0 2 * * SUN\"\n"
                     "      older_than: 90d\n      collections: {drafts: 7d, audit: never}\n"
                     "    - {name: often, every: 6h, older_than: 30d, share_max: 0.25}\n");
}

void ExpectSane(const std::string& text) {
  EXPECT_EQ(WhatIsInsane(text), "");
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
