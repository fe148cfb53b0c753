// Files that are not there: which absence is an interrupted step of the journal's own, and which is
// a hole that must not be papered over.
#include <gmock/gmock.h>

#include "sidecar/journal/entry.h"
#include "tests/journal/rig.h"

namespace syncflow::journal {
namespace {

using std::filesystem::path;
using ::testing::HasSubstr;

class MissingTest : public JournalRig {
 protected:
  // Segments of two lines each; all but the last are sealed.
  void WriteSealed() {
    options_.segment_bytes = 1000;
    Open();
    for (uint64_t commit = 0x2000; commit < 0x2060; commit += 8) Append(commit, 1, 500);
    WaitDurable();
    Close();
    ASSERT_GT(Files(".ndjson").size(), 4u);
  }

  void ExpectDamaged() {
    size_t before = FileCount();
    EXPECT_EQ(Refusal([&] { Open(); }), Error::Kind::kDamaged);
    EXPECT_EQ(FileCount(), before) << "a damaged journal is left as it is";
  }

  size_t FileCount() const { return Files(".ndjson").size() + Files(".idx").size(); }

  std::optional<EntryKind> LastEntry(const path& index) {
    std::string bytes = Content(index);
    if (bytes.size() < kEntrySize) return std::nullopt;
    auto entry = DecodeEntry(std::string_view(bytes).substr(bytes.size() - kEntrySize));
    return entry ? std::optional(entry->kind) : std::nullopt;
  }
};

TEST_F(MissingTest, InterruptedRemovalOfTheOldestSegmentIsFinished) {
  WriteSealed();
  remove(Files(".ndjson").front());
  Open();
  EXPECT_EQ(Files(".ndjson").size(), Files(".idx").size());
  EXPECT_EQ(ReadFiles(0), written_.substr(1000));
  EXPECT_EQ(journal_->durable(), Lsn(0x2060));
}

TEST_F(MissingTest, OldestSegmentsThatAreGoneWereRetainedNoLonger) {
  WriteSealed();
  remove(Files(".ndjson").front());
  remove(Files(".idx").front());
  Open();
  EXPECT_EQ(ReadFiles(0), written_.substr(1000));
}

TEST_F(MissingTest, IndexMissingInTheMiddleIsAHole) {
  WriteSealed();
  remove(Files(".idx")[1]);
  ExpectDamaged();
}

TEST_F(MissingTest, LinesMissingInTheMiddleAreAHole) {
  WriteSealed();
  remove(Files(".ndjson")[1]);
  ExpectDamaged();
}

TEST_F(MissingTest, SegmentMissingInTheMiddleIsAHole) {
  WriteSealed();
  remove(Files(".ndjson")[2]);
  remove(Files(".idx")[2]);
  ExpectDamaged();
  EXPECT_THAT(sentence_, HasSubstr("missing"));
}

TEST_F(MissingTest, IndexMissingAtTheEndIsATornSegment) {
  WriteSealed();
  remove(Files(".idx").back());
  Open();
  std::string kept = ReadFiles(0);
  EXPECT_EQ(kept, written_.substr(0, kept.size()));
  EXPECT_EQ(kept.size() % 1000, 0u);
}

TEST_F(MissingTest, NamesLostBeforeTheyWereSyncedAreATornEnd) {
  options_.segment_bytes = 1000;
  options_.sync_interval = std::chrono::hours(1);
  Open();
  for (uint64_t commit = 0x2000; commit < 0x2060; commit += 8) Append(commit, 1, 500);
  Crash();
  remove(Files(".idx")[2]);
  Open();
  EXPECT_EQ(ReadFiles(0), written_.substr(0, 2000));
}

TEST_F(MissingTest, SealedLastSegmentIsWrittenOnAndMayTearAgain) {
  WriteSealed();
  remove(Files(".ndjson").back());
  remove(Files(".idx").back());
  options_.segment_bytes = 64 << 20;
  Open();
  std::string kept = ReadFiles(0);
  path last = Files(".ndjson").back();
  Close();
  std::ofstream(last, std::ios::app) << "{\"type\":\"cha";
  Open();
  EXPECT_EQ(ReadFiles(0), kept);
}

TEST_F(MissingTest, RecoveredSegmentsAreSealedSoThatLaterDamageIsNoticed) {
  options_.segment_bytes = 1000;
  options_.sync_interval = std::chrono::hours(1);
  Open();
  for (uint64_t commit = 0x2000; commit < 0x2060; commit += 8) Append(commit, 1, 500);
  Crash();
  ASSERT_NE(LastEntry(Files(".idx").front()), EntryKind::kSeal);
  Open();
  Close();
  auto indexes = Files(".idx");
  indexes.pop_back();
  for (const path& index : indexes) EXPECT_EQ(LastEntry(index), EntryKind::kSeal) << index;
  std::filesystem::resize_file(Files(".ndjson")[1], 700);
  ExpectDamaged();
}

TEST_F(MissingTest, SegmentsWithoutMetaAreNotAdopted) {
  WriteSealed();
  remove(options_.directory / "meta.json");
  ExpectDamaged();
  EXPECT_THAT(sentence_, HasSubstr("meta.json"));
  EXPECT_FALSE(exists(options_.directory / "meta.json"));
}

TEST_F(MissingTest, StrayFilesDoNotMatter) {
  WriteSealed();
  Put(options_.directory / "notes.txt", "x");
  Put(options_.directory / "meta.json.new", "half");
  Open();
  EXPECT_EQ(ReadFiles(0), written_);
}

TEST_F(MissingTest, SegmentOfAnotherHistoryIsRefused) {
  WriteSealed();
  Put(options_.directory / "00000001.0000000000000001.0.ndjson", "");
  EXPECT_EQ(Refusal([&] { Open(); }), Error::Kind::kForeign);
}

TEST_F(MissingTest, NestedFolderIsMadeForItsOwnerOnly) {
  path top = options_.directory;
  options_.directory = top / "a" / "b";
  Open();
  EXPECT_EQ(status(options_.directory).permissions(), std::filesystem::perms::owner_all);
  Close();
  options_.directory = top;
}

}  // namespace
}  // namespace syncflow::journal
