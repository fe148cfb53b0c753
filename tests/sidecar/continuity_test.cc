#include "sidecar/continuity.h"
#include "sidecar/gap.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <thread>

#include "sidecar/feed/encode.h"

namespace syncflow {
namespace {

using replication::Change;
using replication::Lsn;
using ::testing::HasSubstr;
using ::testing::Optional;

class ContinuityTest : public ::testing::Test {
 protected:
  ContinuityTest() {
    std::string name = (std::filesystem::temp_directory_path() / "syncflow-XXXXXX").string();
    options_.directory = mkdtemp(name.data());
    options_.allow_any_filesystem = true;
    options_.sync_interval = std::chrono::milliseconds(1);
  }
  ~ContinuityTest() override {
    journal_.reset();
    std::filesystem::remove_all(options_.directory);
  }

  void Open() {
    journal_.emplace(options_);
    epoch_ = journal_->Bind({"1", 1, "app", "public.operations", "slot"}, Lsn(0x1000));
  }

  static Change At(uint64_t commit, uint64_t index = 0, const std::string_view id = "op") {
    Change change;
    change.operation = {id, "insert", "todos", "doc", "{}", 1, "c", false, "{}"};
    change.commit_lsn = Lsn(commit);
    change.index = index;
    return change;
  }

  // Transactions of three changes.
  void Commit(std::initializer_list<uint64_t> commits, size_t pad = 0) {
    std::string type(pad, 'x');
    for (uint64_t commit : commits) {
      for (uint64_t index = 0; index < 3; ++index) {
        Change change = At(commit, index);
        change.operation.type = type;
        feed::Encoder encoder(epoch_, 1 << 20);
        encoder.Encode(change);
        journal_->Append({Lsn(commit), index}, encoder.Finish(index == 2));
      }
      journal_->Flush(Lsn(commit + 8));
    }
  }

  // Whether the server may repeat a whole transaction.
  static void Repeat(Continuity& continuity, uint64_t commit) {
    EXPECT_EQ(continuity.Passed(Lsn(commit)), std::nullopt) << commit;
    for (uint64_t index = 0; index < 3; ++index)
      EXPECT_EQ(continuity.Repeated(At(commit, index)), std::nullopt) << commit << " " << index;
  }

  journal::Options options_;
  std::optional<journal::Journal> journal_;
  journal::Epoch epoch_{};
};

TEST_F(ContinuityTest, SameHistoryIsAcceptedFromEveryStart) {
  Open();
  Commit({0x2000, 0x2010, 0x2020});
  for (uint64_t start : {0x1000, 0x2000, 0x2008, 0x2010, 0x2020, 0x2028}) {
    Continuity continuity(*journal_, Lsn(start));
    for (uint64_t commit : {0x2000, 0x2010, 0x2020})
      if (commit >= start) Repeat(continuity, commit);
    EXPECT_EQ(continuity.Passed(Lsn(0x9000)), std::nullopt) << start;
  }
}

TEST_F(ContinuityTest, EmptyJournalAcceptsEverything) {
  Open();
  Continuity continuity(*journal_, Lsn(0x1000));
  EXPECT_EQ(continuity.Passed(Lsn(0x9000)), std::nullopt);
  Continuity older(*journal_, Lsn(0x500));
  EXPECT_EQ(older.Repeated(At(0x600)), std::nullopt) << "from before this journal";
  EXPECT_EQ(older.Passed(Lsn(0x9000)), std::nullopt);
}

TEST_F(ContinuityTest, TransactionThatIsNotRepeatedIsNoticed) {
  Open();
  Commit({0x2000, 0x2010});
  Continuity nothing(*journal_, Lsn(0x2000));
  EXPECT_EQ(nothing.Passed(Lsn(0x2010)), std::nullopt) << "it may still come";
  EXPECT_THAT(nothing.Passed(Lsn(0x2018)), Optional(HasSubstr("does not repeat")));
  Continuity second_only(*journal_, Lsn(0x2000));
  EXPECT_THAT(second_only.Repeated(At(0x2010)), Optional(HasSubstr("another one at 0/2000")));
}

TEST_F(ContinuityTest, OperationThatTheJournalDoesNotHoldIsNoticed) {
  Open();
  Commit({0x2000, 0x2010});
  Continuity between(*journal_, Lsn(0x2000));
  Repeat(between, 0x2000);
  EXPECT_THAT(between.Repeated(At(0x2008)), Optional(HasSubstr("0/2008")));
  Continuity longer(*journal_, Lsn(0x2000));
  Repeat(longer, 0x2000);
  EXPECT_THAT(longer.Repeated(At(0x2000, 3)), Optional(HasSubstr("another one at 0/2010")));
}

TEST_F(ContinuityTest, OtherOperationInTheSamePlaceIsNoticed) {
  Open();
  Commit({0x2000});
  Continuity continuity(*journal_, Lsn(0x2000));
  EXPECT_EQ(continuity.Repeated(At(0x2000, 0, "op")), std::nullopt);
  EXPECT_THAT(continuity.Repeated(At(0x2000, 1, "other")), Optional(HasSubstr("another one")));
}

TEST_F(ContinuityTest, TransactionOfWhichTheJournalHasTheBeginningIsCompleted) {
  Open();
  feed::Encoder encoder(epoch_, 1 << 20);
  encoder.Encode(At(0x2000));
  journal_->Append({Lsn(0x2000), 0}, encoder.Finish(false));
  journal_->Flush(Lsn(0x1000));
  Continuity continuity(*journal_, Lsn(0x1000));
  EXPECT_EQ(continuity.Repeated(At(0x2000)), std::nullopt);
  EXPECT_EQ(continuity.Passed(Lsn(0x9000)), std::nullopt);
}

TEST_F(ContinuityTest, GapStandsForWhatWasLeftOut) {
  Open();
  Commit({0x2000});
  AppendGap(*journal_, {Lsn(0x2000), 7}, "transaction_skipped", "unreadable");
  journal_->Flush(Lsn(0x2008));
  Continuity again(*journal_, Lsn(0x2000));
  Repeat(again, 0x2000);
  EXPECT_EQ(again.Repeated(At(0x2000, 7)), std::nullopt);
  Commit({0x2010});
  Continuity behind(*journal_, Lsn(0x2008));
  Repeat(behind, 0x2010);
  EXPECT_EQ(behind.Passed(Lsn(0x9000)), std::nullopt);
}

TEST_F(ContinuityTest, LongHistoryIsReadFromMemoryAndFiles) {
  options_.tail_bytes = 1;  // one block
  Open();
  for (uint64_t commit = 0x2000; commit < 0x2000 + 8 * 400; commit += 8) Commit({commit}, 1000);
  ASSERT_EQ(journal_->Tail(0, 1000), std::nullopt);
  Continuity continuity(*journal_, Lsn(0x2000));
  for (uint64_t commit = 0x2000; commit < 0x2000 + 8 * 400; commit += 8) Repeat(continuity, commit);
  EXPECT_EQ(continuity.Passed(Lsn(0x9000)), std::nullopt);
}

TEST_F(ContinuityTest, WhatRetentionRemovedIsNotCompared) {
  options_.segment_bytes = 2000;
  options_.retain_bytes = 5000;
  Open();
  for (uint64_t commit = 0x2000; commit < 0x2100; commit += 8) Commit({commit}, 500);
  journal_->SyncSoon();
  while (journal_->durable() < journal_->recorded()) std::this_thread::yield();
  ASSERT_GT(journal_->earliest().base.commit_lsn, Lsn(0x2000));
  Continuity continuity(*journal_, Lsn(0x2000));
  for (uint64_t commit = 0x2000; commit < 0x2100; commit += 8) Repeat(continuity, commit);
  EXPECT_EQ(continuity.Passed(Lsn(0x9000)), std::nullopt);
}

}  // namespace
}  // namespace syncflow
