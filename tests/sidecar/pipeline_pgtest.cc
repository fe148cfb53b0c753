// The route with a real PostgreSQL and a disk that this test holds up or lets fail: the program's
// own fdatasync stands in front of the C library's.
#include "sidecar/pipeline.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <filesystem>
#include <future>

#include "adapter/schema.h"
#include "tests/support/postgres.h"

namespace {
enum class Disk { kWorks, kHangs, kFails };
std::atomic<Disk> disk{Disk::kWorks};
}  // namespace

extern "C" int fdatasync(int fd) {
  while (disk == Disk::kHangs) usleep(1000);
  if (disk == Disk::kWorks) return static_cast<int>(syscall(SYS_fdatasync, fd));
  errno = EIO;
  return -1;
}

namespace syncflow {
namespace {

using replication::Lsn;
using ::testing::HasSubstr;

class PipelineTest : public ::testing::Test {
 protected:
  PipelineTest() : server_(testing::PrivatePostgres::Shared()), sql_(Connect()) {
    disk = Disk::kWorks;
    adapter::CreateSchema(sql_, "public", adapter::NotifyMode::kOff);
    std::string name = (std::filesystem::temp_directory_path() / "syncflow-XXXXXX").string();
    folder_ = mkdtemp(name.data());
    journal::Options journal;
    journal.directory = folder_;
    journal.allow_any_filesystem = true;
    journal_.emplace(journal);
    feed::Options feed;
    feed.listen = "127.0.0.1:0";
    feed_.emplace(feed, *journal_);
    PipelineOptions options;
    options.upstream.connect.url = server_.url();
    options.upstream.notify = adapter::NotifyMode::kOff;
    pipeline_.emplace(options, *journal_, *feed_, nullptr, probe_);
    running_ = std::async(std::launch::async, [this] { pipeline_->Run(); });
    Wait([this] { return probe_.state == PipelineState::kStreaming; });
  }
  ~PipelineTest() override {
    disk = Disk::kWorks;
    pipeline_->Stop();
    if (running_.valid()) running_.wait();
    pipeline_.reset();
    feed_.reset();
    journal_.reset();
    std::filesystem::remove_all(folder_);
    Wait([this] { return Slot("active") == "f"; });
    sql_.Execute("SELECT pg_drop_replication_slot('syncflow_sidecar'); TRUNCATE operations");
  }

  adapter::Connection Connect() const {
    adapter::ConnectOptions options;
    options.url = server_.url();
    return adapter::Connection(options);
  }
  std::string Slot(const std::string& column) {
    return std::string(sql_.Query("SELECT " + column +
                                  " FROM pg_replication_slots WHERE slot_name = 'syncflow_sidecar'")
                           .Get(0, 0));
  }
  Lsn Confirmed() { return *Lsn::Parse(Slot("confirmed_flush_lsn")); }

  // Commits one operation and waits until consumers can have it; where its commit stands.
  Lsn CommitAndDeliver() {
    uint64_t before = journal_->head().offset;
    sql_.Execute(
        "INSERT INTO operations (id, type, collection, doc_id, timestamp, client_id, vector_clock) "
        "SELECT gen_random_uuid(), 'insert', 'todos', 'd', 1, 'c', '{}'");
    Wait([&] { return journal_->head().offset > before; });
    return journal_->head().position.commit_lsn;
  }
  // Until so many more status updates went out.
  void WaitStatusUpdates(uint64_t count) {
    uint64_t end = probe_.stream.status_by_timer + count;
    Wait([&] { return probe_.stream.status_by_timer >= end; });
  }
  static void Wait(const std::function<bool()>& holds) {
    for (int waited = 0; !holds(); ++waited) {
      ASSERT_LT(waited, 60'000) << "never came true";
      usleep(1000);
    }
  }

  // What Run() ends with; "" when it ends in good order.
  std::string Ending() {
    try {
      running_.get();
      return "";
    } catch (const journal::Error& error) {
      return error.what();
    }
  }

  testing::PrivatePostgres& server_;
  adapter::Connection sql_;
  std::filesystem::path folder_;
  std::optional<journal::Journal> journal_;
  std::optional<feed::Feed> feed_;
  PipelineProbe probe_;
  std::optional<Pipeline> pipeline_;
  std::future<void> running_;
};

TEST_F(PipelineTest, ConfirmsNothingBeforeItIsDurable) {
  disk = Disk::kHangs;
  Lsn committed = CommitAndDeliver();
  WaitStatusUpdates(3);
  EXPECT_LE(Confirmed(), committed) << "delivered, not durable, and confirmed all the same";
  disk = Disk::kWorks;
  Wait([&] { return Confirmed() > committed; });
}

TEST_F(PipelineTest, FailedSyncEndsItAndConfirmsNothing) {
  disk = Disk::kFails;
  Lsn committed = CommitAndDeliver();
  EXPECT_THAT(Ending(), HasSubstr("nothing is confirmed"));
  EXPECT_LE(Confirmed(), committed);
}

TEST_F(PipelineTest, FailedSyncAtTheEndIsNoGoodEnd) {
  disk = Disk::kHangs;
  Lsn committed = CommitAndDeliver();
  pipeline_->Stop();
  Wait([this] { return probe_.state != PipelineState::kStreaming || running_.valid(); });
  disk = Disk::kFails;
  EXPECT_THAT(Ending(), HasSubstr("nothing is confirmed"));
  EXPECT_LE(Confirmed(), committed);
}

TEST_F(PipelineTest, OrderlyEndConfirmsEverything) {
  Lsn committed = CommitAndDeliver();
  pipeline_->Stop();
  EXPECT_EQ(Ending(), "");
  Wait([&] { return Confirmed() > committed; });  // the server reads it when it comes to it
}

TEST_F(PipelineTest, FailedSyncEndsItWhilePostgresIsAway) {
  testing::PrivatePostgres& server = server_;
  disk = Disk::kHangs;
  CommitAndDeliver();
  server.Stop("immediate");
  Wait([this] { return probe_.state == PipelineState::kConnecting; });
  disk = Disk::kFails;
  EXPECT_THAT(Ending(), HasSubstr("nothing is confirmed"));
  disk = Disk::kWorks;
  server.Start();
  sql_ = Connect();
}

}  // namespace
}  // namespace syncflow
