// The feed as a client sees it: raw sockets against a real journal.
#include "sidecar/feed/feed.h"

#include <arpa/inet.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <filesystem>
#include <memory>

#include "sidecar/feed/encode.h"

namespace syncflow::feed {
namespace {

using replication::Lsn;
using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::StartsWith;

constexpr int kPatience = 30'000;  // milliseconds; for hangs, not for speed

// A consumer that knows nothing but sockets and lines.
class Client {
 public:
  explicit Client(uint16_t port) : fd_(socket(AF_INET, SOCK_STREAM, 0)) {
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_port = htons(port);
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    EXPECT_EQ(connect(fd_, reinterpret_cast<sockaddr*>(&address), sizeof address), 0);
  }
  ~Client() { close(fd_); }
  Client(const Client&) = delete;

  void Send(std::string_view text) const {
    EXPECT_EQ(send(fd_, text.data(), text.size(), MSG_NOSIGNAL), static_cast<ssize_t>(text.size()));
  }
  void Hello(const std::string& more) const {
    Send(R"({"type":"hello","version":1)" + more + "}\n");
  }
  void EndInput() const { shutdown(fd_, SHUT_WR); }

  // The next line with its end; "" when the connection has ended.
  std::string Line() {
    size_t end;
    while ((end = buffer_.find('\n')) == std::string::npos) {
      if (!Fill()) return "";
    }
    std::string line = buffer_.substr(0, end + 1);
    buffer_.erase(0, end + 1);
    return line;
  }
  std::string LineOf(const std::string& type) {
    for (std::string line = Line(); !line.empty(); line = Line()) {
      if (line.starts_with("{\"type\":\"" + type + "\"")) return line;
    }
    return "";
  }
  // `count` change lines, whatever stands between them.
  std::string Changes(size_t count) {
    std::string out;
    for (; count > 0; --count) out += LineOf("change");
    return out;
  }
  // What the connection ends with; without a line end when it was cut inside a line.
  std::string LastLine() {
    Ended();
    size_t before =
        buffer_.size() < 2 ? std::string::npos : buffer_.rfind('\n', buffer_.size() - 2);
    return before == std::string::npos ? buffer_ : buffer_.substr(before + 1);
  }
  bool Ended() {
    while (Fill()) {
    }
    return true;
  }

 private:
  bool Fill() {
    pollfd wait{fd_, POLLIN, 0};
    if (poll(&wait, 1, kPatience) <= 0) {
      ADD_FAILURE() << "nothing came; so far: " << buffer_;
      return false;
    }
    char bytes[65536];
    ssize_t got = recv(fd_, bytes, sizeof bytes, 0);
    if (got <= 0) return false;
    buffer_.append(bytes, static_cast<size_t>(got));
    return true;
  }

  int fd_;
  std::string buffer_;
};

class FeedTest : public ::testing::Test {
 protected:
  FeedTest() {
    std::string name = (std::filesystem::temp_directory_path() / "syncflow-feed-XXXXXX").string();
    journal_options_.directory = mkdtemp(name.data());
    journal_options_.allow_any_filesystem = true;
    options_.listen = "127.0.0.1:0";
    options_.hello_timeout = std::chrono::milliseconds(500);
  }
  ~FeedTest() override {
    feed_.reset();
    journal_.reset();
    std::filesystem::remove_all(journal_options_.directory);
  }

  void Start(bool bind = true) {
    journal_ = std::make_unique<journal::Journal>(journal_options_);
    feed_ = std::make_unique<Feed>(options_, *journal_);
    journal_->OnAnnounce([this] { feed_->Announce(); });
    if (bind) Bind();
    feed_->Start();
  }
  void Bind() {
    epoch_ = journal_->Bind({"1", 1, "app", "public.operations", "slot"}, Lsn(0x1000));
    feed_->Announce();
  }

  // One transaction at `commit`.
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

  std::string CursorText(uint64_t commit, uint64_t index) const {
    return journal::Cursor{epoch_, {Lsn(commit), index}}.ToString();
  }
  std::string From(const std::string& from) const { return R"(,"from":")" + from + "\""; }

  journal::Options journal_options_;
  Options options_;
  std::unique_ptr<journal::Journal> journal_;
  std::unique_ptr<Feed> feed_;
  journal::Epoch epoch_{};
  std::string written_;
  std::vector<size_t> ends_;  // of each line in written_
};

TEST_F(FeedTest, SilentClientGetsEverythingFromNowOn) {
  Start();
  Commit(0x2000, 3);
  Client client(feed_->port());
  EXPECT_THAT(client.Line(), AllOf(HasSubstr("\"mode\":\"plain\""), HasSubstr("\"heartbeat\":30"),
                                   HasSubstr(CursorText(0x2000, 2))));
  EXPECT_THAT(client.Line(), StartsWith("{\"type\":\"live\""));
  size_t before = written_.size();
  Commit(0x3000, 2);
  EXPECT_EQ(client.Changes(2), written_.substr(before));
}

TEST_F(FeedTest, ClientThatOnlyClosesItsSendingSideIsServed) {
  Start();
  Client client(feed_->port());
  client.EndInput();
  EXPECT_THAT(client.Line(), HasSubstr("plain"));
  Commit(0x2000, 1);
  EXPECT_EQ(client.Changes(1), written_);
}

TEST_F(FeedTest, EarliestGivesEverythingThenLive) {
  Start();
  Commit(0x2000, 3);
  Commit(0x3000, 2);
  Client client(feed_->port());
  client.Hello(From("earliest") + R"(,"request":"a1")");
  EXPECT_THAT(client.Line(), AllOf(HasSubstr("\"request\":\"a1\""), HasSubstr("negotiated")));
  EXPECT_EQ(client.Changes(5), written_);
  EXPECT_THAT(client.Line(),
              AllOf(StartsWith("{\"type\":\"live\""), HasSubstr(CursorText(0x3000, 1))));
}

TEST_F(FeedTest, AnyCursorGivesExactlyTheRest) {
  Start();
  for (uint64_t commit = 0x2000; commit < 0x2050; commit += 16) Commit(commit, 3);
  for (size_t line = 0; line < ends_.size(); ++line) {
    Client client(feed_->port());
    client.Hello(From(CursorText(0x2000 + line / 3 * 16, line % 3)));
    EXPECT_EQ(client.Changes(ends_.size() - line - 1), written_.substr(ends_[line]));
    EXPECT_NE(client.LineOf("live"), "") << line;
  }
}

TEST_F(FeedTest, HelloMayComeByteByByteWithAnyLineEnd) {
  Start();
  Commit(0x2000, 1);
  for (const char* end : {"\n", "\r\n"}) {
    Client client(feed_->port());
    for (char c : R"({"type":"hello","version":1,"from":"earliest"})" + std::string(end))
      client.Send({&c, 1});
    EXPECT_THAT(client.Line(), HasSubstr("negotiated"));
    EXPECT_EQ(client.Changes(1), written_);
  }
}

TEST_F(FeedTest, GluedCommandsAreAllAnswered) {
  Start();
  Client client(feed_->port());
  client.Send(
      "{\"type\":\"hello\",\"version\":1}\n{\"type\":\"ping\",\"id\":\"1\"}\n\n{\"type\":\"ping\","
      "\"id\":\"2\"}\n");
  EXPECT_THAT(client.LineOf("pong"), HasSubstr("\"id\":\"1\""));
  EXPECT_THAT(client.LineOf("pong"), HasSubstr("\"id\":\"2\""));
}

TEST_F(FeedTest, LateHelloStartsAnew) {
  Start();
  Commit(0x2000, 2);
  Client client(feed_->port());
  EXPECT_THAT(client.Line(), HasSubstr("plain"));
  client.Hello(From("earliest") + R"(,"request":"late")");
  EXPECT_THAT(client.LineOf("hello"), HasSubstr("\"request\":\"late\""));
  EXPECT_EQ(client.Changes(2), written_);
}

TEST_F(FeedTest, EachRefusalIsToldAndEndsTheConnection) {
  Start();
  Commit(0x2000, 1);
  std::pair<std::string, std::string> cases[] = {
      {"garbage\n", "bad_json"},
      {"{\"type\":\"hello\",\"version\":7}\n", "unsupported_version"},
      {"{\"type\":\"hello\",\"version\":1,\"from\":\"x\"}\n", "bad_cursor"},
      {"{\"type\":\"hello\",\"version\":1,\"collections\":[\"a\"]}\n", "bad_hello"},
      {"{\"type\":\"hello\",\"version\":1" + From("00000000.0000000000002000.0") + "}\n",
       "epoch_changed"},
      {"{\"type\":\"hello\",\"version\":1" + From(CursorText(0x9000, 0)) + "}\n", "cursor_ahead"},
      {"{\"type\":\"hello\",\"version\":1" + From(CursorText(0x500, 0)) + "}\n", "history_lost"},
      {std::string(9000, 'x'), "line_too_long"},
  };
  for (const auto& [sent, code] : cases) {
    Client client(feed_->port());
    client.Send(sent);
    EXPECT_THAT(client.LineOf("error"),
                AllOf(HasSubstr("\"code\":\"" + code + "\""), HasSubstr("\"fatal\":true")));
    EXPECT_TRUE(client.Ended()) << code;
  }
}

TEST_F(FeedTest, AckIsAnsweredAndForgiven) {
  Start();
  Client client(feed_->port());
  client.Hello("");
  client.Send("{\"type\":\"ack\",\"cursor\":\"x\"}\n");
  EXPECT_THAT(client.LineOf("error"), AllOf(HasSubstr("bad_ack"), HasSubstr("\"fatal\":false")));
  Commit(0x2000, 1);
  EXPECT_EQ(client.Changes(1), written_);
}

TEST_F(FeedTest, HeartbeatTellsHowFarTheConsumerIs) {
  Start();
  Client client(feed_->port());
  client.Hello(R"(,"heartbeat":1)");
  client.LineOf("live");
  Commit(0x2000, 1);
  client.Changes(1);
  EXPECT_THAT(client.LineOf("heartbeat"), HasSubstr("\"cursor\":\"" + CursorText(0x2000, 0)));
}

TEST_F(FeedTest, ConsumerThatPausesIsServedFromTheJournal) {
  journal_options_.tail_bytes = 1 << 20;
  Start();
  Client client(feed_->port());
  client.Hello(From("earliest"));
  client.Line();
  Client idle(feed_->port());  // reads nothing at all
  idle.Hello(From("earliest"));
  Client other(feed_->port());
  other.Hello(From("latest"));
  other.LineOf("live");
  uint64_t commit = 0x2000;
  for (; written_.size() < (40 << 20); commit += 8) Commit(commit, 1, 50'000);
  EXPECT_EQ(other.Changes(ends_.size()), written_) << "nobody waits for the slow ones";
  EXPECT_EQ(client.Changes(ends_.size()), written_);
  EXPECT_GT(feed_->probe().journal_bytes, 0u);
  Commit(commit, 1);
  EXPECT_EQ(client.LineOf("change"), written_.substr(ends_[ends_.size() - 2]))
      << "and back at the head";
}

TEST_F(FeedTest, RetentionOvertakesLoudly) {
  journal_options_.tail_bytes = 1 << 20;
  journal_options_.segment_bytes = 2 << 20;
  journal_options_.retain_bytes = 6 << 20;
  journal_options_.sync_interval = std::chrono::milliseconds(1);
  Start();
  Client failing(feed_->port());
  failing.Hello(From("earliest"));
  Client going(feed_->port());
  going.Hello(From("earliest") + R"(,"on_gap":"continue")");
  failing.Line();
  going.Line();
  uint64_t commit = 0x2000;
  for (; written_.size() < (60 << 20); commit += 8) Commit(commit, 1, 50'000);
  while (journal_->durable() < journal_->recorded()) usleep(1000);
  // Inside a line there is nothing left to say but to end; between lines there is.
  std::string last = failing.LastLine();
  if (last.ends_with('\n')) {
    EXPECT_THAT(last, HasSubstr("history_lost"));
  }
  std::string gap = going.LineOf("gap");
  if (!gap.empty()) {
    EXPECT_THAT(gap, HasSubstr("\"code\":\"history_lost\""));
  }
}

TEST_F(FeedTest, CursorThatRetentionRemovedMayContinueWithAGap) {
  journal_options_.segment_bytes = 1000;
  journal_options_.retain_bytes = 3000;
  journal_options_.sync_interval = std::chrono::milliseconds(1);
  Start();
  for (uint64_t commit = 0x2000; commit < 0x2100; commit += 8) {
    Commit(commit, 1, 500);
    journal_->SyncSoon();
    while (journal_->durable() < journal_->recorded()) usleep(1000);
  }
  Client client(feed_->port());
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
  Start(false);
  Client client(feed_->port());
  client.Hello(From("earliest"));
  EXPECT_THAT(client.Line(), AllOf(HasSubstr("upstream_down"), HasSubstr("\"fatal\":false")));
  Bind();
  EXPECT_THAT(client.Line(), StartsWith("{\"type\":\"hello\""));
  Commit(0x2000, 1);
  EXPECT_EQ(client.Changes(1), written_);
}

TEST_F(FeedTest, OutageIsToldOnce) {
  Start();
  Client client(feed_->port());
  client.Hello("");
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
  Client first(feed_->port());
  Client second(feed_->port());
  first.Hello("");
  second.Hello("");
  first.LineOf("live");
  second.LineOf("live");
  Client third(feed_->port());
  EXPECT_THAT(third.Line(), AllOf(HasSubstr("too_many_connections"), HasSubstr("\"retry\":true")));
  EXPECT_TRUE(third.Ended());
  Commit(0x2000, 1);
  EXPECT_EQ(first.Changes(1), written_);
}

TEST_F(FeedTest, ManyConsumersGetTheSameBytes) {
  Start();
  std::vector<std::unique_ptr<Client>> clients;
  for (int i = 0; i < 200; ++i) {
    clients.push_back(std::make_unique<Client>(feed_->port()));
    clients.back()->Hello(From("earliest"));
  }
  for (uint64_t commit = 0x2000; commit < 0x2100; commit += 8) Commit(commit, 3);
  for (auto& client : clients) EXPECT_EQ(client->Changes(ends_.size()), written_);
}

TEST_F(FeedTest, StopSaysBye) {
  Start();
  Client client(feed_->port());
  client.Hello("");
  client.LineOf("live");
  feed_->Stop(std::chrono::seconds(20));
  EXPECT_THAT(client.Line(), AllOf(HasSubstr("\"type\":\"bye\""), HasSubstr("retry_ms")));
  EXPECT_TRUE(client.Ended());
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
