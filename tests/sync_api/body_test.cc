// Bodies of SyncFlow's clients: pure.
#include "sidecar/sync_api/body.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <stdexcept>

#include "sidecar/sync_api/answers.h"

namespace syncflow::sync_api {
namespace {

using std::chrono::hours;
using ::testing::HasSubstr;
using ::testing::Not;

std::string WhyRefused(const std::string& body) {
  try {
    ReadChanges(body);
  } catch (const std::invalid_argument& error) {
    return error.what();
  }
  return "";
}

TEST(ChangesBody, DefaultsAreThoseOfTheReference) {
  for (const char* body : {"", " ", "{}", "{\"since\":null,\"limit\":null,\"vectorClock\":null}"}) {
    auto request = ReadChanges(body);
    EXPECT_EQ(request.since, 0) << body;
    EXPECT_EQ(request.limit, 100) << body;
    EXPECT_EQ(request.client_id, "") << body;
    EXPECT_EQ(request.vector_clock, std::nullopt) << body;
  }
}

TEST(ChangesBody, EverythingIsRead) {
  auto request = ReadChanges(
      R"({"since":1700000000123,"limit":7,"clientId":"a\"b","vectorClock":{"a":3},"more":[1]})");
  EXPECT_EQ(request.since, 1700000000123);
  EXPECT_EQ(request.limit, 7);
  EXPECT_EQ(request.client_id, "a\"b");
  ASSERT_TRUE(request.vector_clock);
  EXPECT_EQ(request.vector_clock->At("a"), 3);
}

TEST(ChangesBody, NumbersAreTakenAsJavaScriptWritesThem) {
  EXPECT_EQ(ReadChanges(R"({"since":1.7e12})").since, 1'700'000'000'000);
  EXPECT_EQ(ReadChanges(R"({"since":-1.5})").since, -2);
  EXPECT_EQ(ReadChanges(R"({"limit":99999})").limit, 10'000);
  EXPECT_EQ(ReadChanges(R"({"since":1,"since":2})").since, 2) << "the last one, as JSON.parse";
}

TEST(ChangesBody, WhatIsWrongIsNamed) {
  EXPECT_EQ(WhyRefused("{"), "the body is no JSON");
  EXPECT_EQ(WhyRefused("[]"), "the body is no JSON object");
  EXPECT_EQ(WhyRefused("{} x"), "the body is no JSON");
  EXPECT_EQ(WhyRefused("{\"clientId\":\"\xff\"}"), "the body is no JSON");
  EXPECT_EQ(WhyRefused(R"({"since":"1"})"), "'since' is no number");
  EXPECT_EQ(WhyRefused(R"({"since":1e300})"), "'since' is too large");
  EXPECT_EQ(WhyRefused(R"({"since":1)" + std::string(100, '0') + "}"), "'since' is no number");
  EXPECT_EQ(WhyRefused(R"({"limit":0})"), "'limit' must be at least 1");
  EXPECT_EQ(WhyRefused(R"({"limit":-5})"), "'limit' must be at least 1");
  EXPECT_EQ(WhyRefused(R"({"clientId":7})"), "'clientId' is no string");
  EXPECT_THAT(WhyRefused(R"({"vectorClock":[]})"), HasSubstr("vectorClock"));
  EXPECT_THAT(WhyRefused(R"({"vectorClock":{"a":1.5}})"), HasSubstr("vectorClock"));
}

TEST(ChangesBody, DepthIsLimited) {
  auto nested = [](size_t depth) {
    return "{\"x\":" + std::string(depth - 1, '[') + std::string(depth - 1, ']') + "}";
  };
  EXPECT_EQ(WhyRefused(nested(200)), "");
  EXPECT_EQ(WhyRefused(nested(201)), "the body nests deeper than 200");
  EXPECT_EQ(WhyRefused(nested(1'000'000)), "the body nests deeper than 200");
  EXPECT_EQ(WhyRefused(R"({"x":")" + std::string(300, '[') + "\\\"[\"}"), "") << "in a string";
}

TEST(OperationsBody, ArrayIsHandedOnAsItStands) {
  EXPECT_EQ(ReadOperations(R"({"clientId":"a","operations":[ {"n": 1.50} ]})"),
            R"([ {"n": 1.50} ])");
  EXPECT_EQ(ReadOperations(R"({"clientId":"a","operations":[]})"), "[]");
}

TEST(OperationsBody, BothAreNeeded) {
  for (const char* body :
       {"", "{}", R"({"operations":[]})", R"({"operations":[],"clientId":""})",
        R"({"operations":[],"clientId":null})", R"({"clientId":"a"})",
        R"({"clientId":"a","operations":{}})", R"({"clientId":"a","operations":null})", "[1]", "{"})
    EXPECT_THROW(ReadOperations(body), std::invalid_argument) << body;
}

TEST(OtherBodies, HaveDefaults) {
  EXPECT_EQ(ReadFilter(""), "{}");
  EXPECT_EQ(ReadFilter(R"({"filter":{"n":1.0}})"), R"({"n":1.0})");
  EXPECT_EQ(ReadCompact("").older_than, hours(30 * 24));
  EXPECT_FALSE(ReadCompact("").dry_run);
  EXPECT_EQ(ReadCompact(R"({"olderThanDays":90})").older_than, hours(90 * 24));
  EXPECT_EQ(ReadCompact(R"({"olderThanDays":0.5})").older_than, hours(12));
  EXPECT_EQ(ReadCompact("{}").share_max, 0.5);
  EXPECT_EQ(ReadCompact(R"({"shareMax":1})").share_max, 1);
  EXPECT_TRUE(ReadCompact(R"({"dryRun":true})").dry_run);
  for (const char* body :
       {R"({"olderThanDays":-1})", R"({"olderThanDays":1e9})", R"({"olderThanDays":"90"})",
        R"({"olderThanDays":[]})", R"({"shareMax":0})", R"({"shareMax":1.1})",
        R"({"shareMax":"1"})", R"({"dryRun":1})", R"({"dryRun":"true"})", "[]", "x"})
    EXPECT_THROW(ReadCompact(body), std::invalid_argument) << body;
}

TEST(AnswerToAnError, SaysWhetherToTryAgainAndNothingOfTheServer) {
  auto answer = [](const char* state) {
    return AnswerTo(adapter::Error("SELECT secret FROM db.internal as admin", state));
  };
  EXPECT_EQ(answer("").status, 503) << "connection lost";
  EXPECT_EQ(answer("57P01").status, 503);
  EXPECT_EQ(answer("53300").status, 503);
  EXPECT_EQ(answer("42P01").status, 503) << "the tables are still to be created";
  EXPECT_EQ(answer("22P02").status, 400);
  EXPECT_EQ(answer("42501").status, 500);
  EXPECT_THAT(answer("42501").body, HasSubstr("SQLSTATE 42501"));
  for (const char* state : {"", "22P02", "42501"}) {
    EXPECT_THAT(answer(state).body, Not(HasSubstr("secret")));
    EXPECT_THAT(answer(state).body, Not(HasSubstr("internal")));
  }
}

}  // namespace
}  // namespace syncflow::sync_api
