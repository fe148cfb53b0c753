#include "sidecar/compaction/fence.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <future>

#include "tests/compaction/rig.h"

namespace syncflow::compaction {
namespace {

using std::chrono::hours;
using std::chrono::milliseconds;
using std::chrono::seconds;
using ::testing::HasSubstr;

class Fencing : public CompactionRig {
 protected:
  std::string Reason() {
    auto reason = fence_.WhyClosed();
    return reason ? *reason : "open";
  }
  std::string Outcome(const std::variant<Fence::Open, Fence::Closed>& passed) {
    auto* closed = std::get_if<Fence::Closed>(&passed);
    return closed != nullptr ? closed->reason : "open";
  }
  std::string Pass() {
    return Outcome(fence_.Pass(connection_, [] { return true; }));
  }
  void Consumer(const std::string& name, journal::Cursor cursor, int64_t seen_at) {
    journal_->consumers().Move(name, cursor, seen_at);
  }

  Fence fence_{*journal_, pipeline_, Streamed(), hours(24), milliseconds(300)};
};

TEST_F(Fencing, NothingGoesWithoutAHistory) {
  pipeline_.state = PipelineState::kStreaming;
  EXPECT_THAT(Reason(), HasSubstr("no history yet"));
  EXPECT_THAT(Pass(), HasSubstr("no history yet"));
}

TEST_F(Fencing, NothingGoesWhileNothingIsStreamed) {
  Bind();
  EXPECT_EQ(Reason(), "open");
  for (size_t state = 0; state < kPipelineStates.size(); ++state) {
    pipeline_.state = static_cast<PipelineState>(state);
    bool streaming = pipeline_.state == PipelineState::kStreaming;
    EXPECT_EQ(Reason() == "open", streaming) << kPipelineStates[state];
  }
  pipeline_.state = PipelineState::kStreaming;
}

TEST_F(Fencing, OpensWhenTheJournalHasEverythingThatWasCommitted) {
  Fence patient(*journal_, pipeline_, Streamed(), hours(24), seconds(100));
  Bind();
  Lsn before = ServerPosition();
  Store(3);
  auto passed = std::async(std::launch::async, [&] {
    adapter::Connection connection = Connect();
    return patient.Pass(connection, [] { return true; });
  });
  ComeTo(before);
  EXPECT_EQ(passed.wait_for(milliseconds(200)), std::future_status::timeout)
      << "what was stored has not come yet";
  while (passed.wait_for(milliseconds(10)) == std::future_status::timeout) ComeTo(ServerPosition());
  auto outcome = passed.get();
  ASSERT_TRUE(std::holds_alternative<Fence::Open>(outcome)) << Outcome(outcome);
  int64_t next = std::stoll(Ask("SELECT pg_snapshot_xmax(pg_current_snapshot())"));
  EXPECT_LT(std::stoll(std::get<Fence::Open>(outcome).written_before), next);
}

TEST_F(Fencing, DoesNotWaitForEver) {
  Bind();
  Store(1);
  EXPECT_THAT(Pass(), HasSubstr("has not come to the server's position"));
}

// What was written meanwhile is in no journal, though the stream has passed it.
TEST_F(Fencing, TableThatWasAwayForAMomentIsNotTouched) {
  StartStream();
  EXPECT_EQ(Pass(), "open");
  connection_.Execute("ALTER TABLE public.operations RENAME TO elsewhere");
  connection_.Execute("ALTER TABLE public.elsewhere RENAME TO operations");
  EXPECT_THAT(Pass(), HasSubstr("table has changed"));
}

TEST_F(Fencing, ClosesWhenTheStreamEndsMeanwhile) {
  StartStream();
  EXPECT_EQ(Pass(), "open");
  auto passed = fence_.Pass(connection_, [&] {
    pipeline_.state = PipelineState::kConnecting;
    return true;
  });
  EXPECT_THAT(Outcome(passed), HasSubstr("not being streamed"));
}

TEST_F(Fencing, CanBeStoppedWhileItWaits) {
  Bind();
  Store(1);
  EXPECT_THAT(Outcome(fence_.Pass(connection_, [] { return false; })), HasSubstr("stopped"));
}

TEST_F(Fencing, AnotherServerIsNotTouched) {
  Bind("7300000000000000001");
  EXPECT_THAT(Pass(), HasSubstr("another server"));
}

TEST_F(Fencing, ServerThatWentBackIsNotTouched) {
  Bind();
  ComeTo(Lsn(ServerPosition().bytes() + (1ull << 30)));
  EXPECT_THAT(Pass(), HasSubstr("before the journal's end"));
}

TEST_F(Fencing, OpenTransactionsHoldTheSnapshotBack) {
  StartStream();
  adapter::Connection other = Connect();
  std::string open(other.Execute("BEGIN; SELECT pg_current_xact_id()").Get(0, 0));
  Store(1);
  auto passed = fence_.Pass(connection_, [] { return true; });
  ASSERT_TRUE(std::holds_alternative<Fence::Open>(passed)) << Outcome(passed);
  EXPECT_LE(std::stoll(std::get<Fence::Open>(passed).written_before), std::stoll(open));
}

// ---- consumers ----

TEST_F(Fencing, ConsumersThatTheJournalCanServeHoldNothingBack) {
  Bind();
  Consumer("a-day-behind", {*journal_->epoch(), journal_->earliest().base}, MicrosecondsNow());
  EXPECT_EQ(Reason(), "open");
}

TEST_F(Fencing, ConsumersThatItCannotServeHoldEverythingBack) {
  Bind();
  Consumer("slow", {*journal_->epoch(), journal::Position{Lsn(1), 0}}, MicrosecondsNow());
  EXPECT_THAT(Reason(), HasSubstr("the consumer 'slow' has not acknowledged"));
  EXPECT_TRUE(fence_.WhyHeldBack());
  journal_->consumers().RemoveIdle("slow");
  EXPECT_EQ(Reason(), "open");
}

TEST_F(Fencing, ConsumersOfAnotherHistoryNeedAllOfThisOne) {
  Bind();
  Consumer("lost", {journal::Epoch(7), journal_->head().position}, MicrosecondsNow());
  EXPECT_THAT(Reason(), HasSubstr("the consumer 'lost'"));
}

TEST_F(Fencing, ConsumersThatWereAwayForLongAreForgotten) {
  Fence fence(*journal_, pipeline_, Streamed(), seconds(0));
  Bind();
  int64_t yesterday = MicrosecondsNow() - std::chrono::microseconds(hours(25)).count();
  Consumer("gone", {*journal_->epoch(), journal::Position{Lsn(1), 0}}, yesterday);
  EXPECT_EQ(fence.WhyClosed(), std::nullopt);
  EXPECT_THAT(Reason(), HasSubstr("the consumer 'gone'"))
      << "by the clock alone, which may have jumped, nobody is";
}

}  // namespace
}  // namespace syncflow::compaction
