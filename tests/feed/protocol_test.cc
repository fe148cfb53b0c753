#include "sidecar/feed/protocol.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <random>

namespace syncflow::feed {
namespace {

using replication::Lsn;
using ::testing::HasSubstr;
using ::testing::Not;

std::string CodeOf(const std::string& line) {
  Command command = ParseCommand(line);
  auto* refusal = std::get_if<Refusal>(&command);
  return refusal == nullptr ? "" : refusal->code;
}

TEST(ParseCommand, HelloWithNothingMeansFromLatest) {
  auto hello = std::get<Hello>(ParseCommand(R"({"type":"hello","version":1})"));
  EXPECT_EQ(hello.from, From::kLatest);
  EXPECT_EQ(hello.heartbeat, std::nullopt);
  EXPECT_FALSE(hello.continue_after_gap);
}

TEST(ParseCommand, HelloWithEverything) {
  auto hello = std::get<Hello>(ParseCommand(
      R"({"type":"hello","version":1,"request":"a1","from":"9c41e07b.0000000014319470.3","heartbeat":5,"on_gap":"continue",)"
      R"("collections":[],"window":0,"token":"ignored","new_key":{"of":["a","later","version"]}})"));
  EXPECT_EQ(hello.request, "a1");
  EXPECT_EQ(hello.from, From::kCursor);
  EXPECT_EQ(hello.cursor, (journal::Cursor{journal::Epoch{0x9c41e07b}, {Lsn(0x14319470), 3}}));
  EXPECT_EQ(hello.heartbeat, std::chrono::seconds(5));
  EXPECT_TRUE(hello.continue_after_gap);
}

TEST(ParseCommand, PingKeepsItsId) {
  EXPECT_EQ(std::get<Ping>(ParseCommand(R"({"type":"ping","id":"7"})")).id, "7");
}

TEST(ParseCommand, UnknownTypesAreIgnored) {
  EXPECT_TRUE(std::holds_alternative<Unknown>(ParseCommand(R"({"type":"wave"})")));
}

TEST(ParseCommand, RefusalsCarryTheProtocolsCodes) {
  EXPECT_EQ(CodeOf("garbage"), "bad_json");
  EXPECT_EQ(CodeOf("{"), "bad_json");
  EXPECT_EQ(CodeOf("{\"type\":\"ping\"}x"), "bad_json");
  EXPECT_EQ(CodeOf("\xEF\xBB\xBF\xFF"), "bad_json");
  EXPECT_EQ(CodeOf("{\"type\":\"\xFF\"}"), "bad_json");
  EXPECT_EQ(CodeOf(std::string("{\"type\":\"a\0b\"}", 14)), "bad_json");
  EXPECT_EQ(CodeOf(std::string("{\"type\":\"ping\"}\0", 16)), "bad_json");
  EXPECT_EQ(CodeOf(std::string("{\"type\":\"ping\"}\0{}", 18)), "bad_json");
  EXPECT_EQ(CodeOf(std::string(4000, '[')), "bad_json");
  EXPECT_EQ(CodeOf(std::string(100, '[') + std::string(100, ']')), "bad_json");
  EXPECT_EQ(CodeOf("[]"), "bad_hello");
  EXPECT_EQ(CodeOf("{}"), "bad_hello");
  EXPECT_EQ(CodeOf(R"({"type":5})"), "bad_hello");
  EXPECT_EQ(CodeOf(R"({"type":"hello"})"), "bad_hello");
  EXPECT_EQ(CodeOf(R"({"type":"hello","version":"1"})"), "bad_hello");
  EXPECT_EQ(CodeOf(R"({"type":"hello","version":2})"), "unsupported_version");
  EXPECT_EQ(CodeOf(R"({"type":"hello","version":1,"heartbeat":0})"), "bad_hello");
  EXPECT_EQ(CodeOf(R"({"type":"hello","version":1,"heartbeat":301})"), "bad_hello");
  EXPECT_EQ(CodeOf(R"({"type":"hello","version":1,"heartbeat":1.5})"), "bad_hello");
  EXPECT_EQ(CodeOf(R"({"type":"hello","version":1,"on_gap":"maybe"})"), "bad_hello");
  EXPECT_EQ(CodeOf(R"({"type":"hello","version":1,"from":5})"), "bad_hello");
  EXPECT_EQ(CodeOf(R"({"type":"hello","version":1,"from":"yesterday"})"), "bad_cursor");
  EXPECT_EQ(CodeOf(R"({"type":"hello","version":1,"request":")" + std::string(300, 'x') + "\"}"),
            "bad_hello");
  EXPECT_EQ(CodeOf(R"({"type":"ack","cursor":"x"})"), "bad_ack");
}

TEST(ParseCommand, SnapshotAndWhereItsDownloadBroke) {
  auto hello = [](const std::string& more) {
    return ParseCommand(R"({"type":"hello","version":1,"from":"snapshot")" + more + "}");
  };
  EXPECT_EQ(std::get<Hello>(hello("")).from, From::kSnapshot);
  auto resumed = std::get<Hello>(hello(R"(,"snapshot":"s-1","number":7)"));
  EXPECT_EQ(resumed.snapshot, "s-1");
  EXPECT_EQ(resumed.number, 7u);
  for (const char* wrong :
       {R"(,"snapshot":5)", R"(,"snapshot":"s-1","number":-1)", R"(,"snapshot":"s-1","number":1.5)",
        R"(,"snapshot":"s-1","number":"1")"})
    EXPECT_EQ(std::get<Refusal>(hello(wrong)).code, "bad_hello") << wrong;
}

TEST(ParseCommand, NameAndWindow) {
  auto hello = [](const std::string& more) {
    return ParseCommand(R"({"type":"hello","version":1,)" + more + "}");
  };
  auto named = std::get<Hello>(hello(R"("name":"billing-2.eu_west","window":10000)"));
  EXPECT_EQ(named.name, "billing-2.eu_west");
  EXPECT_EQ(named.window, 10'000u);
  EXPECT_FALSE(named.says_from);
  EXPECT_TRUE(std::get<Hello>(hello(R"("name":"a","from":"latest")")).says_from);
  EXPECT_EQ(std::get<Hello>(hello("\"name\":\"" + std::string(128, 'n') + "\"")).name.size(), 128u);
  for (const std::string& wrong :
       {std::string(R"("name":"")"), std::string(R"("name":"a b")"),
        std::string(R"("name":"\u00fc")"), std::string(R"("name":5)"),
        std::string(R"("name":"..")"), "\"name\":\"" + std::string(129, 'n') + "\"",
        std::string(R"("window":-1)"), std::string(R"("window":10001)"),
        std::string(R"("window":1.5)"), std::string(R"("window":"1")")})
    EXPECT_EQ(std::get<Refusal>(hello(wrong)).code, "bad_hello") << wrong;
}

TEST(ParseCommand, AckHoldsACursor) {
  EXPECT_EQ(std::get<Ack>(ParseCommand(R"({"type":"ack","cursor":"9c41e07b.0000000014319470.3"})"))
                .cursor,
            (journal::Cursor{journal::Epoch{0x9c41e07b}, {Lsn(0x14319470), 3}}));
  for (const char* wrong :
       {R"({"type":"ack"})", R"({"type":"ack","cursor":5})", R"({"type":"ack","cursor":"latest"})"})
    EXPECT_EQ(CodeOf(wrong), "bad_ack") << wrong;
}

TEST(ParseCommand, CollectionsAreAListOfShortNames) {
  auto parse = [](const std::string& collections) {
    return ParseCommand(R"({"type":"hello","version":1,"collections":)" + collections + "}");
  };
  EXPECT_EQ(std::get<Hello>(parse(R"(["todos","users"])")).collections,
            (std::vector<std::string>{"todos", "users"}));
  EXPECT_TRUE(std::get<Hello>(parse("null")).collections.empty());
  std::string many = "[\"a\"";
  for (int i = 1; i < 256; ++i) many += ",\"a\"";
  EXPECT_EQ(std::get<Hello>(parse(many + "]")).collections.size(), 256u);
  std::string longest = "\"" + std::string(128, 'x') + "\"";
  EXPECT_EQ(std::get<Hello>(parse("[" + longest + "]")).collections.size(), 1u);
  for (const std::string& wrong :
       {std::string("\"todos\""), std::string("[5]"), std::string("[\"\"]"), many + ",\"a\"]",
        "[\"x" + longest.substr(1) + "]"}) {
    auto refusal = std::get<Refusal>(parse(wrong));
    EXPECT_EQ(refusal.code, "bad_hello") << wrong;
  }
}

TEST(ParseCommand, OnlyAckIsForgiven) {
  EXPECT_FALSE(std::get<Refusal>(ParseCommand(R"({"type":"ack"})")).fatal);
  EXPECT_TRUE(std::get<Refusal>(ParseCommand("x")).fatal);
}

TEST(ParseCommand, RandomDamageNeverThrows) {
  std::string good =
      R"({"type":"hello","version":1,"request":"a1","from":"9c41e07b.0000000014319470.3","heartbeat":5})";
  std::minstd_rand random(301);
  size_t refused = 0;
  for (int i = 0; i < 20'000; ++i) {
    std::string bad = good.substr(0, random() % (good.size() + 1));
    for (int flips = 0; flips < 3 && !bad.empty(); ++flips)
      bad[random() % bad.size()] = static_cast<char>(random());
    refused += std::holds_alternative<Refusal>(ParseCommand(bad)) ? 1 : 0;
  }
  EXPECT_GT(refused, 15'000u);
}

TEST(ServerLines, AreTheProtocols) {
  journal::Epoch epoch{0x9c41e07b};
  journal::Cursor cursor{epoch, {Lsn(0x10), 1}};
  EXPECT_EQ(LiveLine(cursor), "{\"type\":\"live\",\"cursor\":\"9c41e07b.0000000000000010.1\"}\n");
  EXPECT_EQ(HeartbeatLine(cursor, cursor, 0),
            "{\"type\":\"heartbeat\",\"cursor\":\"9c41e07b.0000000000000010.1\",\"head\":"
            "\"9c41e07b.0000000000000010.1\","
            "\"at\":\"1970-01-01T00:00:00.000000Z\"}\n");
  EXPECT_EQ(ErrorLine("bad_json", "no", {true, false, {}, {}}),
            "{\"type\":\"error\",\"code\":\"bad_json\",\"fatal\":true,\"retry\":false,\"message\":"
            "\"no\"}\n");
  EXPECT_EQ(PongLine("7", cursor),
            "{\"type\":\"pong\",\"id\":\"7\",\"cursor\":\"9c41e07b.0000000000000010.1\"}\n");
  EXPECT_EQ(ByeLine("shutdown", std::nullopt, 1400),
            "{\"type\":\"bye\",\"code\":\"shutdown\",\"retry_ms\":1400}\n");
  ServerHello hello;
  hello.request = "a1";
  hello.server = "syncflow-sidecar/0.1.0";
  hello.epoch = epoch;
  hello.heartbeat = std::chrono::seconds(15);
  hello.line_bytes_max = 8388608;
  hello.start = journal::Position{};
  EXPECT_EQ(HelloLine(hello),
            "{\"type\":\"hello\",\"version\":1,\"request\":\"a1\",\"server\":\"syncflow-sidecar/"
            "0.1.0\",\"epoch\":\"9c41e07b\","
            "\"start\":\"9c41e07b.0000000000000000.0\",\"head\":\"9c41e07b.0000000000000000.0\","
            "\"earliest\":\"9c41e07b.0000000000000000.0\",\"heartbeat\":15,\"max_line_bytes\":"
            "8388608,\"mode\":\"negotiated\"}\n");
  EXPECT_EQ(SnapshotBeginLine("s-1", cursor, {"todos"}),
            "{\"type\":\"snapshot_begin\",\"snapshot\":\"s-1\",\"as_of\":"
            "\"9c41e07b.0000000000000010.1\",\"collections\":[\"todos\"]}\n");
  EXPECT_EQ(SnapshotEndLine("s-1", cursor, 3),
            "{\"type\":\"snapshot_end\",\"snapshot\":\"s-1\",\"cursor\":"
            "\"9c41e07b.0000000000000010.1\",\"documents\":3}\n");
}

// A client that keeps the cursor of whatever line it sees would keep one behind the documents that
// it has not got yet.
TEST(ServerLines, NoCursorStandsInFrontOfTheDocuments) {
  ServerHello hello;
  EXPECT_THAT(HelloLine(hello), Not(HasSubstr("\"start\"")));
  journal::Cursor cursor{journal::Epoch{1}, {Lsn(0x10), 0}};
  EXPECT_THAT(SnapshotBeginLine("s-1", cursor, {}), Not(HasSubstr("\"cursor\"")));
  EXPECT_THAT(HeartbeatLine(std::nullopt, cursor, 0), Not(HasSubstr("\"cursor\"")));
}

}  // namespace
}  // namespace syncflow::feed
