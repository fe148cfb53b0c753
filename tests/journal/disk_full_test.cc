// A disk that fills up at every page: wherever the write that finds no space is (lines, index, a
// new segment, a seal), nothing is lost, nothing fails for good, and all goes on when there is
// space.
#include <sys/mount.h>
#include <sys/statvfs.h>

#include "tests/journal/rig.h"

namespace syncflow::journal {
namespace {

constexpr size_t kPage = 4096;

class DiskFullTest : public JournalRig {
 protected:
  void SetUp() override {
    folder_ = options_.directory;
    options_.directory = folder_ / "small";
    std::filesystem::create_directory(options_.directory);
    mounted_ = mount("none", options_.directory.c_str(), "tmpfs", 0, "size=1m") == 0;
    if (!mounted_) GTEST_SKIP() << "no right to mount a file system";
  }
  void TearDown() override {
    Close();
    if (mounted_) umount(options_.directory.c_str());
    options_.directory = folder_;
  }

  std::filesystem::path Ballast() const { return options_.directory / "ballast"; }

  // Leaves `pages` free.
  void Fill(size_t pages) {
    struct statvfs facts {};
    statvfs(options_.directory.c_str(), &facts);
    ASSERT_GT(facts.f_bavail, pages);
    Put(Ballast(), std::string((facts.f_bavail - pages) * kPage, 'x'));
  }

  void Empty() {
    Close();
    for (const auto& file : std::filesystem::directory_iterator(options_.directory))
      std::filesystem::remove(file);
    written_.clear();
  }

  // Until the disk is full. The journal holds the line that found no space; returns its commit.
  uint64_t AppendUntilFull(uint64_t commit) {
    for (;; commit += 8) {
      try {
        Append(commit, 1, 500);
      } catch (const Error& error) {
        EXPECT_EQ(error.kind(), Error::Kind::kDiskFull) << error.what();
        return commit;
      }
    }
  }

  std::filesystem::path folder_;
  bool mounted_ = false;
};

TEST_F(DiskFullTest, GoesOnWhereverTheSpaceEnded) {
  options_.segment_bytes = 9000;
  for (size_t pages = 1; pages <= 24; ++pages) {
    Empty();
    Open();
    Fill(pages);
    uint64_t commit = AppendUntilFull(0x2000);
    journal_->SyncSoon();
    ASSERT_EQ(ReadFiles(0), written_.substr(0, journal_->head().offset)) << pages;
    ASSERT_GT(journal_->probe().write_errors, 0u);
    std::filesystem::remove(Ballast());
    journal_->Flush(Lsn(commit + 8));
    Append(commit + 8, 1, 500);
    WaitDurableOrFailed();
    ASSERT_EQ(journal_->sync_failure(), std::nullopt) << pages;
    ASSERT_EQ(ReadFiles(0), written_) << pages;
    Reopen();
    ASSERT_EQ(ReadFiles(0), written_) << pages;
  }
}

// 51 entries fill a page but for 16 bytes, so the seal needs another page.
TEST_F(DiskFullTest, SealWithoutSpaceWaitsAndDoesNotStopConfirming) {
  options_.segment_bytes = 50 * 500;
  options_.sync_interval = std::chrono::hours(1);
  Open();
  journal_->Flush(Lsn(0x1008));  // a mark, so that the lines' entries are 2 to 51
  uint64_t commit = 0x2000;
  for (int i = 0; i < 51; ++i, commit += 8) Append(commit, 1, 500);
  ASSERT_EQ(Files(".ndjson").size(), 2u);
  Fill(0);
  WaitDurableOrFailed();
  ASSERT_EQ(journal_->sync_failure(), std::nullopt);
  EXPECT_EQ(journal_->durable(), Lsn(commit));
  auto size = [&] { return std::filesystem::file_size(Files(".idx").front()); };
  EXPECT_LT(size(), 52u * 80);
  std::filesystem::remove(Ballast());
  Append(commit, 1, 500);
  WaitDurableOrFailed();
  EXPECT_EQ(size(), 52u * 80) << "sealed when there was space";
  Reopen();
  EXPECT_EQ(ReadFiles(0), written_);
}

}  // namespace
}  // namespace syncflow::journal
