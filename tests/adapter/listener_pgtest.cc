#include "adapter/listener.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <condition_variable>
#include <mutex>
#include <thread>

#include "adapter/schema.h"
#include "tests/support/postgres.h"

namespace syncflow::adapter {
namespace {

using ::testing::ElementsAre;
using testing::PrivatePostgres;
using ::testing::StartsWith;

// A Listener on a thread of its own, and what it has told.
class Hearing {
 public:
  explicit Hearing(const std::string& url,
                   std::chrono::milliseconds backoff_max = std::chrono::milliseconds(50))
      : listener_(Options(url, backoff_max)), thread_([this] { Listen(); }) {}
  ~Hearing() { Stop(); }
  Hearing(const Hearing&) = delete;
  Hearing& operator=(const Hearing&) = delete;

  void Stop() {
    if (!thread_.joinable()) return;
    listener_.Stop();
    thread_.join();
  }
  // Waits for that many stories; only the test's own limit ends it.
  std::vector<std::string> WaitFor(size_t count) {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [&] { return stories_.size() >= count; });
    return stories_;
  }
  void WaitForTick() {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [&, before = ticks_] { return ticks_ > before; });
  }
  std::vector<std::chrono::milliseconds> gaps() {
    std::lock_guard lock(mutex_);
    return gaps_;
  }

 private:
  static ListenerOptions Options(const std::string& url, std::chrono::milliseconds backoff_max) {
    ListenerOptions options;
    options.connect.url = url;
    options.connect.timeout = std::chrono::seconds(60);
    options.backoff_min = std::min(std::chrono::milliseconds(10), backoff_max);
    options.backoff_max = backoff_max;
    return options;
  }

  void Listen() {
    listener_.Run(
        {.notice = [this](const OperationNotice& notice) { Tell("notice " + notice.id); },
         .gap_begin = [this](const Error& error) { Tell("gap begins " + error.sqlstate()); },
         .gap_end =
             [this](std::chrono::milliseconds away) {
               Tell("gap ends", [&] { gaps_.push_back(away); });
             },
         .foreign = [this](std::string_view payload) { Tell("foreign " + std::string(payload)); },
         .tick =
             [this] {
               std::lock_guard lock(mutex_);
               ++ticks_;
               changed_.notify_all();
             }});
  }

  void Tell(
      const std::string& story, const std::function<void()>& also = [] {}) {
    std::lock_guard lock(mutex_);
    stories_.push_back(story);
    also();
    changed_.notify_all();
  }

  std::mutex mutex_;
  std::condition_variable changed_;
  std::vector<std::string> stories_;
  std::vector<std::chrono::milliseconds> gaps_;
  int ticks_ = 0;
  Listener listener_;
  std::thread thread_;
};

class ListenerTest : public ::testing::Test {
 protected:
  static std::string Url() { return PrivatePostgres::Shared().url(); }
  static Connection Connect() {
    ConnectOptions options;
    options.url = Url();
    return Connection(options);
  }
  void Notify(const std::string& payload) {
    connection_.Query("SELECT pg_notify('operation_inserted', $1)", {payload});
  }
  // Ends the sessions that LISTEN.
  void EndSessions() {
    connection_.Execute(
        "SELECT pg_terminate_backend(pid, 60000) FROM pg_stat_activity WHERE pid <> "
        "pg_backend_pid() AND backend_type = 'client backend'");
  }

  Connection connection_ = Connect();
};

TEST_F(ListenerTest, HearsOperationsAsTheyAreCommitted) {
  CreateSchema(connection_, "public", NotifyMode::kTrigger);
  connection_.Execute("TRUNCATE operations");
  Hearing hearing(Url());
  EXPECT_THAT(hearing.WaitFor(1), ElementsAre("gap ends"));
  EXPECT_EQ(hearing.gaps()[0].count(), 0);
  connection_.Execute(
      "INSERT INTO operations (id, type, collection, doc_id, timestamp, client_id, vector_clock) "
      "SELECT 'o' || n, 'insert', 'c', 'd', 1, 'c', '{}' FROM generate_series(1, 2) n");
  EXPECT_THAT(hearing.WaitFor(3), ElementsAre("gap ends", "notice o1", "notice o2"));
}

TEST_F(ListenerTest, TellsForeignPayloadsApart) {
  Hearing hearing(Url());
  hearing.WaitFor(1);
  for (const char* payload : {"", "hello", "{\"id\":1}", "{\"id\":\"o1\"}", "[[[["})
    Notify(payload);
  EXPECT_THAT(hearing.WaitFor(6), ElementsAre("gap ends", "foreign ", "foreign hello",
                                              "foreign {\"id\":1}", "notice o1", "foreign [[[["));
}

TEST_F(ListenerTest, ReportsAGapWhenItsSessionIsEndedAndHearsAgain) {
  Hearing hearing(Url());
  hearing.WaitFor(1);
  EndSessions();
  hearing.WaitFor(3);
  Notify("{\"id\":\"o1\"}");
  EXPECT_THAT(hearing.WaitFor(4),
              ElementsAre("gap ends", "gap begins 57P01", "gap ends", "notice o1"));
  EXPECT_GE(hearing.gaps()[1].count(), 0);
}

TEST_F(ListenerTest, ReportsOneGapHoweverManyAttemptsFail) {
  PrivatePostgres server;
  Hearing hearing(server.url());
  hearing.WaitFor(1);
  server.Stop("immediate");
  hearing.WaitFor(2);
  for (int round = 0; round < 5; ++round) hearing.WaitForTick();
  server.Start();
  EXPECT_THAT(hearing.WaitFor(3), ElementsAre("gap ends", StartsWith("gap begins"), "gap ends"));
  EXPECT_GT(hearing.gaps()[1].count(), 0);
}

TEST_F(ListenerTest, ReportsEachGapOfMany) {
  Hearing hearing(Url());
  hearing.WaitFor(1);
  for (size_t round = 0; round < 5; ++round) {
    EndSessions();
    hearing.WaitFor(3 + 2 * round);
  }
  EXPECT_EQ(hearing.gaps().size(), 6u);
}

TEST_F(ListenerTest, StopsAtOnceWhileListening) {
  Hearing hearing(Url());
  hearing.WaitFor(1);
  hearing.Stop();
}

TEST_F(ListenerTest, StopsAtOnceWhileBackingOff) {
  Hearing hearing("postgresql://postgres@127.0.0.1:1/postgres", std::chrono::hours(1));
  hearing.WaitFor(1);
  hearing.WaitForTick();
  hearing.Stop();
}

TEST_F(ListenerTest, StoppedBeforeItRunsReturns) {
  ListenerOptions options;
  options.connect.url = Url();
  Listener listener(options);
  listener.Stop();
  listener.Run({});
}

TEST_F(ListenerTest, RunsWithoutAnyEvents) {
  ListenerOptions options;
  options.connect.url = Url();
  options.backoff_min = std::chrono::milliseconds(1);
  Listener listener(options);
  std::thread thread([&] { listener.Run({}); });
  auto listens = [this] {
    return connection_
        .Execute("SELECT FROM pg_stat_activity WHERE query LIKE 'LISTEN%' AND state = 'idle'")
        .rows();
  };
  while (listens() == 0) std::this_thread::sleep_for(std::chrono::milliseconds(10));
  Notify("{\"id\":\"o1\"}");
  Notify("hello");
  EndSessions();
  while (listens() == 0) std::this_thread::sleep_for(std::chrono::milliseconds(10));
  listener.Stop();
  thread.join();
}

TEST_F(ListenerTest, HoldsNoTransactionOpen) {
  Hearing hearing(Url());
  hearing.WaitFor(1);
  Result open = connection_.Execute(
      "SELECT pid FROM pg_stat_activity WHERE pid <> pg_backend_pid() AND backend_type = 'client "
      "backend' AND (state LIKE 'idle in%' OR backend_xmin IS NOT NULL)");
  EXPECT_EQ(open.rows(), 0);
}

}  // namespace
}  // namespace syncflow::adapter
