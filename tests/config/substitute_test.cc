#include "config/substitute.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace syncflow::config {
namespace {

using testing::HasSubstr;
using testing::Not;

const Environment kVariables = {
    {"HOST", "db"}, {"EMPTY", ""}, {"DOLLAR", "${HOST} $$"}, {"YAML", "x: 1\n- #"}, {"_A1", "a"}};

std::string TextOf(const std::string& text) {
  Substituted out = Substitute(text, kVariables);
  EXPECT_EQ(out.violation, std::nullopt) << text;
  return out.text;
}

std::string ViolationOf(const std::string& text) {
  return Substitute(text, kVariables).violation.value_or("none");
}

TEST(Substitution, PutsVariablesIn) {
  EXPECT_EQ(TextOf("${HOST}"), "db");
  EXPECT_EQ(TextOf("postgresql://${HOST}:5432/${_A1}?x"), "postgresql://db:5432/a?x");
  EXPECT_EQ(TextOf("[${EMPTY}]"), "[]");
}

TEST(Substitution, DefaultStandsForUnsetAndEmpty) {
  EXPECT_EQ(TextOf("${UNSET:-x y}"), "x y");
  EXPECT_EQ(TextOf("${EMPTY:-x}"), "x");
  EXPECT_EQ(TextOf("${HOST:-x}"), "db");
  EXPECT_EQ(TextOf("[${UNSET:-}]"), "[]");
  EXPECT_EQ(TextOf("${UNSET:-a:-b:?c}"), "a:-b:?c");
}

TEST(Substitution, MessageIsForUnsetAndEmpty) {
  EXPECT_EQ(TextOf("${HOST:?say where}"), "db");
  EXPECT_THAT(ViolationOf("${UNSET:?say where}"), HasSubstr("UNSET is not set: say where"));
  EXPECT_THAT(ViolationOf("${EMPTY:?say where}"), HasSubstr("say where"));
}

TEST(Substitution, UnsetIsAViolation) {
  EXPECT_THAT(ViolationOf("a${UNSET}b"), HasSubstr("UNSET is not set"));
}

TEST(Substitution, DollarElsewhereIsADollar) {
  EXPECT_EQ(TextOf("$"), "$");
  EXPECT_EQ(TextOf("pa$word"), "pa$word");
  EXPECT_EQ(TextOf("a$"), "a$");
  EXPECT_EQ(TextOf("$HOST $(x) $1"), "$HOST $(x) $1");
  EXPECT_EQ(TextOf("}{"), "}{");
}

TEST(Substitution, TwoDollarsAreOne) {
  EXPECT_EQ(TextOf("$$"), "$");
  EXPECT_EQ(TextOf("$${HOST}"), "${HOST}");
  EXPECT_EQ(TextOf("$$$$"), "$$");
  EXPECT_EQ(TextOf("$$${HOST}"), "$db");
}

TEST(Substitution, ValuesAreNotLookedAtAgain) {
  EXPECT_EQ(TextOf("${DOLLAR}"), "${HOST} $$");
  EXPECT_EQ(TextOf("${YAML}"), "x: 1\n- #");
}

TEST(Substitution, MalformedIsAViolationThatQuotesNothing) {
  for (const char* text :
       {"${", "${HOST", "${}", "${sec-ret}", "${1secret}", "${secret secret}", "${HOST:}",
        "${HOST:=secret}", "${HOST:+secret}", "${ HOST}", "${é}", "${${HOST}}", "${:-secret}"}) {
    EXPECT_THAT(ViolationOf(text), HasSubstr("$$")) << text;
    EXPECT_THAT(ViolationOf(text), Not(HasSubstr("secret"))) << text;
  }
}

TEST(Substitution, TellsWhichVariablesWereAskedFor) {
  EXPECT_THAT(Substitute("${HOST} ${UNSET:-x}", kVariables).names,
              testing::ElementsAre("HOST", "UNSET"));
}

}  // namespace
}  // namespace syncflow::config
