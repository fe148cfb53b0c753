// Paths against routes: pure.
#include "sidecar/http/route.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace syncflow::http {
namespace {

using ::testing::ElementsAre;

const std::vector<Route> kRoutes = {
    {"GET", "/", "page", {}},
    {"GET", "/stats", "stats", {}},
    {"GET", "/documents/:collection/:id", "document", {}},
    {"POST", "/documents/:collection/query", "query", {}},
    {"PUT", "/documents/:collection/:id", "put", {}},
};

std::string HandlerOf(std::string_view method, std::string_view path) {
  auto match = Find(kRoutes, method, path);
  if (!match) return "malformed";
  return match->route != nullptr ? match->route->handler : match->allowed;
}

TEST(Routes, PathAndMethodChoose) {
  EXPECT_EQ(HandlerOf("GET", "/"), "page");
  EXPECT_EQ(HandlerOf("GET", "/stats"), "stats");
  EXPECT_EQ(HandlerOf("GET", "/documents/todos/1"), "document");
  EXPECT_EQ(HandlerOf("PUT", "/documents/todos/1"), "put");
  EXPECT_EQ(HandlerOf("POST", "/documents/todos/query"), "query");
  EXPECT_EQ(HandlerOf("GET", "/documents/todos/query"), "document");
}

TEST(Routes, AnotherMethodIsToldWhichThereAre) {
  EXPECT_EQ(HandlerOf("POST", "/stats"), "GET, HEAD");
  EXPECT_EQ(HandlerOf("DELETE", "/documents/todos/query"), "GET, HEAD, POST, PUT");
}

TEST(Routes, NoOtherPathFits) {
  for (const char* path :
       {"", "/stat", "/statsx", "/stats/", "//stats", "/Stats", "/documents", "/documents/todos",
        "/documents//1", "/documents/todos/", "/documents/todos/1/2"}) {
    EXPECT_EQ(HandlerOf("GET", path), "") << path;
  }
}

TEST(Routes, PlacesAreDecoded) {
  auto match = Find(kRoutes, "GET", "/documents/a%2Fb/M%C3%BCll%20%25+");
  EXPECT_THAT(match->parameters, ElementsAre("a/b", "Müll %+"));
  EXPECT_THAT(Find(kRoutes, "GET", "/documents/:collection/%2e%2E")->parameters,
              ElementsAre(":collection", ".."));
}

TEST(Routes, WhatIsNoTextIsMalformed) {
  for (const char* path : {"/documents/a/%", "/documents/a/%2", "/documents/a/%zz",
                           "/documents/a/%00", "/documents/a/%ff", "/%c3", "/documents/\xff/b"}) {
    EXPECT_EQ(HandlerOf("GET", path), "malformed") << path;
  }
}

TEST(Routes, RefusalsAreJsonWhateverTheyHold) {
  EXPECT_EQ(Refuse(400, "no \"x\"\n").body, "{\"error\":\"no \\\"x\\\"\\n\"}\n");
  EXPECT_EQ(Refuse(400, "\xff").body, "{\"error\":\"\xEF\xBF\xBD\"}\n");
}

}  // namespace
}  // namespace syncflow::http
