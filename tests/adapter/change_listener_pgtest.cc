#include "adapter/change_listener.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <condition_variable>
#include <mutex>
#include <random>
#include <thread>

#include "adapter/schema.h"
#include "tests/support/postgres.h"

namespace syncflow::adapter {
namespace {

using std::chrono::milliseconds;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using testing::PrivatePostgres;

constexpr const char* kSchema = "listen";

Connection Connect(const std::string& url) {
  ConnectOptions options;
  options.url = url;
  options.timeout = std::chrono::seconds(120);
  return Connection(options);
}

// A ChangeListener on a thread of its own, and what it told.
class Listening {
 public:
  explicit Listening(const std::string& url, std::function<void()> on_listening = nullptr,
                     milliseconds backoff = milliseconds(10))
      : listener_(Options(url, backoff)),
        thread_([this, on_listening = std::move(on_listening)] { Run(on_listening); }) {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [this] { return listening_; });
  }
  ~Listening() { Stop(); }

  void Stop() {
    listener_.Stop();
    if (thread_.joinable()) thread_.join();
  }
  // Waits for that many operations; only the test's own limit ends it.
  std::vector<std::string> WaitFor(size_t count) {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [&] { return ids_.size() >= count; });
    return ids_;
  }
  void WaitForGaps(size_t count) {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [&] { return gaps_.size() >= count; });
  }
  void WaitForTrouble(const std::string& text) {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [&] { return trouble_.find(text) != trouble_.npos; });
  }
  std::vector<ChangeGap> gaps() {
    std::lock_guard lock(mutex_);
    return gaps_;
  }

 private:
  static ChangeListenerOptions Options(const std::string& url, milliseconds backoff) {
    ChangeListenerOptions options;
    options.connect.url = url;
    options.connect.application_name = "listening";
    options.connect.timeout = std::chrono::seconds(60);
    options.schema = kSchema;
    options.backoff_min = backoff;
    options.backoff_max = backoff * 4;
    return options;
  }

  void Run(const std::function<void()>& on_listening) {
    ChangeEvents events;
    events.listening = [&] {
      if (on_listening) on_listening();
      Note([&] { listening_ = true; });
    };
    events.change = [this](const Operation& operation) {
      Note([&] { ids_.push_back(operation.id); });
    };
    events.gap = [this](const ChangeGap& gap) { Note([&] { gaps_.push_back(gap); }); };
    events.trouble = [this](const Error& error) { Note([&] { trouble_ += error.what(); }); };
    listener_.Run(events);
  }

  void Note(const std::function<void()>& what) {
    std::lock_guard lock(mutex_);
    what();
    changed_.notify_all();
  }

  ChangeListener listener_;
  std::mutex mutex_;
  std::condition_variable changed_;
  bool listening_ = false;
  std::vector<std::string> ids_;
  std::vector<ChangeGap> gaps_;
  std::string trouble_;
  std::thread thread_;
};

class ChangeListening : public ::testing::Test {
 protected:
  ChangeListening() : connection_(Connect(PrivatePostgres::Shared().url())) {
    CreateSchema(connection_, kSchema, NotifyMode::kTrigger);
    connection_.Execute("TRUNCATE listen.operations");
  }

  static std::string Insert(const std::string& id, const std::string& clock = "{}",
                            const std::string& doc = "'d'") {
    return "INSERT INTO listen.operations VALUES ('" + id + "', 'insert', 'todos', " + doc +
           ", '{}', 1, 'c', false, '" + clock + "');";
  }
  void Store(const std::string& id) { connection_.Execute(Insert(id)); }
  // Ends the LISTEN connection (or all of the listener's).
  void Terminate(bool all = false) {
    connection_.Execute(
        std::string("SELECT pg_terminate_backend(pid, 10000) FROM pg_stat_activity WHERE "
                    "application_name = 'listening'") +
        (all ? "" : " AND query = ''"));
  }
  // Waits until the listener's snapshot must have moved on.
  void WaitForMarker(int count = 1) {
    connection_.Execute("SELECT pg_sleep(" + std::to_string(2.2 * count) + ")");
  }

  const std::string url_ = PrivatePostgres::Shared().url();
  Connection connection_;
};

TEST_F(ChangeListening, OperationsComeInCommitOrder) {
  Store("before");
  Listening listening(url_);
  Store("1");
  connection_.Execute("BEGIN;" + Insert("2") + Insert("3") + "COMMIT");
  Connection other = Connect(url_);
  connection_.Execute("BEGIN;" + Insert("late"));
  other.Execute(Insert("4"));
  connection_.Execute("COMMIT");
  EXPECT_THAT(listening.WaitFor(5), ElementsAre("1", "2", "3", "4", "late"));
  EXPECT_THAT(listening.gaps(), IsEmpty());
}

TEST_F(ChangeListening, WhatIsInProgressWhenItBeginsIsHeard) {
  Connection other = Connect(url_);
  other.Execute("BEGIN;" + Insert("in progress"));
  Store("before");
  Listening listening(url_, [&] {
    Store("1");
    other.Execute("COMMIT");
  });
  Store("2");
  EXPECT_THAT(listening.WaitFor(3), ElementsAre("1", "in progress", "2"));
  EXPECT_THAT(listening.gaps(), IsEmpty());
}

TEST_F(ChangeListening, GapIsCaughtUpAndTold) {
  Listening listening(url_, nullptr, milliseconds(400));
  Store("1");
  listening.WaitFor(1);
  WaitForMarker(2);
  Terminate();
  // On and on, so that some are announced before those of the gap have been looked for.
  std::vector<std::string> expected = {"1"};
  while (listening.gaps().empty() || expected.size() < 700) {
    expected.push_back("gap" + std::to_string(expected.size()));
    Store(expected.back());
  }
  EXPECT_EQ(listening.WaitFor(expected.size()), expected);
  EXPECT_GT(listening.gaps()[0].away.count(), 0);
  EXPECT_GT(listening.gaps()[0].recovered, 0u);
  EXPECT_TRUE(listening.gaps()[0].complete);
}

// A subtransaction has a number of its own, which no snapshot lists.
TEST_F(ChangeListening, SubtransactionThatEndsInAGapIsFound) {
  Connection other = Connect(url_);
  other.Execute("BEGIN; SELECT pg_current_xact_id(); SAVEPOINT s;" + Insert("sub") +
                "RELEASE SAVEPOINT s");
  Listening listening(url_, nullptr, milliseconds(400));
  for (const char* id : {"1", "2", "3"}) {
    Store(id);
    WaitForMarker();
  }
  Terminate();
  other.Execute("COMMIT");
  listening.WaitForGaps(1);
  EXPECT_THAT(listening.WaitFor(4), ElementsAre("1", "2", "3", "sub"));
  EXPECT_EQ(listening.gaps()[0].recovered, 1u);
}

TEST_F(ChangeListening, ForeignLongAndVanishedOnesAreSurvived) {
  Listening listening(url_);
  connection_.Execute("NOTIFY operation_inserted, 'no json'; NOTIFY operation_inserted");
  connection_.Execute(R"(NOTIFY operation_inserted, '{"id":"nobody"}')");
  connection_.Execute("BEGIN;" + Insert("gone") +
                      "DELETE FROM listen.operations WHERE id = 'gone'; COMMIT");
  connection_.Execute(Insert("long", "{}", "repeat('x', 20000)"));
  Store("1");
  EXPECT_THAT(listening.WaitFor(2), ElementsAre("long", "1"));
}

TEST_F(ChangeListening, RowThatCannotBeReadIsTold) {
  Listening listening(url_);
  connection_.Execute(Insert("bad", R"({"c": "x"})"));
  Store("good");
  EXPECT_THAT(listening.WaitFor(1), ElementsAre("good"));
  listening.WaitForTrouble("operation 'bad' cannot be read");
}

TEST_F(ChangeListening, WhatACallbackThrowsEndsRun) {
  ChangeListenerOptions options;
  options.connect.url = url_;
  options.schema = kSchema;
  ChangeListener listener(options);
  ChangeEvents events;
  events.listening = [this] { Store("1"); };
  events.change = [](const Operation&) { throw Error("enough"); };
  EXPECT_THROW(listener.Run(events), Error);
}

// Everything that was committed comes exactly once, whatever happens to server and connections.
TEST(ChangeListeningUnderFire, EachOperationComesOnce) {
  constexpr unsigned kSeed = 7;
  std::mt19937 random(kSeed);
  PrivatePostgres server;
  auto connection = Connect(server.url());
  CreateSchema(connection, kSchema, NotifyMode::kTrigger);
  Listening listening(server.url());
  std::atomic<bool> done{false};
  std::mutex mutex;
  std::vector<std::string> committed;
  std::vector<std::string> unknown;  // the server went while COMMIT was under way
  auto write = [&](int writer, unsigned seed) {
    std::mt19937 dice(seed);
    for (int n = 0; !done;) {
      try {
        auto own = Connect(server.url());
        while (!done) {
          std::vector<std::string> ids;
          std::string sql = "BEGIN;";
          for (unsigned i = 0; i <= dice() % 3; ++i) {
            ids.push_back(std::to_string(writer) + "-" + std::to_string(n++));
            bool sub = dice() % 3 == 0;
            sql += (sub ? "SAVEPOINT s;" : "") +
                   ("INSERT INTO listen.operations VALUES ('" + ids.back() +
                    "', 'insert', 'todos', 'd', '{}', 1, 'c', false, '{}');") +
                   (sub ? "RELEASE SAVEPOINT s;" : "");
          }
          if (dice() % 10 == 0) sql += "SELECT pg_sleep(0.3);";
          bool commits = dice() % 8 != 0;
          if (!commits) {
            own.Execute(sql + "ROLLBACK");
            continue;
          }
          own.Execute(sql);
          try {
            own.Execute("COMMIT");
          } catch (const Error&) {
            std::lock_guard lock(mutex);
            unknown.insert(unknown.end(), ids.begin(), ids.end());
            throw;
          }
          std::lock_guard lock(mutex);
          committed.insert(committed.end(), ids.begin(), ids.end());
          std::this_thread::sleep_for(milliseconds(dice() % 5));
        }
      } catch (const Error&) {
        std::this_thread::sleep_for(milliseconds(20));
      }
    }
  };
  std::vector<std::thread> writers;
  for (int i = 0; i < 3; ++i) writers.emplace_back(write, i, kSeed + static_cast<unsigned>(i));
  for (int round = 0; round < 8; ++round) {
    std::this_thread::sleep_for(milliseconds(200 + random() % 1500));
    if (round % 4 == 3) {
      server.Stop(round == 3 ? "immediate" : "fast");
      server.Start();
    } else {
      auto killer = Connect(server.url());
      killer.Execute(std::string("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE "
                                 "application_name = 'listening'") +
                     (round % 2 == 0 ? " LIMIT 1" : ""));
    }
  }
  done = true;
  for (auto& writer : writers) writer.join();
  auto last = Connect(server.url());
  for (const std::string& id : unknown) {
    if (last.Query("SELECT 1 FROM listen.operations WHERE id = $1", {id}).rows() > 0)
      committed.push_back(id);
  }
  listening.WaitFor(committed.size());
  last.Execute("SELECT pg_sleep(1)");  // for what would come twice
  auto told = listening.WaitFor(committed.size());
  std::sort(told.begin(), told.end());
  std::sort(committed.begin(), committed.end());
  EXPECT_EQ(told, committed) << "seed " << kSeed;
  EXPECT_GT(committed.size(), 100u);
  EXPECT_GE(listening.gaps().size(), 3u);
}

}  // namespace
}  // namespace syncflow::adapter
