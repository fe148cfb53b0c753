#include "adapter/filter.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <stdexcept>

namespace syncflow::adapter {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

std::string RefusalOf(const std::string& filter) {
  try {
    TranslateFilter(filter);
    return "taken";
  } catch (const std::invalid_argument& error) {
    return error.what();
  }
}

std::string Nested(int depth) {
  std::string filter = R"({"a":1})";
  for (int i = 0; i < depth; ++i) filter = R"({"$not":)" + filter + "}";
  return filter;
}

TEST(Filter, EmptyOneIsTrue) {
  FilterSql sql = TranslateFilter(" {} ");
  EXPECT_EQ(sql.where, "true");
  EXPECT_THAT(sql.parameters, IsEmpty());
}

TEST(Filter, ParametersAreNumberedFromTheFirst) {
  FilterSql sql = TranslateFilter(R"({"state":"open","n":7})", 5);
  EXPECT_EQ(sql.where, "(data ->> $5::text = $6::text AND data ->> $7::text = $8::text)");
  EXPECT_THAT(sql.parameters, ElementsAre("state", "open", "n", "7"));
}

TEST(Filter, NumbersKeepTheirDigits) {
  FilterSql sql = TranslateFilter(R"({"n":{"$gt":9007199254740993}})");
  EXPECT_THAT(sql.parameters, ElementsAre("{\"n\"}", "9007199254740993"));
}

TEST(Filter, DotsLeadInwardsUnlessEscaped) {
  EXPECT_EQ(PathArray("a.b"), R"({"a","b"})");
  EXPECT_EQ(PathArray(R"(a\.b.c)"), R"({"a.b","c"})");
  EXPECT_EQ(PathArray(R"(a\\.b)"), R"({"a\\","b"})");
  EXPECT_EQ(PathArray(R"(a\b)"), R"({"a\\b"})");
  EXPECT_EQ(PathArray(""), R"({""})");
  EXPECT_EQ(PathArray("a..b"), R"({"a","","b"})");
}

TEST(Filter, WhatIsNoneIsRefusedWithAReason) {
  const std::pair<const char*, const char*> refused[] = {
      {"", "no JSON"},
      {"{", "no JSON"},
      {"[]", "no object"},
      {"7", "no object"},
      {R"({"a":1,"a":2})", "twice"},
      {R"({"$where":"1=1"})", "none of $and, $or, $not"},
      {R"({"$eq":1})", "none of $and, $or, $not"},
      {R"({"a":{"$like":"x"}})", "'$like' at 'a'"},
      {R"({"a":{"$gt":1,"b":2}})", "'b' at 'a'"},
      {R"({"a":{"$gt":null}})", "needs a string, a number"},
      {R"({"a":{"$lt":[1]}})", "needs a string, a number"},
      {R"({"a":{"$in":1}})", "needs an array"},
      {R"({"a":{"$exists":1}})", "needs true or false"},
      {R"({"a":{"$not":1}})", "needs operators"},
      {R"({"a":{"$not":{"b":1}}})", "needs operators"},
      {R"({"$and":[]})", "at least one"},
      {R"({"$or":{}})", "at least one"},
      {R"({"$or":[1]})", "no object"},
      {R"({"$not":[]})", "no object"},
      {R"({"a\u0000b":1})", "\\u0000"},
      {R"({"a":"\u0000"})", "\\u0000"},
      {R"({"a":{"$eq":"\u0000"}})", "\\u0000"},
      {R"({"a":{"$in":["\u0000"]}})", "\\u0000"},
      {R"({"a":"\ud800"})", "no JSON"},
      {"{\"a\":\"\xff\"}", "no JSON"},
  };
  for (const auto& [filter, reason] : refused)
    EXPECT_THAT(RefusalOf(filter), HasSubstr(reason)) << filter;
}

TEST(Filter, SizeDepthAndNumberHaveLimits) {
  EXPECT_EQ(RefusalOf(Nested(31)), "taken");
  EXPECT_THAT(RefusalOf(Nested(32)), HasSubstr("deeper than 32"));
  EXPECT_THAT(RefusalOf(Nested(5000)), HasSubstr("deeper than 32"));
  std::string deep = R"({"$gt":1})";
  for (int i = 0; i < 40; ++i) deep = R"({"$not":)" + deep + "}";
  EXPECT_THAT(RefusalOf(R"({"a":)" + deep + "}"), HasSubstr("deeper than 32"));
  EXPECT_THAT(RefusalOf(R"({"a":")" + std::string(70'000, 'x') + "\"}"),
              HasSubstr("larger than 64 KiB"));
  std::string many = "{";
  for (int i = 0; i < 1001; ++i)
    many += (i == 0 ? "\"k" : ",\"k") + std::to_string(i) + "\":" + std::to_string(i);
  EXPECT_THAT(RefusalOf(many + "}"), HasSubstr("more than 1000 conditions"));
}

TEST(Filter, NothingOfItEndsUpInTheSql) {
  FilterSql sql = TranslateFilter(
      R"({"a'; DROP":"x'; DROP","b\"":{"$gt":"y'","$in":["z'"]},"$or":[{"c'":{"$exists":true}}]})");
  EXPECT_EQ(sql.where.find("DROP"), std::string::npos);
  EXPECT_EQ(sql.where.find('"' + std::string("\"")), std::string::npos);
  for (char c : {'a', 'x', 'y', 'z'})
    EXPECT_EQ(sql.where.find(std::string(1, c) + "'"), std::string::npos) << c;
}

}  // namespace
}  // namespace syncflow::adapter
