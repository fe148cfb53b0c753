// What a slow consumer gets, and what it may cost the others.
#include "sidecar/feed/delivery.h"

#include <fcntl.h>
#include <sys/resource.h>

#include <csignal>

#include "sidecar/feed/close_reason.h"
#include "sidecar/feed/peer.h"
#include "sidecar/log/log.h"
#include "tests/feed/rig.h"

namespace syncflow::feed {
namespace {

using ::testing::HasSubstr;
using ::testing::StartsWith;

constexpr uint64_t kMiB = 1 << 20;

std::string ChangeAt(uint64_t commit, uint64_t index) {
  return "{\"type\":\"change\",\"cursor\":\"" +
         journal::Cursor{journal::Epoch{1}, {replication::Lsn(commit), index}}.ToString() +
         "\",\"op\":{}}\n";
}

TEST(LastPosition, IsThatOfTheLastLine) {
  journal::Position last{replication::Lsn(16), 1};
  std::string bytes = ChangeAt(8, 0) + ChangeAt(16, 1);
  EXPECT_EQ(LastPosition(bytes, true), last);
  EXPECT_EQ(LastPosition(bytes.substr(1), false), last) << "a torn first line does not matter";
  EXPECT_EQ(LastPosition(ChangeAt(16, 1), true), last);
}

TEST(LastPosition, IsUnknownWhereTheLineBeganBefore) {
  std::string line = ChangeAt(16, 1);
  for (size_t cut = 1; cut < line.size(); ++cut)
    EXPECT_EQ(LastPosition(line.substr(cut), false), std::nullopt) << cut;
}

TEST(Peer, IsDeadWhenNothingAnswersForAMinute) {
  tcp_info info{};
  info.tcpi_last_ack_recv = 60'000;
  EXPECT_FALSE(IsDead(info)) << "nothing was sent to it";
  info.tcpi_retransmits = 1;
  EXPECT_TRUE(IsDead(info));
  info.tcpi_last_ack_recv = 59'999;
  EXPECT_FALSE(IsDead(info));
}

TEST(Peer, IsAliveAsLongAsItAnswersProbesOfItsClosedWindow) {
  tcp_info info{};
  info.tcpi_last_ack_recv = 120'000;  // probes are that rare in the end
  info.tcpi_probes = 1;               // just sent
  EXPECT_FALSE(IsDead(info));
  info.tcpi_probes = 3;
  EXPECT_TRUE(IsDead(info));
}

class Delivery : public FeedRig {
 protected:
  // On disk, in several segments, of which memory holds only the end; returns the commit after it.
  uint64_t StartWith(uint64_t bytes, size_t pad) {
    journal_options_.tail_bytes = 1 * kMiB;
    journal_options_.segment_bytes = 4 * kMiB;
    Start();
    uint64_t next = CommitMany(0x2000, bytes, pad);
    WaitDurable();
    return next;
  }
  // Reads changes until the one of `last`; each must be the journal's, byte for byte.
  void ExpectChanges(Consumer& consumer, uint64_t first, uint64_t last, size_t pad) {
    for (uint64_t commit = first; commit <= last; commit += 8)
      ASSERT_EQ(consumer.LineOf("change"), LineAt(commit, pad)) << commit;
  }
};

TEST_F(Delivery, ReaderThatPausesFor200MegabytesGetsEveryByteInOrder) {
  constexpr size_t kPad = 40'000;
  journal_options_.tail_bytes = 2 * kMiB;
  journal_options_.segment_bytes = 16 * kMiB;
  Start();
  Consumer slow(feed_->port(), 64 << 10);
  slow.Hello(R"(,"from":"earliest")");
  slow.LineOf("live");
  uint64_t next = CommitMany(0x2000, 200 * kMiB, kPad);
  ExpectChanges(slow, 0x2000, next - 8, kPad);
  EXPECT_GT(feed_->probe().journal_bytes, 150 * kMiB);
  Commit(next);
  EXPECT_EQ(slow.LineOf("change"), LineAt(next, 10)) << "and back in memory";
}

TEST_F(Delivery, NeverReaderDelaysNobodyAndIsHandedNoMoreThanItsSocketTakes) {
  constexpr size_t kPad = 40'000;
  journal_options_.tail_bytes = 2 * kMiB;
  Start();
  Consumer never(feed_->port(), 64 << 10);
  never.Hello(R"(,"from":"earliest")");
  Consumer other(feed_->port());
  other.Hello(R"(,"from":"earliest")");
  other.LineOf("live");
  uint64_t next = CommitMany(0x2000, 60 * kMiB, kPad);
  ExpectChanges(other, 0x2000, next - 8, kPad);
  EXPECT_EQ(feed_->probe().consumers, 2u);
  uint64_t both = feed_->probe().delivered_bytes;
  EXPECT_LT(both - journal_->head().offset, 30 * kMiB);
}

// Lines of every size around what is copied of a line that was begun.
TEST_F(Delivery, LinesOfAnySizeSurviveBeingCutByTheSocket) {
  const size_t pads[] = {10, 5'000, 31'000, 33'000, 70'000, 300'000, 3'000'000};
  for (uint64_t tail : {64 * kMiB, 1 * kMiB}) {
    feed_.reset();
    journal_.reset();
    std::filesystem::remove_all(journal_options_.directory);
    std::filesystem::create_directory(journal_options_.directory);
    journal_options_.tail_bytes = tail;
    Start();
    Consumer slow(feed_->port(), 16 << 10);
    slow.Hello(R"(,"from":"earliest")");
    uint64_t commit = 0x2000;
    for (int round = 0; round < 6; ++round) {
      for (size_t pad : pads) Commit(commit += 8, pad);
    }
    uint64_t read = 0x2000;
    for (int round = 0; round < 6; ++round) {
      for (size_t pad : pads) {
        read += 8;
        ASSERT_EQ(slow.LineOf("change"), LineAt(read, pad)) << pad << " " << tail;
      }
    }
    slow.Say("{\"type\":\"ping\",\"id\":\"1\"}\n");
    EXPECT_EQ(CursorOf(slow.LineOf("pong")), CursorText(read)) << "between lines it is heard";
  }
}

TEST_F(Delivery, PongComesAtTheNextLineEndAndNamesTheChangeBeforeIt) {
  constexpr size_t kPad = 3'000;
  for (uint64_t tail : {64 * kMiB, 1 * kMiB}) {
    feed_.reset();
    journal_.reset();
    std::filesystem::remove_all(journal_options_.directory);
    std::filesystem::create_directory(journal_options_.directory);
    journal_options_.tail_bytes = tail;
    Start();
    Consumer slow(feed_->port(), 16 << 10);
    slow.Hello(R"(,"from":"earliest")");
    slow.LineOf("live");
    uint64_t next = CommitMany(0x2000, 40 * kMiB, kPad);
    slow.Say("{\"type\":\"ping\",\"id\":\"1\"}\n");
    uint64_t read = 0x2000 - 8;  // the commit of the last change
    std::string line = slow.Line();
    for (; line.starts_with("{\"type\":\"change\""); line = slow.Line())
      ASSERT_EQ(line, LineAt(read += 8, kPad));
    EXPECT_THAT(line, StartsWith("{\"type\":\"pong\""));
    EXPECT_EQ(CursorOf(line), CursorText(read));
    EXPECT_LT(read, next - 8) << "it did not wait for the whole backlog";
    EXPECT_EQ(slow.Line(), LineAt(read + 8, kPad));
  }
}

TEST_F(Delivery, HeartbeatsFlowDuringCatchUpAndCursorsNeverFall) {
  constexpr size_t kPad = 3'000;
  journal_options_.tail_bytes = 1 * kMiB;
  Start();
  uint64_t next = CommitMany(0x2000, 40 * kMiB, kPad);
  Consumer slow(feed_->port(), 16 << 10);
  slow.Hello(R"(,"from":"earliest","heartbeat":1)");
  slow.LineOf("hello");
  std::string last;
  bool beat = false;
  for (std::string line = slow.Line(); last != CursorText(next - 8); line = slow.Line()) {
    if (!beat) std::this_thread::sleep_for(std::chrono::milliseconds(1));
    beat = beat || line.starts_with("{\"type\":\"heartbeat\"");
    std::string cursor = CursorOf(line);
    ASSERT_GE(cursor, last) << line.substr(0, 200);
    last = cursor;
  }
  EXPECT_TRUE(beat) << "a heartbeat before the end of the backlog";
}

class Retention : public Delivery {
 protected:
  static constexpr size_t kPad = 3'000;

  // A consumer stands still, somewhere in a chunk, until nothing it could read on is left.
  void Overtake(Consumer& slow, const std::string& more) {
    journal_options_.tail_bytes = 1 * kMiB;
    journal_options_.segment_bytes = 1 * kMiB;
    journal_options_.retain_bytes = 4 * kMiB;
    slow.Hello(R"(,"from":"earliest")" + more);
    slow.LineOf("live");
    next_ = CommitMany(0x2000, 60 * kMiB, kPad);
    WaitDurable();
    Commit(next_, kPad);  // retention follows a sync
    WaitDurable();
    ASSERT_GT(journal_->earliest().offset, feed_->probe().delivered_bytes);
  }
  void SetUp() override {
    journal_options_.tail_bytes = 1 * kMiB;
    journal_options_.segment_bytes = 1 * kMiB;
    journal_options_.retain_bytes = 4 * kMiB;
    Start();
  }
  uint64_t next_ = 0;
};

TEST_F(Retention, TellsWhomItOvertakesAtALineEnd) {
  Consumer slow(feed_->port(), 16 << 10);
  Overtake(slow, "");
  std::string line = slow.Line();
  uint64_t commit = 0x2000;
  for (; line.starts_with("{\"type\":\"change\""); line = slow.Line(), commit += 8)
    ASSERT_EQ(line, LineAt(commit, kPad));
  EXPECT_THAT(line, HasSubstr(R"("code":"history_lost","fatal":true,"retry":false)"));
  EXPECT_GT(CursorOf(line, "earliest"), CursorText(commit));
  EXPECT_EQ(slow.Line(), "") << "and the end";
}

TEST_F(Retention, ContinuesBehindAGapThatIsNamedExactly) {
  Consumer slow(feed_->port(), 16 << 10);
  Overtake(slow, R"(,"on_gap":"continue")");
  std::string line = slow.Line();
  std::string before;
  for (; line.starts_with("{\"type\":\"change\""); line = slow.Line()) before = CursorOf(line);
  EXPECT_THAT(line, StartsWith(R"({"type":"gap","code":"history_lost")"));
  EXPECT_EQ(CursorOf(line, "after"), before);
  std::string resume = CursorOf(line, "resume");
  auto at = journal::Cursor::Parse(resume);
  ASSERT_TRUE(at) << resume;
  ExpectChanges(slow, at->position.commit_lsn.bytes() + 8, next_, kPad);
}

// Only the disk has it, where the system lets a test have that.
TEST_F(Delivery, WhatLeftThePageCacheIsBroughtBackWithoutTheFeedWaiting) {
  constexpr size_t kPad = 3'000;
  uint64_t next = StartWith(24 * kMiB, kPad);
  for (const char* more : {"", R"(,"collections":["todos"])", R"(,"window":10000)"}) {
    for (const auto& file : std::filesystem::directory_iterator(journal_options_.directory)) {
      int fd = open(file.path().c_str(), O_RDONLY);
      posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED);
      close(fd);
    }
    Consumer late(feed_->port());
    late.Hello(R"(,"from":"earliest")" + std::string(more));
    ExpectChanges(late, 0x2000, 0x2000 + 8 * 3'000, kPad);
  }
  EXPECT_GT(next, 0x2000u + 8 * 3'000);
}

// Somebody cut it: what is missing is not passed over.
TEST_F(Delivery, SegmentThatIsShorterThanItsIndexEndsItsReadersOnly) {
  constexpr size_t kPad = 3'000;
  uint64_t next = StartWith(12 * kMiB, kPad);
  std::filesystem::path oldest;
  for (const auto& file : std::filesystem::directory_iterator(journal_options_.directory)) {
    if (file.path().extension() == ".ndjson" && (oldest.empty() || file.path() < oldest))
      oldest = file.path();
  }
  Consumer present(feed_->port());
  present.Hello();
  present.LineOf("live");
  std::filesystem::resize_file(oldest, 0);
  for (const char* more : {"", R"(,"collections":["todos"])"}) {
    Consumer late(feed_->port());
    late.Hello(R"(,"from":"earliest")" + std::string(more));
    std::string line = late.LineOf("error");
    EXPECT_THAT(line, HasSubstr(R"("fatal":true)")) << more;
    EXPECT_EQ(late.LineOf("change"), "") << more;
  }
  Commit(next);
  EXPECT_EQ(present.LineOf("change"), LineAt(next, 10));
}

TEST_F(Delivery, ConsumersThatVanishDuringCatchUpDoNoHarm) {
  constexpr size_t kPad = 3'000;
  signal(SIGPIPE, SIG_DFL);
  journal_options_.tail_bytes = 1 * kMiB;
  Start();
  CommitMany(0x2000, 20 * kMiB, kPad);
  for (int i = 0; i < 40; ++i) {
    Consumer brief(feed_->port(), 16 << 10);
    brief.Hello(R"(,"from":"earliest")");
    brief.LineOf("change");
    if (i % 2 == 0) brief.EndInput();
  }
  Wait([this] { return feed_->probe().consumers == 0; });
  EXPECT_EQ(Closed(static_cast<size_t>(CloseReason::kReset)) +
                Closed(static_cast<size_t>(CloseReason::kPeerClosed)),
            40u);
}

TEST_F(Delivery, DescriptorsRunningOutTurnsAwayAndRecovers) {
  Start();
  rlimit before{};
  getrlimit(RLIMIT_NOFILE, &before);
  rlimit few{200, before.rlim_max};
  Consumer present(feed_->port());
  present.Hello();
  present.LineOf("live");
  // UBSan looks at objects through a pipe, and takes them for bad ones when it gets none: nothing
  // may be formatted meanwhile.
  log::Configure(log::Level::kError, log::Format::kText);
  setrlimit(RLIMIT_NOFILE, &few);
  std::vector<int> taken;
  for (int fd = dup(0); fd >= 0; fd = dup(0)) taken.push_back(fd);
  ASSERT_FALSE(taken.empty());
  close(taken.back());
  taken.pop_back();
  Consumer shed(feed_->port());
  EXPECT_TRUE(shed.connected());
  EXPECT_EQ(shed.Line(), "") << "closed, not left hanging";
  EXPECT_GE(feed_->probe().refused, 1u);
  for (int fd : taken) close(fd);
  setrlimit(RLIMIT_NOFILE, &before);
  log::Configure(log::Level::kInfo, log::Format::kText);
  Consumer later(feed_->port());
  EXPECT_THAT(later.Line(), HasSubstr("\"mode\":\"plain\""));
  Commit(0x2000);
  EXPECT_EQ(present.LineOf("change"), LineAt(0x2000, 10));
}

TEST_F(Delivery, FiveHundredAtOnceGetTheSameBytes) {
  rlimit limit{};
  getrlimit(RLIMIT_NOFILE, &limit);
  limit.rlim_cur = limit.rlim_max;
  setrlimit(RLIMIT_NOFILE, &limit);
  options_.hello_timeout = std::chrono::minutes(5);  // nobody becomes plain while others connect
  Start();
  std::vector<std::unique_ptr<Consumer>> many;
  for (int i = 0; i < 500; ++i) many.push_back(std::make_unique<Consumer>(feed_->port()));
  for (auto& consumer : many) consumer->Hello(R"(,"from":"earliest")");
  for (uint64_t commit = 0x2000; commit < 0x2100; commit += 8) Commit(commit);
  for (auto& consumer : many) ExpectChanges(*consumer, 0x2000, 0x20f8, 10);
  EXPECT_EQ(feed_->probe().accepted, 500u);
}

}  // namespace
}  // namespace syncflow::feed
