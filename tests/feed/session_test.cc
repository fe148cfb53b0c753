// Turns of a conversation that are easy to get wrong.
#include "sidecar/feed/session.h"

#include "tests/feed/rig.h"

namespace syncflow::feed {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::Not;
using ::testing::StartsWith;

constexpr uint64_t kMiB = 1 << 20;

using SessionTest = FeedRig;

TEST_F(SessionTest, LatestBeforeThereIsHistoryMeansAllOfIt) {
  StartUnbound();
  Consumer consumer(feed_->port());
  consumer.Hello();
  EXPECT_THAT(consumer.Line(), HasSubstr("upstream_down"));
  Bind();
  Commit(0x2000);  // announces both
  EXPECT_THAT(consumer.Line(), StartsWith("{\"type\":\"hello\""));
  EXPECT_EQ(consumer.Line(), LineAt(0x2000, 10));
}

TEST_F(SessionTest, WaitingForHistoryIsToldOnce) {
  StartUnbound();
  Consumer consumer(feed_->port());
  consumer.Hello(R"(,"request":"1")");
  consumer.Hello(R"(,"request":"2")");
  EXPECT_THAT(consumer.Line(), HasSubstr("upstream_down"));
  feed_->UpstreamDown("connection refused");
  Bind();
  feed_->Announce();
  EXPECT_THAT(consumer.Line(), AllOf(StartsWith("{\"type\":\"hello\""), HasSubstr("\"2\"")));
  EXPECT_THAT(consumer.Line(), StartsWith("{\"type\":\"live\""));
}

TEST_F(SessionTest, NewcomersLearnThatPostgresIsAway) {
  Start();
  feed_->UpstreamDown("connection refused");
  Consumer consumer(feed_->port());
  consumer.Hello();
  EXPECT_THAT(consumer.Line(), StartsWith("{\"type\":\"hello\""));
  EXPECT_THAT(consumer.Line(), AllOf(HasSubstr("upstream_down"), HasSubstr("refused"),
                                     HasSubstr("\"fatal\":false")));
}

TEST_F(SessionTest, LastLineCountsWithoutItsEnd) {
  Start();
  Consumer consumer(feed_->port());
  consumer.Say(R"({"type":"hello","version":1,"request":"a1"})");
  consumer.EndInput();
  EXPECT_THAT(consumer.Line(), HasSubstr("\"request\":\"a1\""));
}

TEST_F(SessionTest, HalfALineAtTheEndIsRefusedNotIgnored) {
  Start();
  Consumer consumer(feed_->port());
  consumer.Say(R"({"type":"hello","ver)");
  consumer.EndInput();
  EXPECT_THAT(consumer.Line(), HasSubstr("bad_json"));
  EXPECT_EQ(consumer.Line(), "");
}

TEST_F(SessionTest, ByteOrderMarkIsForgiven) {
  Start();
  Consumer consumer(feed_->port());
  consumer.Say("\xEF\xBB\xBF{\"type\":\"hello\",\"version\":1}\r\n");
  EXPECT_THAT(consumer.Line(), HasSubstr("negotiated"));
}

TEST_F(SessionTest, ZeroByteIsBadJson) {
  Start();
  Consumer consumer(feed_->port());
  consumer.Say(std::string_view("\0\n", 2));
  EXPECT_THAT(consumer.Line(), HasSubstr("bad_json"));
}

TEST_F(SessionTest, LineMayHave8192BytesAndNoMore) {
  Start();
  for (size_t size : {8192u, 8193u}) {
    std::string line = R"({"type":"hello","version":1,"pad":")";
    line += std::string(size - line.size() - 2, 'x') + "\"}";
    Consumer consumer(feed_->port());
    consumer.Say(line + "\n");
    EXPECT_THAT(consumer.Line(), HasSubstr(size == 8192 ? "negotiated" : "line_too_long"));
  }
}

TEST_F(SessionTest, OfManyHellosTheLastIsAnswered) {
  Start();
  Commit(0x2000);
  Commit(0x3000);
  Consumer consumer(feed_->port());
  std::string many;
  for (int i = 0; i < 300; ++i) {
    many += R"({"type":"hello","version":1,"from":")" + CursorText(0x2000) + R"(","request":"r)" +
            std::to_string(i) + "\"}\n";
  }
  consumer.Say(many);
  std::string line = consumer.LineOf("hello");
  while (!line.empty() && line.find("\"r299\"") == std::string::npos)
    line = consumer.LineOf("hello");
  EXPECT_THAT(line, HasSubstr("\"r299\""));
  EXPECT_EQ(consumer.Line(), LineAt(0x3000, 10));
}

// A hello and pongs while the socket is full: nothing may come between the halves of a line.
TEST_F(SessionTest, LateHelloOfASlowReaderTearsNoLine) {
  constexpr size_t kPad = 3'000;
  journal_options_.tail_bytes = 1 * kMiB;
  Start();
  CommitMany(0x2000, 20 * kMiB, kPad);
  Consumer slow(feed_->port(), 16 << 10);
  slow.Hello(R"(,"from":"earliest")");
  slow.LineOf("change");
  Wait([this] { return feed_->probe().sends > 3; });
  for (int i = 0; i < 200; ++i)
    slow.Say(R"({"type":"ping","id":")" + std::string(200, 'p') + "\"}\n");
  slow.Hello(R"(,"request":"late","from":")" + CursorText(0x2000) + "\"");
  for (int i = 0; i < 200; ++i)
    slow.Say(R"({"type":"ping","id":")" + std::string(200, 'q') + "\"}\n");
  int pongs = 0;
  bool late = false;
  uint64_t next = 0x2008;
  for (std::string line = slow.Line(); pongs < 400 || next < 0x2008 + 800; line = slow.Line()) {
    ASSERT_TRUE(nlohmann::json::accept(line)) << line.substr(0, 300);
    pongs += line.starts_with("{\"type\":\"pong\"") ? 1 : 0;
    late = late || line.find("\"late\"") != std::string::npos;
    if (!late || !line.starts_with("{\"type\":\"change\"")) continue;
    ASSERT_EQ(line, LineAt(next, kPad));
    next += 8;
  }
}

TEST_F(SessionTest, ConsumerThatEndedItsInputAndVanishedIsNoticed) {
  Start();
  Consumer consumer(feed_->port());
  consumer.Hello(R"(,"heartbeat":300)");
  consumer.EndInput();
  consumer.LineOf("live");
  uint64_t read = feed_->probe().delivered_bytes;
  Commit(0x2000);
  Wait([&] { return feed_->probe().delivered_bytes > read; });
  consumer.Vanish();  // what lies unread makes it a reset
  Wait([this] { return feed_->probe().consumers == 0; });
}

TEST_F(SessionTest, ByeComesAtALineEndAndNamesTheLastChange) {
  constexpr size_t kPad = 3'000;
  Start();
  CommitMany(0x2000, 30 * kMiB, kPad);
  Consumer slow(feed_->port(), 16 << 10);
  slow.Hello(R"(,"from":"earliest")");
  slow.LineOf("change");
  std::thread stop([this] { feed_->Stop(std::chrono::milliseconds(kPatienceMs)); });
  std::string last, line = slow.Line();
  for (; line.starts_with("{\"type\":\"change\""); line = slow.Line()) last = line;
  stop.join();
  EXPECT_THAT(line, AllOf(StartsWith(R"({"type":"bye","code":"shutdown")"), HasSubstr("retry_ms")));
  EXPECT_EQ(CursorOf(line), CursorOf(last));
  EXPECT_EQ(slow.Line(), "");
}

TEST_F(SessionTest, SilentConsumersGetABye) {
  options_.hello_timeout = std::chrono::hours(1);
  Start();
  Consumer consumer(feed_->port());
  Wait([this] { return feed_->probe().consumers == 1; });
  feed_->Stop(std::chrono::milliseconds(kPatienceMs));
  EXPECT_THAT(consumer.Line(), AllOf(StartsWith("{\"type\":\"bye\""), Not(HasSubstr("cursor"))));
  EXPECT_EQ(consumer.Line(), "");
}

TEST_F(SessionTest, StopLeavesNobodyConnectedWhoDoesNotRead) {
  Start();
  CommitMany(0x2000, 30 * kMiB, 3'000);
  Consumer never(feed_->port(), 16 << 10);
  never.Hello(R"(,"from":"earliest")");
  never.LineOf("hello");
  feed_->Stop(std::chrono::milliseconds(1));
  EXPECT_EQ(feed_->probe().consumers, 0u);
  std::string line = never.Line();
  while (line.ends_with('\n')) line = never.Line();  // to the end of the connection
}

}  // namespace
}  // namespace syncflow::feed
