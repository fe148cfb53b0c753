#include "sidecar/journal/journal.h"

#include <gmock/gmock.h>
#include <sys/mount.h>
#include <unistd.h>

#include <atomic>
#include <random>

#include "tests/journal/rig.h"

namespace syncflow::journal {
namespace {

using ::testing::HasSubstr;

class JournalTest : public JournalRig {};

TEST_F(JournalTest, NobodySeesALineBeforeItIsFlushed) {
  Journal& journal = Open();
  Position position{Lsn(0x2000), 0};
  journal.Append(position, LineAt(position));
  EXPECT_EQ(journal.head().offset, 0u);
  EXPECT_EQ(ReadTail(0), "");
  EXPECT_EQ(journal.appended(), position);
  journal.Flush(Lsn(0x2008));
  EXPECT_EQ(journal.head().position, position);
  EXPECT_EQ(ReadTail(0), LineAt(position));
}

TEST_F(JournalTest, MemoryAndFilesHoldTheSameBytes) {
  Open();
  for (uint64_t commit = 0x2000; commit < 0x4000; commit += 64)
    Append(commit, 1 + static_cast<int>(commit % 7), 300);
  EXPECT_EQ(ReadTail(0), written_);
  EXPECT_EQ(ReadFiles(0), written_);
  EXPECT_EQ(ReadFiles(0, 1), written_) << "one batch at a time";
  EXPECT_EQ(ReadTail(0, 1), written_) << "one line at a time";
}

TEST_F(JournalTest, FindGivesTheFirstLineAfterACursor) {
  options_.segment_bytes = 4000;
  Journal& journal = Open();
  for (uint64_t commit = 0x2000; commit < 0x3000; commit += 64) Append(commit, 3, 200);
  uint64_t offset = 0;
  for (uint64_t commit = 0x2000; commit < 0x3000; commit += 64) {
    for (uint64_t index = 0; index < 3; ++index) {
      Position position{Lsn(commit), index};
      offset += LineAt(position, 200).size();
      ASSERT_EQ(std::get<uint64_t>(journal.Find(position)), offset);
    }
    Position between{Lsn(commit + 8), 5};
    if (between < journal.head().position) {
      ASSERT_EQ(std::get<uint64_t>(journal.Find(between)), offset);
    }
  }
  EXPECT_EQ(std::get<uint64_t>(journal.Find(journal.earliest().base)), 0u);
  EXPECT_EQ(std::get<uint64_t>(journal.Find(journal.head().position)), journal.head().offset);
}

TEST_F(JournalTest, FindTellsLostFromAhead) {
  Journal& journal = Open();
  Append(0x2000, 1);
  EXPECT_EQ(std::get<Miss>(journal.Find({Lsn(0x2000), 1})), Miss::kAhead);
  EXPECT_EQ(std::get<Miss>(journal.Find({Lsn(0x500), 0})), Miss::kLost);
}

TEST_F(JournalTest, OldLinesLeaveMemoryButNotTheFiles) {
  options_.tail_bytes = 1 << 20;
  Journal& journal = Open();
  for (uint64_t commit = 0x2000; commit < 0x2000 + 3000 * 8; commit += 8) Append(commit, 1, 1000);
  EXPECT_FALSE(journal.Tail(0, 1000));
  EXPECT_EQ(ReadFiles(0), written_);
  EXPECT_TRUE(journal.Tail(journal.head().offset - 1000, 1000));
}

TEST_F(JournalTest, LineLargerThanABlockIsOneView) {
  options_.tail_bytes = 16 << 20;
  Journal& journal = Open();
  Append(0x2000, 1, 100);
  Append(0x3000, 1, 8 << 20);
  Append(0x4000, 1, 100);
  EXPECT_EQ(ReadTail(0, 1000), written_);
  EXPECT_EQ(ReadFiles(0, 1000), written_);
  EXPECT_EQ(journal.Tail(100, 1000)->bytes.size(), size_t{8} << 20);
}

TEST_F(JournalTest, LargeTransactionIsWrittenInPieces) {
  Journal& journal = Open();
  for (uint64_t i = 0; i < 2000; ++i)
    journal.Append({Lsn(0x2000), i}, LineAt({Lsn(0x2000), i}, 100));
  EXPECT_GT(journal.head().offset, 0u) << "long before its commit";
  EXPECT_EQ(journal.recorded(), Lsn(kStart)) << "nothing of it may be forgotten yet";
  journal.Flush(Lsn(0x2008));
  EXPECT_EQ(journal.recorded(), Lsn(0x2008));
}

TEST_F(JournalTest, DurableFollowsRecordedAndSurvivesReopening) {
  Journal& journal = Open();
  EXPECT_EQ(journal.durable(), Lsn(kStart));
  Append(0x2000, 3);
  WaitDurable();
  EXPECT_EQ(journal.durable(), Lsn(0x2008));
  EXPECT_EQ(Reopen().durable(), Lsn(0x2008));
  EXPECT_EQ(ReadFiles(0), written_);
}

TEST_F(JournalTest, MarkRecordsAPositionWithoutLines) {
  Journal& journal = Open();
  Append(0x2000, 1);
  journal.Flush(Lsn(0x9000));
  EXPECT_EQ(journal.recorded(), Lsn(0x9000));
  WaitDurable();
  Reopen();
  EXPECT_EQ(journal_->durable(), Lsn(0x9000));
  EXPECT_EQ(journal_->head().position, (Position{Lsn(0x2000), 0}));
  Append(0xA000, 2);
  EXPECT_EQ(ReadFiles(0), written_);
}

TEST_F(JournalTest, RetentionBySizeKeepsTheNewestAndItsPosition) {
  options_.segment_bytes = 10'000;
  options_.retain_bytes = 30'000;
  Journal& journal = Open();
  for (uint64_t commit = 0x2000; commit < 0x2000 + 200 * 8; commit += 8) {
    Append(commit, 1, 1000);
    WaitDurable();
  }
  EXPECT_LE(journal.probe().size_bytes, 45'000u);
  EXPECT_GT(journal.earliest().offset, 0u);
  EXPECT_EQ(std::get<Miss>(journal.Read(0, 1000)), Miss::kLost);
  EXPECT_EQ(std::get<Miss>(journal.Find({Lsn(0x2000), 0})), Miss::kLost);
  EXPECT_EQ(std::get<uint64_t>(journal.Find(journal.earliest().base)), journal.earliest().offset);
  EXPECT_EQ(ReadFiles(journal.earliest().offset), written_.substr(journal.earliest().offset));
  EXPECT_EQ(Files(".ndjson").size(), journal.probe().segments);
  EXPECT_EQ(Files(".idx").size(), journal.probe().segments);
}

TEST_F(JournalTest, RetentionByAgeRemovesOldSegments) {
  options_.segment_bytes = 1000;
  options_.retain_age = std::chrono::seconds(0);
  Journal& journal = Open();
  for (uint64_t commit = 0x2000; commit < 0x2100; commit += 8) {
    Append(commit, 1, 1000);
    WaitDurable();
  }
  EXPECT_LE(journal.probe().segments, 2u);
}

TEST_F(JournalTest, ReaderKeepsWhatRetentionRemoves) {
  options_.segment_bytes = 1000;
  options_.retain_bytes = 4000;
  Journal& journal = Open();
  Append(0x2000, 1, 1000);
  auto slice = std::get<Slice>(journal.Read(0, 1000));
  for (uint64_t commit = 0x2100; commit < 0x2200; commit += 8) {
    Append(commit, 1, 1000);
    WaitDurable();
  }
  ASSERT_EQ(std::get<Miss>(journal.Read(0, 1000)), Miss::kLost);
  std::string bytes(slice.length, '\0');
  EXPECT_EQ(pread(slice.fd, bytes.data(), bytes.size(), 0), static_cast<ssize_t>(bytes.size()));
  EXPECT_EQ(bytes, written_.substr(0, 1000));
}

TEST_F(JournalTest, UnboundJournalHasNothingToRead) {
  Journal journal(options_);
  EXPECT_EQ(journal.epoch(), std::nullopt);
  EXPECT_EQ(journal.head().offset, 0u);
  EXPECT_TRUE(journal.Tail(0, 1000)->bytes.empty());
}

TEST_F(JournalTest, EpochDependsOnTheHistoryAndNotOnSlotOrTimeline) {
  Identity home = Home();
  Identity moved = home;
  moved.slot = "another";
  moved.timeline = 2;
  EXPECT_EQ(EpochOf(home, 0), EpochOf(moved, 0));
  EXPECT_NE(EpochOf(home, 0), EpochOf(home, 1));
  moved.database = "other";
  EXPECT_NE(EpochOf(home, 0), EpochOf(moved, 0));
}

TEST_F(JournalTest, WhatWasNotedOfTheTableSurvivesReopeningAndAFailover) {
  Journal& journal = Open();
  EXPECT_EQ(journal.table_version(), "");
  journal.NoteTable("16385 740 r p|");
  journal.FollowTimeline(2);
  journal_.reset();
  Journal reopened(options_);
  EXPECT_EQ(reopened.table_version(), "16385 740 r p|");
  EXPECT_EQ(reopened.identity()->timeline, 2u);
}

TEST_F(JournalTest, ForeignHistoryIsRefusedByName) {
  Open();
  for (auto change : {+[](Identity& i) { i.system_identifier = "1"; },
                      +[](Identity& i) { i.database = "x"; }, +[](Identity& i) { i.table = "x.y"; },
                      +[](Identity& i) { i.slot = "z"; }, +[](Identity& i) { i.timeline = 9; }}) {
    Identity other = Home();
    change(other);
    EXPECT_EQ(Refusal([&] { journal_->Bind(other, Lsn(1)); }), Error::Kind::kForeign);
    EXPECT_THAT(sentence_, HasSubstr("journal.directory"));
  }
}

TEST_F(JournalTest, SecondProcessIsLockedOut) {
  Open();
  EXPECT_EQ(Refusal([&] { Journal second(options_); }), Error::Kind::kLocked);
  EXPECT_THAT(sentence_, HasSubstr("another process"));
}

TEST_F(JournalTest, FolderThatIsAFileIsRefused) {
  Put(options_.directory / "file", "x");
  options_.directory /= "file";
  EXPECT_EQ(Refusal([&] { Journal journal(options_); }), Error::Kind::kUnusable);
  options_.directory = options_.directory.parent_path();
}

TEST_F(JournalTest, PositionsThatDoNotRiseAreABrokenPromise) {
  Open();
  Append(0x2000, 2);
  EXPECT_DEATH(journal_->Append({Lsn(0x2000), 1}, "x\n"), "positions rise");
  EXPECT_DEATH(journal_->Flush(Lsn(0x1008)), "never falls");
}

// A file system of one mebibyte, where this machine lets the test make one.
TEST_F(JournalTest, WhatIsHeldBackIsKeptAndNotShown) {
  Open();
  Append(0x2000, 1);
  Head before = journal_->head();
  int announced = 0;
  journal_->OnAnnounce([&] { ++announced; });
  journal_->HoldBack();
  Append(0x3000, 3);
  WaitDurable();
  EXPECT_TRUE(journal_->all_durable());
  EXPECT_EQ(journal_->head().offset, before.offset);
  EXPECT_EQ(journal_->head().position, before.position);
  EXPECT_EQ(journal_->Tail(before.offset, 1000)->bytes, "");
  EXPECT_TRUE(std::holds_alternative<Miss>(journal_->Read(before.offset, 1000)));
  EXPECT_EQ(CopyLines(*journal_, before.offset, 1000), "");
  announced = 0;
  journal_->Release();
  EXPECT_EQ(announced, 1);
  EXPECT_EQ(ReadFiles(0), written_);
  EXPECT_EQ(CopyLines(*journal_, before.offset, 100'000), written_.substr(before.offset));
  Append(0x4000, 1);
  EXPECT_EQ(ReadFiles(0), written_);
}

TEST_F(JournalTest, WhatWasHeldBackIsShownAfterReopening) {
  Open();
  journal_->HoldBack();
  Append(0x2000, 3);
  Crash();
  Open();
  EXPECT_EQ(ReadFiles(0), written_);
  EXPECT_TRUE(journal_->all_durable());
}

TEST_F(JournalTest, AllIsDurableOnlyOnceItIsSynced) {
  options_.sync_interval = std::chrono::hours(1);
  Open();
  EXPECT_TRUE(journal_->all_durable());
  Append(0x2000, 1);
  EXPECT_FALSE(journal_->all_durable());
  WaitDurable();
  EXPECT_TRUE(journal_->all_durable());
}

TEST_F(JournalTest, FullDiskLosesNothingAndGoesOnWhenThereIsSpace) {
  std::filesystem::path small = options_.directory / "small";
  std::filesystem::create_directory(small);
  if (mount("none", small.c_str(), "tmpfs", 0, "size=1m") != 0)
    GTEST_SKIP() << "no right to mount a file system";
  std::filesystem::path folder = std::exchange(options_.directory, small);
  Put(small / "ballast", std::string(300'000, 'x'));
  Open();
  uint64_t commit = 0x2000;
  Error::Kind kind = Error::Kind::kIo;
  for (; commit < 0x2000 + 2000 * 8; commit += 8) {
    try {
      Append(commit, 1, 1000);
    } catch (const Error& error) {
      kind = error.kind();
      break;
    }
  }
  EXPECT_EQ(kind, Error::Kind::kDiskFull);
  EXPECT_EQ(ReadFiles(0), written_.substr(0, journal_->head().offset))
      << "what was announced stays readable";
  EXPECT_EQ(Refusal([&] { journal_->Flush(Lsn(commit + 8)); }), Error::Kind::kDiskFull);
  std::filesystem::remove(small / "ballast");
  journal_->Flush(Lsn(commit + 8));
  Append(commit + 64, 1, 1000);
  EXPECT_EQ(ReadFiles(0), written_);
  EXPECT_EQ(ReadTail(0), written_);
  WaitDurable();
  Reopen();
  EXPECT_EQ(ReadFiles(0), written_);
  Close();
  umount(small.c_str());
  options_.directory = folder;
}

// Readers on other threads against a writer: every byte they see is the byte that was appended.
TEST_F(JournalTest, ConcurrentReadersSeeExactlyWhatWasAppended) {
  options_.segment_bytes = 64 << 10;
  options_.tail_bytes = 512 << 10;
  Journal& journal = Open();
  std::string all;
  std::vector<std::pair<Position, std::string>> lines;
  std::minstd_rand random(301);
  for (uint64_t commit = 0x2000; all.size() < (4 << 20); commit += 8) {
    uint64_t count = 1 + random() % 20;
    for (uint64_t i = 0; i < count; ++i) {
      Position position{Lsn(commit), i};
      lines.emplace_back(position, LineAt(position, 100 + random() % 3000));
      all += lines.back().second;
    }
  }
  auto read = [&](bool memory_first, uint64_t piece) {
    uint64_t offset = 0;
    while (offset < all.size()) {
      auto view = memory_first ? journal.Tail(offset, piece) : std::nullopt;
      if (view) {
        ASSERT_EQ(view->bytes, std::string_view(all).substr(offset, view->bytes.size()));
        offset += view->bytes.size();
        continue;
      }
      auto found = journal.Read(offset, piece);
      if (auto* slice = std::get_if<Slice>(&found)) {
        std::string bytes(slice->length, '\0');
        ASSERT_EQ(
            pread(slice->fd, bytes.data(), bytes.size(), static_cast<off_t>(slice->file_offset)),
            static_cast<ssize_t>(bytes.size()));
        ASSERT_EQ(bytes, std::string_view(all).substr(offset, bytes.size()));
        offset += bytes.size();
      }
    }
  };
  std::thread fast([&] { read(true, 256 << 10); });
  std::thread slow([&] { read(true, 1000); });
  std::thread cold([&] { read(false, 100'000); });
  for (const auto& [position, line] : lines) {
    journal.Append(position, line);
    if (random() % 8 == 0) journal.Flush(Lsn(position.commit_lsn.bytes()));
  }
  journal.Flush(Lsn(lines.back().first.commit_lsn.bytes() + 8));
  fast.join();
  slow.join();
  cold.join();
}

}  // namespace
}  // namespace syncflow::journal
