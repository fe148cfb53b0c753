// What retention removes, when, and what the probe says about it.
#include "sidecar/journal/entry.h"
#include "tests/journal/rig.h"

namespace syncflow::journal {
namespace {

using std::chrono::hours;
using std::chrono::system_clock;

class RetentionTest : public JournalRig {
 protected:
  // Rewrites the index as if all had been written `ago` earlier.
  void Age(const std::filesystem::path& index, std::chrono::microseconds ago) {
    std::string old = Content(index);
    std::string aged;
    for (size_t at = 0; at < old.size(); at += kEntrySize) {
      Entry entry = DecodeEntry(std::string_view(old).substr(at, kEntrySize)).value();
      entry.appended_at -= ago.count();
      EntryBytes bytes = EncodeEntry(entry);
      aged.append(bytes.data(), bytes.size());
    }
    Put(index, aged);
  }

  void WriteSegments() {
    options_.segment_bytes = 1000;
    Open();
    for (uint64_t commit = 0x2000; commit < 0x2060; commit += 8) Append(commit, 1, 500);
    Close();
  }
};

TEST_F(RetentionTest, OpeningRemovesWhatIsTooMuch) {
  WriteSegments();
  options_.retain_bytes = 2500;
  Open();
  EXPECT_LE(journal_->probe().size_bytes, 2500u);
  EXPECT_EQ(Files(".ndjson").size(), journal_->probe().segments);
  uint64_t kept_from = journal_->earliest().offset;
  EXPECT_EQ(ReadFiles(kept_from), written_.substr(kept_from));
}

TEST_F(RetentionTest, OpeningRemovesWhatIsTooOld) {
  WriteSegments();
  Age(Files(".idx")[0], hours(48));
  Age(Files(".idx")[1], hours(48));
  options_.retain_age = hours(24);
  size_t before = Files(".ndjson").size();
  Open();
  EXPECT_EQ(journal_->probe().segments, before - 2);
}

TEST_F(RetentionTest, LastSegmentStaysHoweverOldAndLarge) {
  WriteSegments();
  for (const auto& index : Files(".idx")) Age(index, hours(48));
  options_.retain_age = hours(1);
  options_.retain_bytes = 1;
  Open();
  EXPECT_EQ(journal_->probe().segments, 1u);
  EXPECT_EQ(journal_->durable(), Lsn(0x2060));
}

TEST_F(RetentionTest, SegmentOlderThanAnHourIsFollowedByAnother) {
  Open();
  Append(0x2000, 1);
  Reopen();
  Append(0x2008, 1);
  EXPECT_EQ(journal_->probe().segments, 1u);
  Close();
  Age(Files(".idx").back(), hours(2));
  Open();
  Append(0x2010, 1);
  EXPECT_EQ(journal_->probe().segments, 2u);
  EXPECT_EQ(ReadFiles(0), written_);
}

TEST_F(RetentionTest, ProbeTellsWhenTheOldestLineWasAppended) {
  Open();
  EXPECT_EQ(journal_->probe().oldest, system_clock::time_point());
  auto before = system_clock::now() - std::chrono::milliseconds(1);
  Append(0x2000, 1);
  auto after = system_clock::now();
  auto oldest = journal_->probe().oldest;
  EXPECT_GE(oldest, before);
  EXPECT_LE(oldest, after);
  Append(0x2008, 1);
  EXPECT_EQ(Reopen().probe().oldest, oldest);
}

// A segment that stays although a newer one goes would be a hole.
TEST_F(RetentionTest, SegmentThatCannotBeRemovedKeepsItsSuccessors) {
  options_.segment_bytes = 1000;
  options_.retain_bytes = 3000;
  Open();
  Append(0x2000, 1, 500);
  std::filesystem::path stuck = Files(".ndjson").front();
  std::filesystem::rename(stuck, options_.directory / "kept");
  std::filesystem::create_directory(stuck);
  Put(stuck / "inside", "");
  for (uint64_t commit = 0x2008; commit < 0x2080; commit += 8) {
    Append(commit, 1, 500);
    WaitDurable();
  }
  EXPECT_EQ(journal_->earliest().offset, 0u);
  EXPECT_EQ(ReadFiles(0), written_);
  std::filesystem::remove_all(stuck);
  Append(0x2080, 1, 500);
  WaitDurable();
  EXPECT_LE(journal_->probe().size_bytes, 3000u) << "tried again";
}

}  // namespace
}  // namespace syncflow::journal
