// The watch with a real PostgreSQL; the test plays the slot.
#include "sidecar/notify/watch.h"

#include <gtest/gtest.h>

#include <optional>
#include <string>
#include <thread>

#include "adapter/connection.h"
#include "adapter/schema.h"
#include "tests/support/postgres.h"

namespace syncflow::notify {
namespace {

using std::chrono::milliseconds;

adapter::ConnectOptions ConnectTo(const std::string& url) {
  adapter::ConnectOptions options;
  options.url = url;
  options.application_name = "the_watch";
  return options;
}

adapter::Connection Writer(const std::string& url) {
  adapter::ConnectOptions options = ConnectTo(url);
  options.application_name = "the_writer";
  return adapter::Connection(options);
}

class Watched : public ::testing::Test {
 protected:
  Watched() : url_(testing::PrivatePostgres::Shared().url()), sql_(Writer(url_)) {
    adapter::CreateSchema(sql_, "public", adapter::NotifyMode::kTrigger);
    sql_.Execute("ALTER TABLE operations ENABLE TRIGGER operation_insert_trigger");
  }
  ~Watched() override { sql_.Execute("TRUNCATE operations"); }

  void Start() {
    Watch::Options options;
    options.listener.connect = ConnectTo(url_);
    options.listener.backoff_min = milliseconds(20);
    options.listener.backoff_max = milliseconds(50);
    options.settle = milliseconds(1500);
    watch_.emplace(options);
    watch_->Start();
  }
  const Probe& probe() const { return watch_->probe(); }

  void Insert(const std::string& id) {
    sql_.Query(
        "INSERT INTO operations(id, type, collection, doc_id, timestamp, client_id, vector_clock) "
        "VALUES ($1, 'update', 'todos', 'd', 1, 'c', '{}')",
        {id});
  }
  void InsertAndDeliver(const std::string& id) {
    Insert(id);
    watch_->Delivered(id);
    watch_->FlushDelivered();
  }
  // Cuts the watch's connection and keeps it out until LetIn.
  void CutOff() {
    sql_.Execute("UPDATE pg_database SET datallowconn = false WHERE datname = 'postgres'");
    sql_.Execute(
        "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE application_name = "
        "'the_watch'");
  }
  void LetIn() {
    sql_.Execute("UPDATE pg_database SET datallowconn = true WHERE datname = 'postgres'");
  }
  // However long it takes; the test's own time limit ends what never comes.
  template <typename Condition>
  static void Until(Condition condition) {
    while (!condition()) std::this_thread::sleep_for(milliseconds(5));
  }
  void UntilConnected() {
    Until([&] { return probe().connected.load(); });
  }

  std::string url_;
  adapter::Connection sql_;
  std::optional<Watch> watch_;
};

TEST_F(Watched, AnnouncedOperationsAreNotRecovered) {
  Start();
  UntilConnected();
  for (int i = 0; i < 50; ++i) InsertAndDeliver("op-" + std::to_string(i));
  Until([&] { return probe().announced == 50; });
  // Judged later than the fifty: when it is recovered, they would have been.
  watch_->Delivered("never inserted");
  watch_->FlushDelivered();
  Until([&] { return probe().recovered > 0; });
  EXPECT_EQ(probe().recovered, 1u);
  EXPECT_EQ(probe().delivered, 51u);
  EXPECT_EQ(probe().gaps, 0u);
}

TEST_F(Watched, WhatNotifyLostInAGapIsRecovered) {
  Start();
  UntilConnected();
  InsertAndDeliver("before");
  Until([&] { return probe().announced == 1; });
  CutOff();
  Until([&] { return !probe().connected; });
  for (int i = 0; i < 7; ++i) InsertAndDeliver("during-" + std::to_string(i));
  LetIn();
  UntilConnected();
  InsertAndDeliver("after");
  Until([&] { return probe().announced == 2; });
  Until([&] { return probe().recovered >= 7; });
  EXPECT_EQ(probe().recovered, 7u);
  EXPECT_EQ(probe().gaps, 1u);
  EXPECT_GT(probe().gap_milliseconds, 0u);
}

TEST_F(Watched, ForeignPayloadsAreCountedNotBelieved) {
  Start();
  UntilConnected();
  sql_.Execute("NOTIFY operation_inserted, 'hello'");
  sql_.Execute("NOTIFY operation_inserted");
  sql_.Execute("NOTIFY operation_inserted, '{\"id\":7}'");
  Until([&] { return probe().foreign_payloads == 3; });
  EXPECT_EQ(probe().announced, 0u);
}

TEST_F(Watched, DisabledTriggerShowsAsRecovered) {
  Start();
  UntilConnected();
  sql_.Execute("ALTER TABLE operations DISABLE TRIGGER operation_insert_trigger");
  InsertAndDeliver("silent");
  Until([&] { return probe().recovered == 1; });
  EXPECT_EQ(probe().announced, 0u);
}

TEST_F(Watched, OperationRepeatedByAReconnectCountsOnce) {
  Start();
  UntilConnected();
  InsertAndDeliver("held");
  watch_->Delivered("held");
  watch_->FlushDelivered();
  EXPECT_EQ(probe().delivered, 1u);
}

TEST_F(Watched, ServerThatIsAwayDoesNotHoldUpTheEnd) {
  Watch::Options options;
  options.listener.connect = ConnectTo("postgresql://postgres@127.0.0.1:1/postgres");
  Watch watch(options);
  watch.Start();
  watch.Delivered("x");
  watch.FlushDelivered();
  watch.Stop();
  watch.Stop();
  EXPECT_FALSE(watch.probe().connected);
}

TEST_F(Watched, TransactionIsNeverLeftOpen) {
  Start();
  UntilConnected();
  auto state = sql_.Query(
      "SELECT state, xact_start IS NULL FROM pg_stat_activity WHERE application_name = "
      "'the_watch'");
  ASSERT_EQ(state.rows(), 1);
  EXPECT_EQ(state.Get(0, 0), "idle");
  EXPECT_EQ(state.Get(0, 1), "t");
}

}  // namespace
}  // namespace syncflow::notify
