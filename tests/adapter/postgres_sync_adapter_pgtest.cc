#include "adapter/postgres_sync_adapter.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <future>
#include <stdexcept>
#include <thread>

#include "adapter/connection.h"
#include "tests/support/postgres.h"

namespace syncflow::adapter {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;
using testing::PrivatePostgres;

AdapterOptions Options(const std::string& url) {
  AdapterOptions options;
  options.pool.connect.url = url + "?max=3";
  options.pool.connect.timeout = std::chrono::seconds(60);
  options.schema = "whole";
  return options;
}

Operation Make(const std::string& id, int64_t timestamp) {
  VectorClock clock;
  clock.Set("c", timestamp);
  return {id, "insert", "todos", "doc-" + id, R"({"n":1})", timestamp, "c", false, clock};
}

TEST(PostgresSyncAdapter, AllNineMethods) {
  PostgresSyncAdapter adapter(Options(PrivatePostgres::Shared().url()));
  adapter.Initialize();
  std::promise<void> listening;
  std::promise<std::string> heard;
  ChangeEvents events;
  events.listening = [&] { listening.set_value(); };
  events.change = [&](const Operation& operation) { heard.set_value(operation.id); };
  std::thread listener([&] { adapter.ListenForChanges(events); });
  listening.get_future().wait();

  EXPECT_THAT(adapter.AcceptOperations({Make("1", 5)}).accepted, ElementsAre("1"));
  EXPECT_EQ(heard.get_future().get(), "1");
  EXPECT_EQ(adapter.AcceptOperationsJson("[" + Make("1", 5).ToJson() + "]").ToJson(),
            R"({"accepted":["1"],"conflicts":[]})");
  EXPECT_EQ(adapter.GetChanges({}).at(0).ToJson(), Make("1", 5).ToJson());
  EXPECT_EQ(adapter.GetDocument("todos", "doc-1"), R"({"_id":"doc-1","_rev":1,"n":1})");
  EXPECT_THAT(adapter.QueryDocuments("todos", {}),
              ElementsAre(R"({"_id":"doc-1","_rev":1,"n":1})"));
  EXPECT_EQ(adapter.GetStats().total_operations, 1);
  EXPECT_EQ(adapter.Compact({}).deleted, 0);  // stored a moment ago, whatever its timestamp says
  Connection(Options(PrivatePostgres::Shared().url()).pool.connect)
      .Execute("UPDATE whole.operations SET received_at = 'epoch'");
  EXPECT_EQ(adapter.Compact({}).deleted, 1);
  EXPECT_THAT(adapter.GetChanges({}), IsEmpty());
  adapter.Disconnect();
  listener.join();
  EXPECT_THROW(adapter.GetStats(), Error);
}

TEST(PostgresSyncAdapter, ListeningNeedsTheTrigger) {
  AdapterOptions options = Options(PrivatePostgres::Shared().url());
  options.notify = NotifyMode::kOff;
  PostgresSyncAdapter adapter(options);
  EXPECT_THROW(adapter.ListenForChanges({}), std::logic_error);
}

TEST(PostgresSyncAdapter, ListeningAfterDisconnectEndsAtOnce) {
  PostgresSyncAdapter adapter(Options(PrivatePostgres::Shared().url()));
  adapter.Disconnect();
  adapter.ListenForChanges({});
}

TEST(PostgresSyncAdapter, RestartedServerIsNotNoticed) {
  PrivatePostgres server;
  PostgresSyncAdapter adapter(Options(server.url()));
  adapter.Initialize();
  adapter.AcceptOperations({Make("1", 1)});
  for (const char* mode : {"fast", "immediate"}) {
    server.Stop(mode);
    server.Start();
    EXPECT_EQ(adapter.GetStats().total_operations, 1) << mode;
  }
  server.Stop();
  EXPECT_THROW(adapter.GetStats(), Error);
  server.Start();
  EXPECT_THAT(adapter.AcceptOperations({Make("1", 1), Make("2", 2)}).accepted,
              ElementsAre("1", "2"));
  EXPECT_EQ(adapter.GetStats().total_operations, 2);
}

// Connections that are terminated in the middle of the work: each operation is stored once.
TEST(PostgresSyncAdapter, WorkGoesOnWhileConnectionsAreTakenAway) {
  PostgresSyncAdapter adapter(Options(PrivatePostgres::Shared().url()));
  adapter.Initialize();
  int64_t before = adapter.GetStats().total_operations;
  std::atomic<bool> done{false};
  std::atomic<int> stored{0};
  std::atomic<int> failed{0};
  auto write = [&](int client) {
    for (int n = 0; n < 60 || adapter.pool_probe().dropped < 10; ++n) {
      std::string id = "w" + std::to_string(client) + "-" + std::to_string(n);
      for (;;) {
        try {
          EXPECT_THAT(adapter.AcceptOperations({Make(id, n + 1)}).accepted, ElementsAre(id));
          ++stored;
          break;
        } catch (const Error&) {
          ++failed;
        }
      }
    }
  };
  std::vector<std::thread> writers;
  for (int client = 0; client < 4; ++client) writers.emplace_back(write, client);
  std::thread killer([&] {
    ConnectOptions options;
    options.url = PrivatePostgres::Shared().url();
    options.application_name = "killer";
    options.timeout = std::chrono::seconds(60);
    Connection connection(options);
    // One for each operation that got through: on a slow machine none would between two.
    for (int seen = -1; !done;) {
      if (stored == seen) {
        std::this_thread::sleep_for(std::chrono::milliseconds(1));
        continue;
      }
      seen = stored;
      connection.Execute(
          "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = "
          "'syncflow-sidecar' ORDER BY random() LIMIT 1; SELECT pg_sleep(0.02)");
    }
  });
  for (auto& writer : writers) writer.join();
  done = true;
  killer.join();
  EXPECT_EQ(adapter.GetStats().total_operations, before + stored);
  EXPECT_LT(static_cast<uint64_t>(failed), adapter.pool_probe().dropped)
      << "a call fails only when it is hit twice";
}

}  // namespace
}  // namespace syncflow::adapter
