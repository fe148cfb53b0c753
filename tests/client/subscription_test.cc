// A subscription against a feed whose every word is scripted by the test.
#include "sidecar/client/subscription.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>
#include <functional>
#include <thread>
#include <vector>

#include "tests/client/rig.h"

namespace syncflow::client {
namespace {

using nlohmann::json;
using std::chrono::milliseconds;
using ::testing::HasSubstr;
using Type = Event::Type;

class SubscriptionTest : public ScriptedFeed {
 protected:
  using Script = std::function<void(Peer&)>;

  SubscriptionTest() {
    options_.backoff_min = milliseconds(2);
    options_.backoff_max = milliseconds(50);
  }

  // One script for each connection, beside the test; a connection ends with its script.
  void Serve(std::vector<Script> scripts) {
    server_ = std::thread([this, scripts = std::move(scripts)] {
      for (const Script& script : scripts) {
        Peer peer = listener_.Accept();
        script(peer);
      }
    });
    feed_.emplace(options_);
  }
  std::optional<Event> Next() { return feed_->Next(); }
  // The cursor of the change that must come next.
  std::string Change() { return std::string(Expect(Type::kChange).cursor); }
};

TEST_F(SubscriptionTest, EveryLineIsAnEvent) {
  Serve({[](Peer& peer) {
    peer.Greet("1.0.0");
    peer.Send(ChangeLine("1.2.3"));
    peer.Send(R"({"type":"live","cursor":"1.2.3"})");
    peer.Send(R"({"type":"heartbeat","cursor":"1.2.5","head":"1.2.9"})");
    peer.Send(
        R"({"type":"gap","code":"history_lost","after":"1.2.5","resume":"1.7.0","reason":"r"})");
    peer.Send(R"({"type":"acked","cursor":"1.2.3"})");
    peer.Send(R"({"type":"error","code":"upstream_down","fatal":false,"message":"away"})");
    peer.Send(R"({"type":"of_the_future","cursor":"9.9.9"})");
    peer.Send(R"({"type":"bye","code":"shutdown","cursor":"1.7.0","retry_ms":7})");
    peer.AwaitEnd();
  }});
  EXPECT_EQ(Expect(Type::kConnected).cursor, "1.0.0");
  Event change = Expect(Type::kChange);
  EXPECT_EQ(change.line, ChangeLine("1.2.3"));
  EXPECT_EQ(change.cursor, "1.2.3");
  EXPECT_EQ(Expect(Type::kLive).cursor, "1.2.3");
  EXPECT_EQ(Expect(Type::kHeartbeat).cursor, "1.2.5");
  Event gap = Expect(Type::kGap);
  EXPECT_EQ(gap.code, "history_lost");
  EXPECT_EQ(gap.after, "1.2.5");
  EXPECT_EQ(gap.cursor, "1.7.0");
  EXPECT_EQ(gap.message, "r");
  Event acked = Expect(Type::kAcked);
  EXPECT_EQ(acked.acked, "1.2.3");
  EXPECT_EQ(acked.cursor, "") << "whoever stores it would go back";
  Event problem = Expect(Type::kProblem);
  EXPECT_EQ(problem.code, "upstream_down");
  EXPECT_EQ(problem.message, "away");
  EXPECT_EQ(Expect(Type::kOther).cursor, "") << "nobody knows what it means";
  Event end = Expect(Type::kDisconnected);
  EXPECT_EQ(end.code, "shutdown");
  EXPECT_EQ(end.message, "the server said bye (shutdown)");
  EXPECT_EQ(end.retry_in, milliseconds(7));
}

TEST_F(SubscriptionTest, ComesBackAfterWhatItHandedOut) {
  json second;
  Serve({[](Peer& peer) {
           peer.Greet("1.0.0");
           peer.Send(ChangeLine("1.2.3"));
           peer.Send(ChangeLine("1.2.4"));
         },
         [&](Peer& peer) {
           second = peer.Greet("1.2.4");
           peer.AwaitEnd();
         }});
  Expect(Type::kConnected);
  EXPECT_EQ(Change(), "1.2.3");
  EXPECT_EQ(Change(), "1.2.4");
  EXPECT_EQ(Expect(Type::kDisconnected).message, "the server closed the connection");
  Expect(Type::kConnected);
  Finish();
  EXPECT_EQ(second["from"], "1.2.4");
}

TEST_F(SubscriptionTest, NamedComesBackAfterWhatWasAcknowledged) {
  options_.name = "billing";
  std::vector<json> hellos(3);
  Serve({[&](Peer& peer) {
           hellos[0] = peer.Greet("1.0.0");
           peer.Send(ChangeLine("1.2.3"));
         },
         [&](Peer& peer) {
           hellos[1] = peer.Greet("1.0.0");
           peer.Send(ChangeLine("1.2.3"));
           peer.Send(ChangeLine("1.2.4"));
         },
         [&](Peer& peer) {
           hellos[2] = peer.Greet("1.2.3");
           peer.AwaitEnd();
         }});
  Expect(Type::kConnected);
  Change();
  Expect(Type::kDisconnected);
  Expect(Type::kConnected);
  EXPECT_EQ(Change(), "1.2.3") << "it was handed out, but never acknowledged";
  EXPECT_EQ(Change(), "1.2.4");
  feed_->Acknowledge("1.2.3");
  Expect(Type::kDisconnected);
  Expect(Type::kConnected);
  Finish();
  EXPECT_FALSE(hellos[0].contains("from"));
  EXPECT_EQ(hellos[1]["from"], "1.0.0");
  EXPECT_EQ(hellos[2]["from"], "1.2.3");
}

TEST_F(SubscriptionTest, AckIsSentBeforeItWaits) {
  options_.window = 1;
  json ack;
  Serve({[&](Peer& peer) {
    EXPECT_EQ(peer.Greet("1.0.0")["window"], 1);
    peer.Send(ChangeLine("1.2.3"));
    ack = json::parse(peer.ReadLine());
    peer.Send(ChangeLine("1.2.4"));
    peer.AwaitEnd();
  }});
  Expect(Type::kConnected);
  EXPECT_EQ(Change(), "1.2.3");
  feed_->Acknowledge("1.2.3");
  EXPECT_EQ(Change(), "1.2.4");
  Finish();
  EXPECT_EQ(ack, json::parse(R"({"type":"ack","cursor":"1.2.3"})"));
}

TEST_F(SubscriptionTest, LastAckIsSentAtTheEnd) {
  options_.name = "billing";
  std::string ack;
  Serve({[&](Peer& peer) {
    peer.Greet("1.0.0");
    peer.Send(ChangeLine("1.2.3"));
    ack = peer.ReadLine();
  }});
  Expect(Type::kConnected);
  feed_->Acknowledge(Change());
  Finish();
  EXPECT_THAT(ack, HasSubstr("1.2.3"));
}

TEST_F(SubscriptionTest, AckThatNobodyKeepsIsNotSent) {
  std::string said;
  Serve({[&](Peer& peer) {
    peer.Greet("1.0.0");
    peer.Send(ChangeLine("1.2.3"));
    said = peer.ReadLine();
  }});
  Expect(Type::kConnected);
  feed_->Acknowledge(Change());
  Finish();
  EXPECT_EQ(said, "");
}

TEST_F(SubscriptionTest, RefusalIsThrownAndNeverRepeated) {
  Serve({[](Peer& peer) {
    peer.Greet("1.0.0");
    peer.Send(ChangeLine("1.2.3"));
    peer.Send(
        R"({"type":"error","code":"history_lost","fatal":true,"retry":false,"message":"gone"})");
    peer.AwaitEnd();
  }});
  Expect(Type::kConnected);
  EXPECT_EQ(Change(), "1.2.3");
  for (int again = 0; again < 2; ++again) {
    try {
      Next();
      ADD_FAILURE() << "nothing was thrown";
    } catch (const Refused& refused) {
      EXPECT_EQ(refused.code, "history_lost");
      EXPECT_STREQ(refused.what(), "gone");
    }
  }
}

TEST_F(SubscriptionTest, RefusalThatMayPassIsTriedAgain) {
  Serve(
      {[](Peer& peer) {
         peer.Send(
             R"({"type":"error","code":"too_many_connections","fatal":true,"retry":true,"message":"full"})");
         peer.AwaitEnd();
       },
       [](Peer& peer) { peer.Greet(); }});
  Event event = Expect(Type::kDisconnected);
  EXPECT_EQ(event.code, "too_many_connections");
  EXPECT_EQ(event.message, "too_many_connections: full");
  Expect(Type::kConnected);
}

TEST_F(SubscriptionTest, PausesGrowAndAreJittered) {
  options_.backoff_min = milliseconds(8);
  options_.backoff_max = milliseconds(20);
  listener_.Shut();
  Serve({});
  auto pause = [this] { return Expect(Type::kDisconnected).retry_in.count(); };
  EXPECT_THAT(pause(), ::testing::AllOf(::testing::Ge(4), ::testing::Le(8)));
  EXPECT_THAT(pause(), ::testing::AllOf(::testing::Ge(8), ::testing::Le(16)));
  for (int i = 0; i < 5; ++i)
    EXPECT_THAT(pause(), ::testing::AllOf(::testing::Ge(10), ::testing::Le(20)));
}

TEST_F(SubscriptionTest, SnapshotGoesOnWhereItBroke) {
  options_.from = "snapshot";
  std::vector<json> hellos(4);
  auto document = [](const char* snapshot, int number) {
    return R"({"type":"document","snapshot":")" + std::string(snapshot) + R"(","number":)" +
           std::to_string(number) + R"(,"document":{"id":"d"}})";
  };
  Serve({[&](Peer& peer) {
           hellos[0] = peer.Greet();
           peer.Send(R"({"type":"snapshot_begin","snapshot":"s-1","as_of":"1.5.0"})");
           peer.Send(R"({"type":"heartbeat","head":"1.9.0"})");
           peer.Send(document("s-1", 0));
           peer.Send(document("s-1", 3));
         },
         [&](Peer& peer) {
           hellos[1] = peer.Greet();
           peer.Send(R"({"type":"snapshot_begin","snapshot":"s-1","as_of":"1.5.0"})");
         },
         [&](Peer& peer) {
           hellos[2] = peer.Greet();
           peer.Send(R"({"type":"snapshot_begin","snapshot":"s-2","as_of":"1.6.0"})");
           peer.Send(document("s-2", 0));
           peer.Send(R"({"type":"snapshot_end","snapshot":"s-2","cursor":"1.6.0","documents":1})");
         },
         [&](Peer& peer) { hellos[3] = peer.Greet("1.6.0"); }});
  EXPECT_EQ(Expect(Type::kConnected).cursor, "");
  EXPECT_FALSE(Expect(Type::kSnapshotBegin).resumed);
  EXPECT_EQ(Expect(Type::kHeartbeat).cursor, "");
  EXPECT_EQ(Expect(Type::kDocument).number, 0u);
  Event third = Expect(Type::kDocument);
  EXPECT_EQ(third.number, 3u);
  EXPECT_EQ(third.snapshot, "s-1");
  Expect(Type::kDisconnected);
  Expect(Type::kConnected);
  EXPECT_TRUE(Expect(Type::kSnapshotBegin).resumed);
  Expect(Type::kDisconnected);
  Expect(Type::kConnected);
  EXPECT_FALSE(Expect(Type::kSnapshotBegin).resumed) << "the first one is gone";
  Expect(Type::kDocument);
  Event end = Expect(Type::kSnapshotEnd);
  EXPECT_EQ(end.cursor, "1.6.0");
  EXPECT_EQ(end.number, 1u);
  Expect(Type::kDisconnected);
  Expect(Type::kConnected);
  Finish();
  EXPECT_FALSE(hellos[0].contains("snapshot"));
  EXPECT_EQ(hellos[1]["snapshot"], "s-1");
  EXPECT_EQ(hellos[1]["number"], 4);
  EXPECT_EQ(hellos[2]["number"], 4) << "nothing more came";
  EXPECT_EQ(hellos[3]["from"], "1.6.0");
}

TEST_F(SubscriptionTest, NamedKeepsASnapshotUntilItsEndIsAcknowledged) {
  options_.from = "snapshot";
  options_.name = "billing";
  std::vector<json> hellos(3);
  const char* end = R"({"type":"snapshot_end","snapshot":"s-1","cursor":"1.6.0","documents":0})";
  Serve({[&](Peer& peer) {
           hellos[0] = peer.Greet();
           peer.Send(end);
         },
         [&](Peer& peer) {
           hellos[1] = peer.Greet();
           peer.Send(end);
         },
         [&](Peer& peer) { hellos[2] = peer.Greet("1.6.0"); }});
  Expect(Type::kConnected);
  Expect(Type::kSnapshotEnd);
  Expect(Type::kDisconnected);
  Expect(Type::kConnected);
  feed_->Acknowledge(Expect(Type::kSnapshotEnd).cursor);
  Expect(Type::kDisconnected);
  Expect(Type::kConnected);
  Finish();
  EXPECT_EQ(hellos[1]["from"], "snapshot");
  EXPECT_EQ(hellos[2]["from"], "1.6.0");
}

TEST_F(SubscriptionTest, HasMoreMeansThatNextWillNotWait) {
  Serve({[](Peer& peer) {
    peer.SendBytes(R"({"type":"change","cursor":"0.0.1","op":{}})"
                   "\n");
    json hello = json::parse(peer.ReadLine());
    std::string answer = json{{"type", "hello"}, {"request", hello["request"]}}.dump();
    peer.SendBytes(answer + "\n" + ChangeLine("1.2.3") + "\n" + ChangeLine("1.2.4") +
                   "\n{\"type\":\"ch");
    peer.AwaitEnd();
  }});
  EXPECT_FALSE(feed_->HasMore());
  Expect(Type::kConnected);
  Change();
  EXPECT_TRUE(feed_->HasMore());
  EXPECT_EQ(Change(), "1.2.4");
  EXPECT_FALSE(feed_->HasMore()) << "half a line is none";
}

TEST_F(SubscriptionTest, ChangesInAnotherFormCountToo) {
  Serve({[](Peer& peer) {
    peer.Greet();
    peer.Send(R"({ "cursor":"1.2.3", "type":"change", "op":{} })");
    peer.Send(R"({"type":"document","number":4,"snapshot":"s-1","document":{}})");
    peer.Send(R"({"type":"change","op":{}})");
    peer.AwaitEnd();
  }});
  Expect(Type::kConnected);
  EXPECT_EQ(Change(), "1.2.3");
  EXPECT_EQ(Expect(Type::kDocument).number, 4u);
  EXPECT_THAT(Expect(Type::kDisconnected).message, HasSubstr("without a cursor"));
}

TEST_F(SubscriptionTest, FeedThatWaitsForItsHistoryIsNotLeft) {
  options_.hello_timeout = milliseconds(200);
  Serve({[](Peer& peer) {
    std::string hello = peer.ReadLine();
    peer.Send(
        R"({"type":"error","code":"upstream_down","fatal":false,"message":"not reached yet"})");
    std::this_thread::sleep_for(milliseconds(400));
    peer.Send(R"({"type":"hello","request":)" + json::parse(hello)["request"].dump() + "}");
    peer.AwaitEnd();
  }});
  Expect(Type::kProblem);
  Expect(Type::kConnected);
}

TEST_F(SubscriptionTest, SilenceOfTwoAndAHalfHeartbeatsIsTheEnd) {
  Serve({[](Peer& peer) {
    peer.Greet("1.0.0", 0.02);
    peer.AwaitEnd();
  }});
  Expect(Type::kConnected);
  EXPECT_EQ(Expect(Type::kDisconnected).message, "no line for 50 ms");
}

TEST_F(SubscriptionTest, TokenIsAskedForAtEveryConnection) {
  int asked = 0;
  options_.token = [&]() -> std::string {
    if (++asked == 2) throw std::runtime_error("the vault is sealed");
    return "t" + std::to_string(asked);
  };
  std::vector<json> hellos(2);
  Serve({[&](Peer& peer) { hellos[0] = peer.Greet(); },
         [&](Peer& peer) { hellos[1] = peer.Greet(); }});
  Expect(Type::kConnected);
  Expect(Type::kDisconnected);
  EXPECT_EQ(Expect(Type::kDisconnected).message, "the vault is sealed");
  Expect(Type::kConnected);
  Finish();
  EXPECT_EQ(hellos[0]["token"], "t1");
  EXPECT_EQ(hellos[1]["token"], "t3");
}

TEST_F(SubscriptionTest, StopEndsEveryWait) {
  Serve({[](Peer& peer) {
    peer.Greet("1.0.0");
    peer.AwaitEnd();
  }});
  Expect(Type::kConnected);
  std::thread stopper([this] { feed_->Stop(); });
  EXPECT_FALSE(Next());
  stopper.join();
  EXPECT_FALSE(Next()) << "once and for all";
}

TEST_F(SubscriptionTest, StopEndsThePause) {
  options_.backoff_min = options_.backoff_max = std::chrono::hours(1);
  listener_.Shut();
  Serve({});
  Expect(Type::kDisconnected);
  std::thread stopper([this] { feed_->Stop(); });
  EXPECT_FALSE(Next());
  stopper.join();
}

TEST_F(SubscriptionTest, LinesMayBeLongAsTheFeedSays) {
  std::string large = ChangeLine("1.2.3", std::string(3 << 20, 'x'));
  Serve({[&](Peer& peer) {
    peer.Greet("1.0.0");
    peer.Send(large);
    peer.Send(ChangeLine("1.2.4"));
    peer.AwaitEnd();
  }});
  Expect(Type::kConnected);
  EXPECT_TRUE(Expect(Type::kChange).line == large);
  EXPECT_EQ(Change(), "1.2.4");
}

TEST_F(SubscriptionTest, LineWithoutAnEndIsGivenUp) {
  Serve({[](Peer& peer) {
    peer.Greet("1.0.0");
    std::string piece(1 << 20, 'x');
    for (int i = 0; i < 80; ++i) peer.SendBytes(piece);
  }});
  Expect(Type::kConnected);
  EXPECT_THAT(Expect(Type::kDisconnected).message, HasSubstr("more than 67108864 bytes"));
}

TEST(SubscriptionOptions, AddressMustBeOne) {
  Options options;
  options.address = "nowhere";
  EXPECT_THROW(Subscription{options}, std::invalid_argument);
}

TEST(TokenFile, ItsFirstLineIsTheToken) {
  std::string path = ::testing::TempDir() + "syncflow-token-" + std::to_string(getpid());
  std::ofstream(path) << "secret\nnot this\n";
  EXPECT_EQ(TokenFromFile(path)(), "secret");
  unlink(path.c_str());
  EXPECT_THROW(TokenFromFile(path)(), std::runtime_error);
}

}  // namespace
}  // namespace syncflow::client
