// `tail` against a feed whose every word is scripted by the test.
#include "sidecar/command/tail.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <unistd.h>

#include <atomic>
#include <nlohmann/json.hpp>
#include <string>
#include <thread>

#include "tests/client/peer.h"

namespace syncflow::command {
namespace {

using client::ChangeLine;
using client::Peer;
using nlohmann::json;
using std::chrono::milliseconds;
using ::testing::HasSubstr;

class Tailed : public ::testing::Test {
 protected:
  Tailed() {
    EXPECT_EQ(pipe2(out_, O_CLOEXEC), 0);
    EXPECT_EQ(pipe2(err_, O_CLOEXEC), 0);
    options_.feed.address = listener_.address();
    options_.out = out_[1];
    options_.err = err_[1];
    options_.feed.backoff_min = milliseconds(2);
    options_.feed.backoff_max = milliseconds(50);
  }
  ~Tailed() override {
    if (thread_.joinable()) Interrupt();
    for (int fd : {out_[0], out_[1], err_[0], err_[1]}) close(fd);
  }

  void Start() {
    thread_ = std::thread([this] { exit_code_ = Tail(options_); });
  }
  Peer Accept() { return listener_.Accept(); }
  int Wait() {
    thread_.join();
    return exit_code_;
  }
  int Interrupt() {
    pthread_kill(thread_.native_handle(), SIGINT);
    return Wait();
  }
  void CloseReadingSide() {
    close(out_[0]);
    out_[0] = -1;
  }
  std::string OutLine() { return LineOf(out_[0]); }
  std::string ErrLine() { return LineOf(err_[0]); }
  static std::string LineOf(int fd) {
    std::string line;
    for (char c; read(fd, &c, 1) == 1 && c != '\n';) line.push_back(c);
    return line;
  }

  TailOptions options_;
  client::Listener listener_;
  int out_[2];
  int err_[2];
  std::thread thread_;
  std::atomic<int> exit_code_{-1};
};

TEST_F(Tailed, HelloCarriesWhatWasAsked) {
  options_.feed.from = "earliest";
  options_.feed.collections = {"todos", "n\"otes"};
  Start();
  Peer peer = Accept();
  std::string line = peer.ReadLine();
  EXPECT_THAT(line, ::testing::StartsWith(R"({"type":"hello",)"));
  json hello = json::parse(line);
  EXPECT_EQ(hello["version"], 1);
  EXPECT_EQ(hello["from"], "earliest");
  EXPECT_EQ(hello["collections"], json::array({"todos", "n\"otes"}));
  EXPECT_EQ(hello["request"].get<std::string>().size(), 8u);
}

TEST_F(Tailed, NamedSaysNothingOfFromAndAcknowledgesWhatWasPrinted) {
  options_.feed.name = "billing";
  Start();
  {
    Peer peer = Accept();
    json hello = peer.Greet("1.0.0");
    EXPECT_EQ(hello["name"], "billing");
    EXPECT_FALSE(hello.contains("from")) << "it goes on where the name stands";
    peer.SendBytes(ChangeLine("1.2.3") + "\n" + ChangeLine("1.2.4") + "\n");
    json ack = json::parse(peer.ReadLine());
    EXPECT_EQ(ack["type"], "ack");
    EXPECT_THAT(ack["cursor"], ::testing::AnyOf("1.2.3", "1.2.4"));
    EXPECT_EQ(OutLine(), ChangeLine("1.2.3")) << "before the ack was sent";
    if (ack["cursor"] == "1.2.3") ack = json::parse(peer.ReadLine());
    EXPECT_EQ(ack["cursor"], "1.2.4");
    peer.Send(R"({"type":"heartbeat","cursor":"1.9.0"})");
    EXPECT_EQ(json::parse(peer.ReadLine())["cursor"], "1.9.0") << "filtered ones advance too";
  }
  EXPECT_EQ(Accept().Greet("1.9.0")["from"], "1.9.0");
}

TEST_F(Tailed, NamedThatIsTakenOverEnds) {
  options_.feed.name = "billing";
  Start();
  Peer peer = Accept();
  peer.Greet();
  peer.Send(R"({"type":"error","code":"superseded","fatal":true,"retry":false,"message":"m"})");
  EXPECT_EQ(Wait(), 1);
}

TEST_F(Tailed, WithoutATerminalChangeLinesComeOutAsTheyAre) {
  Start();
  Peer peer = Accept();
  peer.Greet();
  std::string odd = R"({"type":"change","cursor":"1.2.3",   "op" : {"data":"ä\u0000"}})";
  peer.Send(odd);
  peer.Send(R"({"type":"live","cursor":"1.2.3"})");
  peer.Send(R"({"type":"of_the_future","x":1})");
  peer.Send(ChangeLine("1.2.4"));
  EXPECT_EQ(OutLine(), odd);
  EXPECT_EQ(OutLine(), ChangeLine("1.2.4"));
}

TEST_F(Tailed, LinesBeforeTheEchoOfOurHelloAreNotOurs) {
  Start();
  Peer peer = Accept();
  peer.Send(R"({"type":"hello","request":null,"start":"0.0.0","heartbeat":30})");
  peer.Send(ChangeLine("0.0.1", "of the plain stream"));
  peer.Greet();
  peer.Send(ChangeLine("0.0.1", "ours"));
  EXPECT_EQ(OutLine(), ChangeLine("0.0.1", "ours"));
}

TEST_F(Tailed, LineCutIntoBytesArrivesWhole) {
  Start();
  Peer peer = Accept();
  peer.Greet();
  for (char c : ChangeLine("1.2.3") + "\n") peer.SendBytes({c});
  EXPECT_EQ(OutLine(), ChangeLine("1.2.3"));
}

TEST_F(Tailed, LargeLineArrivesWhole) {
  Start();
  Peer peer = Accept();
  peer.Greet();
  std::string large = ChangeLine("1.2.3", std::string(3 << 20, 'x'));
  std::thread sender([&] { peer.Send(large); });
  std::string got = OutLine();
  sender.join();
  EXPECT_TRUE(got == large) << got.size();
}

TEST_F(Tailed, ReconnectsAfterTheLastChange) {
  Start();
  {
    Peer peer = Accept();
    EXPECT_FALSE(peer.Greet("1.0.0").contains("from")) << "latest is what the server takes";
    peer.Send(ChangeLine("1.2.3"));
    peer.Send(ChangeLine("1.2.4"));
    peer.SendBytes(R"({"type":"change","cursor":"1.2.5","op":{"torn)");
  }
  Peer peer = Accept();
  EXPECT_EQ(peer.Greet()["from"], "1.2.4");
  peer.Send(ChangeLine("1.2.5"));
  EXPECT_EQ(OutLine(), ChangeLine("1.2.3"));
  EXPECT_EQ(OutLine(), ChangeLine("1.2.4"));
  EXPECT_EQ(OutLine(), ChangeLine("1.2.5"));
  EXPECT_THAT(ErrLine(), HasSubstr("reconnecting in "));
}

TEST_F(Tailed, ReconnectsWhereItStartedWhenNothingCame) {
  Start();
  Accept().Greet("1.0.0");
  EXPECT_EQ(Accept().Greet()["from"], "1.0.0") << "not latest: changes in between would be lost";
}

TEST_F(Tailed, HeartbeatAndLiveMoveTheCursor) {
  Start();
  {
    Peer peer = Accept();
    peer.Greet("1.0.0");
    peer.Send(R"({"type":"live","cursor":"1.5.0"})");
  }
  {
    Peer peer = Accept();
    EXPECT_EQ(peer.Greet()["from"], "1.5.0");
    peer.Send(R"({"type":"heartbeat","cursor":"1.6.0","head":"1.9.0"})");
  }
  EXPECT_EQ(Accept().Greet()["from"], "1.6.0");
}

TEST_F(Tailed, EveryConnectionHasItsOwnRequest) {
  Start();
  json first = Accept().Greet();
  EXPECT_NE(first["request"], Accept().Greet()["request"]);
}

TEST_F(Tailed, SilenceBeyondTheHeartbeatMeansReconnect) {
  Start();
  Peer dead = Accept();
  dead.Greet("1.0.0", 0.02);
  Peer next = Accept();
  next.Greet();
  EXPECT_THAT(ErrLine(), HasSubstr("no line for 50 ms"));
}

TEST_F(Tailed, ServerThatNeverGreetsIsLeft) {
  options_.feed.hello_timeout = milliseconds(20);
  Start();
  Peer dead = Accept();
  Peer next = Accept();
  EXPECT_FALSE(next.ReadLine().empty());
}

TEST_F(Tailed, ServerThatIsNotThereIsTriedAgain) {
  listener_.Shut();
  Start();
  EXPECT_THAT(ErrLine(), HasSubstr("cannot connect to 127.0.0.1:"));
  EXPECT_THAT(ErrLine(), HasSubstr("cannot connect to 127.0.0.1:"));
  EXPECT_EQ(Interrupt(), 0);
}

TEST_F(Tailed, WhatMustNotBeRetriedIsNot) {
  Start();
  Peer peer = Accept();
  peer.Greet();
  peer.Send(ChangeLine("1.2.3"));
  peer.Send(
      R"({"type":"error","code":"epoch_changed","fatal":true,"retry":false,"message":"another history"})");
  EXPECT_EQ(Wait(), 1);
  EXPECT_EQ(OutLine(), ChangeLine("1.2.3")) << "what came before is not lost";
  EXPECT_EQ(ErrLine(), "epoch_changed: another history");
}

TEST_F(Tailed, RefusalBeforeTheGreetingCounts) {
  Start();
  Peer peer = Accept();
  peer.Send(
      R"({"type":"error","code":"auth_required","fatal":true,"retry":false,"message":"a token"})");
  EXPECT_EQ(Wait(), 1);
}

TEST_F(Tailed, FatalErrorThatMayPassIsRetried) {
  Start();
  {
    Peer peer = Accept();
    peer.Greet("1.0.0");
    peer.Send(
        R"({"type":"error","code":"too_many_connections","fatal":true,"retry":true,"message":"full"})");
    EXPECT_TRUE(peer.SeesTheEnd());
  }
  EXPECT_EQ(Accept().Greet()["from"], "1.0.0");
  EXPECT_THAT(ErrLine(), HasSubstr("too_many_connections: full; reconnecting"));
}

TEST_F(Tailed, ErrorThatIsNotFatalIsOnlySaid) {
  Start();
  Peer peer = Accept();
  peer.Greet();
  peer.Send(
      R"({"type":"error","code":"upstream_down","fatal":false,"message":"PostgreSQL is away"})");
  peer.Send(ChangeLine("1.2.3"));
  EXPECT_EQ(ErrLine(), "upstream_down: PostgreSQL is away");
  EXPECT_EQ(OutLine(), ChangeLine("1.2.3"));
}

TEST_F(Tailed, GapIsSaidPrintedAndPassed) {
  Start();
  std::string gap =
      R"({"type":"gap","code":"history_lost","after":"1.1.0","resume":"1.7.0","reason":"retention"})";
  {
    Peer peer = Accept();
    peer.Greet("1.0.0");
    peer.Send(gap);
  }
  EXPECT_EQ(Accept().Greet()["from"], "1.7.0");
  EXPECT_EQ(ErrLine(),
            "gap: changes after 1.1.0 are lost, going on at 1.7.0 (history_lost: retention)");
  EXPECT_EQ(OutLine(), gap);
}

TEST_F(Tailed, ByeIsFollowedByTheDelayItNames) {
  Start();
  {
    Peer peer = Accept();
    peer.Greet("1.0.0");
    peer.Send(R"({"type":"bye","code":"shutdown","cursor":"1.0.0","retry_ms":7})");
  }
  EXPECT_EQ(Accept().Greet()["from"], "1.0.0");
  EXPECT_EQ(ErrLine(), "the server said bye (shutdown); reconnecting in 7 ms");
}

TEST_F(Tailed, GarbageEndsTheConnectionNotTheProgram) {
  for (const char* garbage : {"HTTP/1.1 400 Bad Request", "", "\x16\x03\x01", "[1]", "null", "{"}) {
    if (!thread_.joinable()) Start();
    Peer peer = Accept();
    peer.Greet();
    peer.Send(garbage);
    EXPECT_TRUE(peer.SeesTheEnd());
  }
  Peer peer = Accept();
  peer.Greet();
  peer.Send(ChangeLine("1.2.3"));
  EXPECT_EQ(OutLine(), ChangeLine("1.2.3"));
}

TEST_F(Tailed, MistypedFieldsAreSurvived) {
  Start();
  {
    Peer peer = Accept();
    json hello = json::parse(peer.ReadLine());
    json answer = {
        {"type", "hello"}, {"request", hello["request"]}, {"heartbeat", "x"}, {"start", 7}};
    peer.Send(answer.dump());
    peer.Send(R"({"type":"gap","after":1,"resume":null})");
    peer.Send(R"({"type":"live","cursor":[]})");
    peer.Send(R"({"type":7})");
    peer.Send(R"({"type":"bye","retry_ms":"soon"})");
    EXPECT_TRUE(peer.SeesTheEnd());
  }
  EXPECT_FALSE(Accept().Greet().contains("from")) << "nothing was understood";
}

TEST_F(Tailed, InterruptEndsWithZero) {
  Start();
  Peer peer = Accept();
  peer.Greet();
  EXPECT_EQ(Interrupt(), 0);
  EXPECT_TRUE(peer.SeesTheEnd());
}

TEST_F(Tailed, InterruptEndsTheWaitBetweenTwoTries) {
  options_.feed.backoff_min = options_.feed.backoff_max = std::chrono::hours(1);
  Start();
  Accept();
  EXPECT_THAT(ErrLine(), HasSubstr("reconnecting"));
  EXPECT_EQ(Interrupt(), 0);
}

TEST_F(Tailed, ReaderThatWentAwayEndsItWithZero) {
  Start();
  Peer peer = Accept();
  peer.Greet();
  CloseReadingSide();
  peer.Send(ChangeLine("1.2.3"));
  EXPECT_EQ(Wait(), 0);
}

TEST_F(Tailed, FullPipeLosesNothing) {
  fcntl(out_[1], F_SETFL, O_NONBLOCK);
  Start();
  Peer peer = Accept();
  peer.Greet();
  constexpr int kLines = 5000;
  std::thread sender([&] {
    for (int i = 0; i < kLines; ++i) peer.Send(ChangeLine("1.2." + std::to_string(i)));
  });
  int wrong = 0;
  for (int i = 0; i < kLines; ++i) wrong += OutLine() != ChangeLine("1.2." + std::to_string(i));
  sender.join();
  EXPECT_EQ(wrong, 0);
}

TEST(TailAddress, ThatIsNoneIsAUsageError) {
  TailOptions options;
  options.feed.address = "nowhere";
  options.err = open("/dev/null", O_WRONLY | O_CLOEXEC);
  EXPECT_EQ(Tail(options), 2);
  close(options.err);
}

}  // namespace
}  // namespace syncflow::command
