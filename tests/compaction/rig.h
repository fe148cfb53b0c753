// A journal beside a real PostgreSQL whose stream is played: the journal comes to where the server
// stands when the test says so.
#pragma once

#include <gtest/gtest.h>
#include <unistd.h>

#include <atomic>
#include <filesystem>
#include <memory>
#include <string>
#include <thread>

#include "adapter/schema.h"
#include "sidecar/compaction/fence.h"
#include "sidecar/journal/journal.h"
#include "tests/support/postgres.h"

namespace syncflow::compaction {

using replication::Lsn;

class CompactionRig : public ::testing::Test {
 protected:
  CompactionRig() : connection_(Connect()) {
    adapter::CreateSchema(connection_, "public", adapter::NotifyMode::kOff);
    connection_.Execute(
        "TRUNCATE public.operations; ALTER TABLE public.operations ALTER received_at SET DEFAULT "
        "'epoch'");
    std::string name =
        (std::filesystem::temp_directory_path() / "syncflow-compaction-XXXXXX").string();
    folder_ = mkdtemp(name.data());
    journal::Options options;
    options.directory = folder_;
    options.allow_any_filesystem = true;
    options.sync_interval = std::chrono::milliseconds(1);
    journal_ = std::make_unique<journal::Journal>(options);
  }
  ~CompactionRig() override {
    StopStream();
    journal_.reset();
    std::filesystem::remove_all(folder_);
  }

  static adapter::ConnectOptions Options() {
    adapter::ConnectOptions options;
    options.url = testing::PrivatePostgres::Shared().url();
    options.timeout = std::chrono::seconds(120);
    return options;
  }
  static adapter::Connection Connect() { return adapter::Connection(Options()); }

  std::string Ask(const std::string& sql) {
    return std::string(connection_.Execute(sql).Get(0, 0));
  }
  Lsn ServerPosition() { return Lsn::Parse(Ask("SELECT pg_current_wal_insert_lsn()")).value(); }
  int64_t Left() { return std::stoll(Ask("SELECT count(*) FROM public.operations")); }
  // Old enough for everybody.
  void Store(int count) {
    connection_.Execute(
        "INSERT INTO public.operations SELECT gen_random_uuid(), 'insert', 'todos', i, '{}', i, "
        "'c', false, '{}' FROM generate_series(1, " +
        std::to_string(count) + ") i");
  }

  static replication::Streamed Streamed() { return {"public", "operations", "slot", ""}; }
  // The journal becomes that of the server, from where it stands now.
  void Bind(const std::string& other_system = "") {
    journal::Identity identity{other_system.empty()
                                   ? Ask("SELECT system_identifier FROM pg_control_system()")
                                   : other_system,
                               1, "postgres", "public.operations", "slot"};
    journal_->Bind(identity, ServerPosition());
    journal_->NoteTable(replication::TableVersion(connection_, Streamed()));
    pipeline_.state = PipelineState::kStreaming;
  }
  // The stream has come to where the server stands.
  void ComeTo(Lsn position) {
    journal_->Flush(std::max(position, journal_->recorded()));
    journal_->SyncSoon();
  }
  // Does so all the time.
  void StartStream() {
    Bind();
    stream_ = std::thread([this] {
      adapter::Connection connection = Connect();
      while (!stopping_) {
        auto row = connection.Execute("SELECT pg_current_wal_insert_lsn()");
        ComeTo(Lsn::Parse(row.Get(0, 0)).value());
        std::this_thread::sleep_for(std::chrono::milliseconds(5));
      }
    });
  }
  void StopStream() {
    stopping_ = true;
    if (stream_.joinable()) stream_.join();
  }

  static int64_t MicrosecondsNow() {
    return std::chrono::duration_cast<std::chrono::microseconds>(
               std::chrono::system_clock::now().time_since_epoch())
        .count();
  }

  adapter::Connection connection_;
  std::filesystem::path folder_;
  std::unique_ptr<journal::Journal> journal_;
  PipelineProbe pipeline_;
  std::atomic<bool> stopping_{false};
  std::thread stream_;
};

}  // namespace syncflow::compaction
