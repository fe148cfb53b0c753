// What is synced, in which order, and what is promised meanwhile. The program's own fdatasync and
// fsync stand in front of the C library's, so that a test can look at each call, hold it up or let
// it fail.
#include <gmock/gmock.h>
#include <sys/syscall.h>

#include <atomic>
#include <cerrno>
#include <future>
#include <mutex>

#include "tests/journal/rig.h"

namespace {

// Returns 0, or the error the call shall fail with.
using Watch = std::function<int(const std::filesystem::path&)>;
std::mutex watch_mutex;
Watch watch;

int Watched(long number, int fd) {
  Watch look;
  {
    std::lock_guard held(watch_mutex);
    look = watch;
  }
  if (look) {
    std::error_code gone;
    errno = look(std::filesystem::read_symlink("/proc/self/fd/" + std::to_string(fd), gone));
    if (errno != 0) return -1;
  }
  return static_cast<int>(syscall(number, fd));
}

void SetWatch(Watch look) {
  std::lock_guard held(watch_mutex);
  watch = std::move(look);
}

}  // namespace

extern "C" int fdatasync(int fd) {
  return Watched(SYS_fdatasync, fd);
}
extern "C" int fsync(int fd) {
  return Watched(SYS_fsync, fd);
}

namespace syncflow::journal {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

class SyncTest : public JournalRig {
 protected:
  ~SyncTest() override { SetWatch(nullptr); }

  // Every path synced from now on.
  void Record() {
    SetWatch([this](const auto& path) {
      std::lock_guard held(mutex_);
      synced_.push_back(path.string());
      return 0;
    });
  }
  std::vector<std::string> Synced() {
    std::lock_guard held(mutex_);
    return synced_;
  }

  // Lets `later` look at the first call of the second sync, while the first one is held up until
  // `meanwhile` has run here.
  void DuringTheFirstSync(const std::function<void()>& meanwhile,
                          const std::function<void()>& later) {
    std::promise<void> begun, release, looked;
    std::atomic<int> syncs{0};
    SetWatch([&](const std::filesystem::path& path) {
      if (path.extension() != ".ndjson") return 0;
      int number = ++syncs;
      if (number == 1) {
        begun.set_value();
        release.get_future().wait();
      } else if (number == 2) {
        later();
        looked.set_value();
      }
      return 0;
    });
    Append(0x2000, 1, 500);
    journal_->SyncSoon();
    begun.get_future().wait();
    meanwhile();
    journal_->SyncSoon();
    release.set_value();
    looked.get_future().wait();
    WaitDurable();
    SetWatch(nullptr);
  }

  std::mutex mutex_;
  std::vector<std::string> synced_;
};

TEST_F(SyncTest, DurableIsOnlyWhatWasRecordedBeforeTheSyncBegan) {
  Open();
  Lsn seen;
  DuringTheFirstSync([&] { Append(0x3000, 1, 500); }, [&] { seen = journal_->durable(); });
  EXPECT_EQ(seen, Lsn(0x2008));
  EXPECT_EQ(journal_->durable(), Lsn(0x3008));
}

TEST_F(SyncTest, RetentionRemovesNothingThatIsNotDurable) {
  options_.segment_bytes = 500;
  options_.retain_bytes = 1;
  Open();
  Earliest seen;
  DuringTheFirstSync(
      [&] {
        for (uint64_t commit = 0x3000; commit < 0x3020; commit += 8) Append(commit, 1, 500);
      },
      [&] { seen = journal_->earliest(); });
  EXPECT_EQ(seen.offset, 0u);
  EXPECT_EQ(journal_->probe().segments, 1u);
}

TEST_F(SyncTest, LinesComeBeforeTheirIndexAndOlderSegmentsBeforeNewer) {
  options_.segment_bytes = 500;
  options_.sync_interval = std::chrono::hours(1);
  Open();
  Append(0x2000, 1, 500);
  Append(0x3000, 1, 500);
  Record();
  WaitDurable();
  auto lines = Files(".ndjson");
  auto index = Files(".idx");
  EXPECT_THAT(Synced(), ElementsAre(options_.directory, lines[0], index[0], index[0],  // the seal
                                    lines[1], index[1]));
}

TEST_F(SyncTest, NewFolderAndItsNameAreSynced) {
  std::filesystem::path top = options_.directory;
  options_.directory = top / "a" / "b";
  Record();
  Open();
  EXPECT_THAT(Synced(), ElementsAre(top, top / "a", options_.directory / "meta.json.new",
                                    options_.directory, options_.directory, options_.directory));
  Close();
  options_.directory = top;
}

TEST_F(SyncTest, WhatSurvivedIsSyncedBeforeItIsTrusted) {
  options_.sync_interval = std::chrono::hours(1);
  Open();
  Append(0x2000, 1, 500);
  Crash();
  Record();
  Open();
  EXPECT_EQ(journal_->durable(), Lsn(0x2008));
  EXPECT_THAT(Synced(), ElementsAre(Files(".ndjson")[0], Files(".idx")[0], options_.directory));
}

// Whichever call fails, it is the last one of all.
TEST_F(SyncTest, NoSyncIsTriedAfterOneThatFailed) {
  for (size_t failing = 0; failing < 6; ++failing) {
    Close();
    for (const auto& file : std::filesystem::directory_iterator(options_.directory))
      std::filesystem::remove(file);
    options_.segment_bytes = 500;
    options_.sync_interval = std::chrono::hours(1);
    Open();
    Append(0x2000, 1, 500);
    Append(0x3000, 1, 500);
    std::atomic<size_t> calls{0};
    SetWatch([&](const auto&) { return calls++ == failing ? EIO : 0; });
    WaitDurableOrFailed();
    ASSERT_TRUE(journal_->sync_failure()) << failing;
    EXPECT_THAT(*journal_->sync_failure(), HasSubstr("nothing is confirmed"));
    EXPECT_EQ(journal_->durable(), Lsn(kStart));
    Append(0x4000, 1, 500);
    journal_->SyncSoon();
    Close();
    EXPECT_EQ(calls, failing + 1);
    SetWatch(nullptr);
  }
}

TEST_F(SyncTest, OpeningFailsWhenWhatSurvivedCannotBeSynced) {
  Open();
  Append(0x2000, 1, 500);
  Close();
  SetWatch([](const auto& path) { return path.extension() == ".idx" ? EIO : 0; });
  EXPECT_EQ(Refusal([&] { Open(); }), Error::Kind::kIo);
}

}  // namespace
}  // namespace syncflow::journal
