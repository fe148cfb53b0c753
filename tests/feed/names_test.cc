// Durable consumers: names, acknowledgements, windows.
#include "sidecar/feed/close_reason.h"
#include "tests/feed/rig.h"

namespace syncflow::feed {
namespace {

using ::testing::HasSubstr;
using ::testing::StartsWith;

class Named : public FeedRig {
 protected:
  static std::string As(const std::string& name) { return R"(,"name":")" + name + "\""; }
  static std::string From(const std::string& from) { return R"(,"from":")" + from + "\""; }
  static void Ack(const Consumer& consumer, const std::string& cursor) {
    consumer.Say(R"({"type":"ack","cursor":")" + cursor + "\"}\n");
  }
  void ExpectAcked(Consumer& consumer, uint64_t commit) const {
    EXPECT_EQ(CursorOf(consumer.LineOf("acked")), CursorText(commit));
  }
  void Restart() {
    feed_.reset();
    journal_.reset();
    Start();
  }
};

TEST_F(Named, GoesOnWhereItAcknowledged) {
  Start();
  for (uint64_t commit : {0x2000, 0x2008, 0x2010}) Commit(commit);
  {
    Consumer consumer(feed_->port());
    consumer.Hello(As("billing") + From("earliest"));
    EXPECT_EQ(CursorOf(consumer.LineOf("change")), CursorText(0x2000));
    consumer.LineOf("live");
    Ack(consumer, CursorText(0x2008));
    ExpectAcked(consumer, 0x2008);
  }
  for (int restarts = 0; restarts < 2; ++restarts) {
    Consumer again(feed_->port());
    again.Hello(As("billing"));
    EXPECT_EQ(CursorOf(again.LineOf("hello"), "start"), CursorText(0x2008));
    EXPECT_EQ(CursorOf(again.LineOf("change")), CursorText(0x2010));
    Restart();
  }
}

// Otherwise what is committed between the first two connections would be missed in silence.
TEST_F(Named, NewNameStandsWhereItWasGreetedThoughItNeverAcknowledged) {
  Start();
  Commit(0x2000);
  {
    Consumer consumer(feed_->port());
    consumer.Hello(As("billing"));
    EXPECT_EQ(CursorOf(consumer.LineOf("hello"), "start"), CursorText(0x2000));
    // What was greeted is durable: the file says so already.
    EXPECT_EQ(journal_->consumers().Saved("billing")->ToString(), CursorText(0x2000));
  }
  Commit(0x3000);
  Restart();
  Consumer again(feed_->port());
  again.Hello(As("billing"));
  EXPECT_EQ(CursorOf(again.LineOf("change")), CursorText(0x3000));
}

TEST_F(Named, FromMovesIt) {
  Start();
  for (uint64_t commit : {0x2000, 0x2008, 0x2010}) Commit(commit);
  for (const auto& [from, start] :
       std::vector<std::pair<std::string, std::string>>{{"latest", CursorText(0x2010)},
                                                        {CursorText(0x2000), CursorText(0x2000)},
                                                        {"latest", CursorText(0x2010)}}) {
    Consumer(feed_->port()).Hello(As("other"));
    {
      Consumer consumer(feed_->port());
      consumer.Hello(As("billing") + From(from));
      EXPECT_EQ(CursorOf(consumer.LineOf("hello"), "start"), start);
    }
    Consumer again(feed_->port());
    again.Hello(As("billing"));
    EXPECT_EQ(CursorOf(again.LineOf("hello"), "start"), start);
  }
}

TEST_F(Named, NewestConnectionHasTheNameAndTheOldOnesAcksCountNoMore) {
  Start();
  for (uint64_t commit : {0x2000, 0x2008}) Commit(commit);
  Consumer first(feed_->port());
  first.Hello(As("billing") + From("earliest"));
  first.LineOf("live");
  Consumer second(feed_->port());
  second.Hello(As("billing"));
  second.LineOf("live");
  EXPECT_THAT(first.LineOf("error"),
              HasSubstr("\"code\":\"superseded\",\"fatal\":true,\"retry\":false"));
  Ack(first, CursorText(0x2008));
  EXPECT_EQ(first.Line(), "") << "its connection ends";
  Wait([this] { return Closed(static_cast<size_t>(CloseReason::kSuperseded)) == 1; });
  EXPECT_NE(journal_->consumers().Find("billing")->acknowledged.ToString(), CursorText(0x2008));
  EXPECT_TRUE(journal_->consumers().Find("billing")->connected);
  Ack(second, CursorText(0x2000));
  ExpectAcked(second, 0x2000);
}

TEST_F(Named, AcksThatWouldLieChangeNothing) {
  Start();
  Commit(0x2000);
  Consumer consumer(feed_->port());
  consumer.Hello(As("billing") + From("earliest"));
  consumer.LineOf("live");
  std::string other_epoch = CursorText(0x2000);
  other_epoch[0] = other_epoch[0] == '0' ? '1' : '0';
  for (const std::string& lie :
       {CursorText(0x2008), CursorText(0xfffffff0), other_epoch, std::string("latest")}) {
    Ack(consumer, lie);
    EXPECT_THAT(consumer.LineOf("error"), HasSubstr("\"code\":\"bad_ack\",\"fatal\":false")) << lie;
  }
  Ack(consumer, CursorText(0x2000));
  ExpectAcked(consumer, 0x2000);
  Commit(0x2008);
  EXPECT_EQ(CursorOf(consumer.LineOf("change")), CursorText(0x2008));
  Ack(consumer, CursorText(0x1000));  // of the past: acknowledged already
  Ack(consumer, CursorText(0x2008));
  ExpectAcked(consumer, 0x2008);
}

TEST_F(Named, AckWithoutANameOrAWindowIsRefused) {
  Start();
  Commit(0x2000);
  Consumer consumer(feed_->port());
  consumer.Hello(From("earliest"));
  consumer.LineOf("live");
  Ack(consumer, CursorText(0x2000));
  EXPECT_THAT(consumer.LineOf("error"), HasSubstr("bad_ack"));
}

TEST_F(Named, CursorOfAnotherHistoryIsToldNotGuessed) {
  Start();
  journal_->consumers().Move("billing", {journal::Epoch{1}, {replication::Lsn(8), 0}}, 1);
  Consumer consumer(feed_->port());
  consumer.Hello(As("billing"));
  EXPECT_THAT(consumer.LineOf("error"), HasSubstr("epoch_changed"));
  Consumer anew(feed_->port());
  anew.Hello(As("billing") + From("earliest"));
  EXPECT_THAT(anew.Line(), StartsWith("{\"type\":\"hello\""));
}

TEST_F(Named, PositionBeyondRetentionIsToldOrPassedWithAGap) {
  Start();
  Commit(0x2000);
  journal_->consumers().Move("billing", {epoch_, {replication::Lsn(8), 0}}, 1);
  Consumer consumer(feed_->port());
  consumer.Hello(As("billing"));
  EXPECT_THAT(consumer.LineOf("error"), HasSubstr("history_lost"));
  for (int times = 0; times < 2; ++times) {
    Consumer going_on(feed_->port());
    going_on.Hello(As("billing") + R"(,"on_gap":"continue")");
    EXPECT_EQ(CursorOf(going_on.LineOf("hello"), "start"), CursorText(8))
        << "whoever stores it and hears no more is told of the gap again";
    EXPECT_THAT(going_on.Line(), StartsWith("{\"type\":\"gap\""));
    EXPECT_EQ(CursorOf(going_on.LineOf("change")), CursorText(0x2000));
  }
  Consumer moved(feed_->port());
  moved.Hello(As("billing") + From(CursorText(8)) + R"(,"on_gap":"continue")");
  EXPECT_EQ(CursorOf(moved.LineOf("hello"), "start"), CursorText(8));
  EXPECT_EQ(journal_->consumers().Find("billing")->acknowledged.ToString(), CursorText(8));
  EXPECT_THAT(moved.Line(), HasSubstr(R"("after":")" + CursorText(8)));
  Ack(moved, CursorText(0x1000));  // the gap's "resume"
  ExpectAcked(moved, 0x1000);
}

TEST_F(Named, HelloThatComesWhileThePositionIsWrittenIsObeyed) {
  Start();
  Commit(0x2000);
  Consumer consumer(feed_->port());
  for (int i = 0; i < 20; ++i)
    consumer.Hello(As("n" + std::to_string(i)) + R"(,"request":")" + std::to_string(i) + "\"");
  consumer.Hello(From("earliest") + R"(,"request":"last")");
  std::string line;
  while (line.find("\"request\":\"last\"") == std::string::npos) line = consumer.LineOf("hello");
  EXPECT_EQ(CursorOf(consumer.LineOf("change")), CursorText(0x2000));
}

TEST_F(Named, AskedBeforeThereIsAHistory) {
  StartUnbound();
  Consumer consumer(feed_->port());
  consumer.Hello(As("billing"));
  EXPECT_THAT(consumer.Line(), HasSubstr("upstream_down"));
  Bind();
  Commit(0x2000);
  EXPECT_THAT(consumer.Line(), StartsWith("{\"type\":\"hello\""));
  EXPECT_EQ(CursorOf(consumer.LineOf("change")), CursorText(0x2000));
  Ack(consumer, CursorText(0x2000));
  ExpectAcked(consumer, 0x2000);
}

TEST_F(Named, LastAcksAreKeptWhenTheFeedStops) {
  Start();
  Commit(0x2000);
  Consumer consumer(feed_->port());
  consumer.Hello(As("billing") + From("earliest"));
  consumer.LineOf("live");
  Ack(consumer, CursorText(0x2000));
  Wait([this] {
    return journal_->consumers().Find("billing")->acknowledged.ToString() == CursorText(0x2000);
  });
  Restart();
  EXPECT_EQ(journal_->consumers().Saved("billing")->ToString(), CursorText(0x2000));
}

// ---- windows ----

class Window : public Named {
 protected:
  static std::string Of(int changes) { return R"(,"window":)" + std::to_string(changes); }
  // Nothing more comes: a ping is answered first.
  static void ExpectPaused(Consumer& consumer) {
    consumer.Say("{\"type\":\"ping\",\"id\":\"p\"}\n");
    EXPECT_THAT(consumer.Line(), StartsWith("{\"type\":\"pong\""));
  }
};

TEST_F(Window, PausesUntilAcknowledged) {
  Start();
  for (uint64_t commit = 0x2000; commit < 0x2050; commit += 8) Commit(commit);
  Consumer consumer(feed_->port());
  consumer.Hello(From("earliest") + Of(4));
  consumer.LineOf("hello");
  for (uint64_t commit = 0x2000; commit < 0x2020; commit += 8)
    EXPECT_EQ(CursorOf(consumer.Line()), CursorText(commit));
  ExpectPaused(consumer);
  Ack(consumer, CursorText(0x2008));
  EXPECT_EQ(CursorOf(consumer.LineOf("change")), CursorText(0x2020));
  EXPECT_EQ(CursorOf(consumer.LineOf("change")), CursorText(0x2028));
  ExpectPaused(consumer);
  Ack(consumer, CursorText(0x2028));
  for (uint64_t commit = 0x2030; commit < 0x2050; commit += 8)
    EXPECT_EQ(CursorOf(consumer.LineOf("change")), CursorText(commit));
  EXPECT_THAT(consumer.Line(), StartsWith("{\"type\":\"live\""))
      << "a full window at the head is no pause";
}

TEST_F(Window, OfOneWithANameAndAFilter) {
  Start();
  for (uint64_t commit = 0x2000; commit < 0x2040; commit += 8) Commit(commit);
  Consumer consumer(feed_->port());
  consumer.Hello(As("billing") + From("earliest") + Of(1) + R"(,"collections":["todos"])");
  for (uint64_t commit = 0x2000; commit < 0x2040; commit += 8) {
    EXPECT_EQ(CursorOf(consumer.LineOf("change")), CursorText(commit));
    Ack(consumer, CursorText(commit));
  }
  ExpectAcked(consumer, 0x2038);
}

TEST_F(Window, HeartbeatsNeverPassWhatIsHeldBack) {
  Start();
  for (uint64_t commit = 0x2000; commit < 0x2020; commit += 8) Commit(commit);
  Consumer consumer(feed_->port());
  consumer.Hello(From("earliest") + Of(2) + R"(,"heartbeat":1)");
  EXPECT_EQ(CursorOf(consumer.LineOf("heartbeat")), CursorText(0x2008));
}

TEST_F(Window, LinesCutByTheSocketCountOnce) {
  Start();
  Consumer consumer(feed_->port(), 8 << 10);
  consumer.Hello(From("earliest") + Of(3));
  consumer.LineOf("live");
  uint64_t next = CommitMany(0x2000, 12 << 20, 60'000);
  for (uint64_t commit = 0x2000; commit < next; commit += 8) {
    ASSERT_EQ(consumer.LineOf("change"), LineAt(commit, 60'000)) << commit;
    Ack(consumer, CursorText(commit));
  }
}

}  // namespace
}  // namespace syncflow::feed
