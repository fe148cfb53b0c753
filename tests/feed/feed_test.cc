// The feed as a client sees it: raw sockets against a real journal.
#include "sidecar/feed/feed.h"

#include "tests/feed/rig.h"

namespace syncflow::feed {
namespace {

using replication::Lsn;
using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::StartsWith;

class FeedTest : public FeedRig {
 protected:
  // One transaction of `changes` lines at `commit`.
  void Commit(uint64_t commit, int changes, size_t pad = 10) {
    Encoder encoder(epoch_, 32 << 20);
    std::string data = "\"" + std::string(pad, 'x') + "\"";
    for (int i = 0; i < changes; ++i) {
      replication::Change change;
      change.operation = {"id", "insert", "todos", "doc", data, 1, "c", false, "{}"};
      change.commit_lsn = Lsn(commit);
      change.index = static_cast<uint64_t>(i);
      encoder.Encode(change);
      std::string_view line = encoder.Finish(i + 1 == changes);
      written_ += line;
      ends_.push_back(written_.size());
      journal_->Append({change.commit_lsn, change.index}, line);
    }
    journal_->Flush(Lsn(commit + 8));
  }

  // `count` change lines, whatever stands between them.
  static std::string Changes(Consumer& consumer, size_t count) {
    std::string out;
    for (; count > 0; --count) out += consumer.LineOf("change");
    return out;
  }

  std::string CursorText(uint64_t commit, uint64_t index) const {
    return journal::Cursor{epoch_, {Lsn(commit), index}}.ToString();
  }
  static std::string From(const std::string& from) { return R"(,"from":")" + from + "\""; }

  std::string written_;
  std::vector<size_t> ends_;  // of each line in written_
};

TEST_F(FeedTest, SilentClientGetsEverythingFromNowOn) {
  Start();
  Commit(0x2000, 3);
  Consumer client(feed_->port());
  EXPECT_THAT(client.Line(), AllOf(HasSubstr("\"mode\":\"plain\""), HasSubstr("\"heartbeat\":30"),
                                   HasSubstr(CursorText(0x2000, 2))));
  EXPECT_THAT(client.Line(), StartsWith("{\"type\":\"live\""));
  size_t before = written_.size();
  Commit(0x3000, 2);
  EXPECT_EQ(Changes(client, 2), written_.substr(before));
}

TEST_F(FeedTest, ClientThatOnlyClosesItsSendingSideIsServed) {
  Start();
  Consumer client(feed_->port());
  client.EndInput();
  EXPECT_THAT(client.Line(), HasSubstr("plain"));
  Commit(0x2000, 1);
  EXPECT_EQ(Changes(client, 1), written_);
}

TEST_F(FeedTest, EarliestGivesEverythingThenLive) {
  Start();
  Commit(0x2000, 3);
  Commit(0x3000, 2);
  Consumer client(feed_->port());
  client.Hello(From("earliest") + R"(,"request":"a1")");
  EXPECT_THAT(client.Line(), AllOf(HasSubstr("\"request\":\"a1\""), HasSubstr("negotiated")));
  EXPECT_EQ(Changes(client, 5), written_);
  EXPECT_THAT(client.Line(),
              AllOf(StartsWith("{\"type\":\"live\""), HasSubstr(CursorText(0x3000, 1))));
}

TEST_F(FeedTest, AnyCursorGivesExactlyTheRest) {
  Start();
  for (uint64_t commit = 0x2000; commit < 0x2050; commit += 16) Commit(commit, 3);
  for (size_t line = 0; line < ends_.size(); ++line) {
    Consumer client(feed_->port());
    client.Hello(From(CursorText(0x2000 + line / 3 * 16, line % 3)));
    EXPECT_EQ(Changes(client, ends_.size() - line - 1), written_.substr(ends_[line]));
    EXPECT_NE(client.LineOf("live"), "") << line;
  }
}

TEST_F(FeedTest, HelloMayComeByteByByteWithAnyLineEnd) {
  Start();
  Commit(0x2000, 1);
  for (const char* end : {"\n", "\r\n"}) {
    Consumer client(feed_->port());
    for (char c : R"({"type":"hello","version":1,"from":"earliest"})" + std::string(end))
      client.Say({&c, 1});
    EXPECT_THAT(client.Line(), HasSubstr("negotiated"));
    EXPECT_EQ(Changes(client, 1), written_);
  }
}

TEST_F(FeedTest, GluedCommandsAreAllAnswered) {
  Start();
  Consumer client(feed_->port());
  client.Say(
      "{\"type\":\"hello\",\"version\":1}\n{\"type\":\"ping\",\"id\":\"1\"}\n\n{\"type\":\"ping\","
      "\"id\":\"2\"}\n");
  EXPECT_THAT(client.LineOf("pong"), HasSubstr("\"id\":\"1\""));
  EXPECT_THAT(client.LineOf("pong"), HasSubstr("\"id\":\"2\""));
}

TEST_F(FeedTest, LateHelloStartsAnew) {
  Start();
  Commit(0x2000, 2);
  Consumer client(feed_->port());
  EXPECT_THAT(client.Line(), HasSubstr("plain"));
  client.Hello(From("earliest") + R"(,"request":"late")");
  EXPECT_THAT(client.LineOf("hello"), HasSubstr("\"request\":\"late\""));
  EXPECT_EQ(Changes(client, 2), written_);
}

TEST_F(FeedTest, EachRefusalIsToldAndEndsTheConnection) {
  Start();
  Commit(0x2000, 1);
  std::pair<std::string, std::string> cases[] = {
      {"garbage\n", "bad_json"},
      {"{\"type\":\"hello\",\"version\":7}\n", "unsupported_version"},
      {"{\"type\":\"hello\",\"version\":1,\"from\":\"x\"}\n", "bad_cursor"},
      {"{\"type\":\"hello\",\"version\":1,\"collections\":\"a\"}\n", "bad_hello"},
      {"{\"type\":\"hello\",\"version\":1" + From("00000000.0000000000002000.0") + "}\n",
       "epoch_changed"},
      {"{\"type\":\"hello\",\"version\":1" + From(CursorText(0x9000, 0)) + "}\n", "cursor_ahead"},
      {"{\"type\":\"hello\",\"version\":1" + From(CursorText(0x500, 0)) + "}\n", "history_lost"},
      {std::string(9000, 'x'), "line_too_long"},
  };
  for (const auto& [sent, code] : cases) {
    Consumer client(feed_->port());
    client.Say(sent);
    EXPECT_THAT(client.LineOf("error"),
                AllOf(HasSubstr("\"code\":\"" + code + "\""), HasSubstr("\"fatal\":true")));
    EXPECT_EQ(client.Line(), "") << code;
  }
}

TEST_F(FeedTest, AckIsAnsweredAndForgiven) {
  Start();
  Consumer client(feed_->port());
  client.Hello();
  client.Say("{\"type\":\"ack\",\"cursor\":\"x\"}\n");
  EXPECT_THAT(client.LineOf("error"), AllOf(HasSubstr("bad_ack"), HasSubstr("\"fatal\":false")));
  Commit(0x2000, 1);
  EXPECT_EQ(Changes(client, 1), written_);
}

TEST_F(FeedTest, HeartbeatTellsHowFarTheConsumerIs) {
  Start();
  Consumer client(feed_->port());
  client.Hello(R"(,"heartbeat":1)");
  client.LineOf("live");
  Commit(0x2000, 1);
  Changes(client, 1);
  EXPECT_THAT(client.LineOf("heartbeat"), HasSubstr("\"cursor\":\"" + CursorText(0x2000, 0)));
}

TEST_F(FeedTest, ConsumerThatPausesIsServedFromTheJournal) {
  journal_options_.tail_bytes = 1 << 20;
  Start();
  Consumer client(feed_->port());
  client.Hello(From("earliest"));
  client.Line();
  Consumer idle(feed_->port());  // reads nothing at all
  idle.Hello(From("earliest"));
  Consumer other(feed_->port());
  other.Hello(From("latest"));
  other.LineOf("live");
  uint64_t commit = 0x2000;
  for (; written_.size() < (40 << 20); commit += 8) Commit(commit, 1, 50'000);
  EXPECT_EQ(Changes(other, ends_.size()), written_) << "nobody waits for the slow ones";
  EXPECT_EQ(Changes(client, ends_.size()), written_);
  EXPECT_GT(feed_->probe().journal_bytes, 0u);
  Commit(commit, 1);
  EXPECT_EQ(client.LineOf("change"), written_.substr(ends_[ends_.size() - 2]))
      << "and back at the head";
}

TEST_F(FeedTest, CursorThatRetentionRemovedMayContinueWithAGap) {
  journal_options_.segment_bytes = 1000;
  journal_options_.retain_bytes = 3000;
  Start();
  for (uint64_t commit = 0x2000; commit < 0x2100; commit += 8) {
    Commit(commit, 1, 500);
    WaitDurable();
  }
  Consumer client(feed_->port());
  client.Hello(From(CursorText(0x2000, 0)) + R"(,"on_gap":"continue")");
  EXPECT_THAT(client.Line(), StartsWith("{\"type\":\"hello\""));
  EXPECT_THAT(client.Line(), AllOf(StartsWith("{\"type\":\"gap\""),
                                   HasSubstr("\"after\":\"" + CursorText(0x2000, 0))));
  std::string rest;
  for (std::string line = client.Line(); line.starts_with("{\"type\":\"change\"");
       line = client.Line())
    rest += line;
  EXPECT_NE(rest, "");
  EXPECT_THAT(written_, ::testing::EndsWith(rest));
}

TEST_F(FeedTest, UnboundJournalIsWaitedFor) {
  StartUnbound();
  Consumer client(feed_->port());
  client.Hello(From("earliest"));
  EXPECT_THAT(client.Line(), AllOf(HasSubstr("upstream_down"), HasSubstr("\"fatal\":false")));
  Bind();
  feed_->Announce();
  EXPECT_THAT(client.Line(), StartsWith("{\"type\":\"hello\""));
  Commit(0x2000, 1);
  EXPECT_EQ(Changes(client, 1), written_);
}

TEST_F(FeedTest, OutageIsToldOnce) {
  Start();
  Consumer client(feed_->port());
  client.Hello();
  client.LineOf("live");
  feed_->UpstreamDown("gone fishing");
  feed_->UpstreamDown("still fishing");
  feed_->UpstreamDown("");
  EXPECT_THAT(client.Line(), AllOf(HasSubstr("upstream_down"), HasSubstr("gone fishing")));
  Commit(0x2000, 1);
  EXPECT_EQ(client.Line(), written_);
}

TEST_F(FeedTest, OneTooManyIsRefused) {
  options_.connections_max = 2;
  Start();
  Consumer first(feed_->port());
  Consumer second(feed_->port());
  first.Hello();
  second.Hello();
  first.LineOf("live");
  second.LineOf("live");
  Consumer third(feed_->port());
  EXPECT_THAT(third.Line(), AllOf(HasSubstr("too_many_connections"), HasSubstr("\"retry\":true")));
  EXPECT_EQ(third.Line(), "");
  Commit(0x2000, 1);
  EXPECT_EQ(Changes(first, 1), written_);
}

TEST_F(FeedTest, StopSaysBye) {
  Start();
  Consumer client(feed_->port());
  client.Hello();
  client.LineOf("live");
  feed_->Stop(std::chrono::seconds(20));
  EXPECT_THAT(client.Line(), AllOf(HasSubstr("\"type\":\"bye\""), HasSubstr("retry_ms")));
  EXPECT_EQ(client.Line(), "");
}

TEST_F(FeedTest, OtherAddressesNeedConsent) {
  journal_ = std::make_unique<journal::Journal>(journal_options_);
  for (const char* listen : {"0.0.0.0:0", "[::]:0"}) {
    options_.listen = listen;
    EXPECT_THROW(Feed(options_, *journal_), std::runtime_error);
  }
  for (const char* listen : {"", "7433", "nowhere:1", "127.0.0.1:x", "127.0.0.1:99999"}) {
    options_.listen = listen;
    EXPECT_THROW(Feed(options_, *journal_), std::runtime_error) << listen;
  }
}

TEST_F(FeedTest, TakenPortIsNamed) {
  Start();
  options_.listen = "127.0.0.1:" + std::to_string(feed_->port());
  try {
    Feed second(options_, *journal_);
    ADD_FAILURE();
  } catch (const std::runtime_error& error) {
    EXPECT_THAT(error.what(), AllOf(HasSubstr(options_.listen), HasSubstr("feed.listen")));
  }
}

}  // namespace
}  // namespace syncflow::feed
