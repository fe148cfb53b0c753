#include "adapter/pool.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <optional>
#include <thread>

#include "tests/support/postgres.h"

namespace syncflow::adapter {
namespace {

using ::testing::HasSubstr;

PoolOptions To(const std::string& url, int max = 4) {
  PoolOptions options;
  options.connect.url = url;
  options.max = max;
  options.wait = std::chrono::seconds(60);
  return options;
}

std::string Url() {
  return testing::PrivatePostgres::Shared().url();
}

int PidOf(Pool& pool) {
  return pool.Borrow()->backend_pid();
}

TEST(Pooled, ConnectionsAreOpenedWhenNeededAndUsedAgain) {
  Pool pool(To(Url()));
  EXPECT_EQ(pool.probe().opened, 0u);
  int pid = PidOf(pool);
  EXPECT_EQ(PidOf(pool), pid);
  EXPECT_EQ(pool.probe().opened, 1u);
  auto first = pool.Borrow();
  auto second = pool.Borrow();
  EXPECT_NE(first->backend_pid(), second->backend_pid());
  EXPECT_EQ(pool.probe().in_use, 2u);
}

TEST(Pooled, ManyThreadsShareFewConnections) {
  Pool pool(To(Url()));
  std::atomic<int> now{0}, most{0}, sum{0};
  std::vector<std::jthread> threads;
  for (int i = 0; i < 16; ++i) {
    threads.emplace_back([&] {
      for (int turn = 0; turn < 50; ++turn) {
        auto connection = pool.Borrow();
        int level = ++now;
        for (int seen = most; level > seen && !most.compare_exchange_weak(seen, level);) continue;
        sum += std::stoi(std::string(connection->Query("SELECT 1").Get(0, 0)));
        --now;
      }
    });
  }
  threads.clear();
  EXPECT_EQ(sum, 16 * 50);
  EXPECT_LE(most, 4);
  EXPECT_LE(pool.probe().opened, 4u);
  EXPECT_EQ(pool.probe().in_use, 0u);
}

TEST(Pooled, WhoWaitsTooLongIsToldTheSetting) {
  PoolOptions options = To(Url(), 1);
  options.wait = std::chrono::milliseconds(20);
  Pool pool(options);
  {
    auto held = pool.Borrow();
    try {
      pool.Borrow();
      ADD_FAILURE();
    } catch (const Error& error) {
      EXPECT_THAT(error.Explain(), HasSubstr("pool_max"));
    }
    EXPECT_EQ(pool.probe().waits, 1u);
  }
  EXPECT_NO_THROW(pool.Borrow());
}

TEST(Pooled, MaxOfTheUrlCounts) {
  PoolOptions options = To(Url() + "?max=1", 50);
  options.wait = std::chrono::milliseconds(1);
  Pool pool(options);
  auto held = pool.Borrow();
  EXPECT_THROW(pool.Borrow(), Error);
}

TEST(Pooled, EveryFormOfConnectionStringIsTaken) {
  auto& server = testing::PrivatePostgres::Shared();
  std::string port = std::to_string(server.port());
  Connection connection(To(server.url()).connect);
  std::string folder(connection.Query("SHOW unix_socket_directories").Get(0, 0));
  for (const std::string& url :
       {"host=127.0.0.1 user=postgres dbname=postgres port=" + port,
        "host=" + folder + " user=postgres dbname=postgres port=" + port,
        "postgres://postgres@127.0.0.1:" + port + "/postgres?sslmode=disable&max=2"}) {
    Pool pool(To(url));
    EXPECT_EQ(pool.Borrow()->Query("SELECT 1").Get(0, 0), "1") << url;
  }
}

TEST(Pooled, OpenTransactionIsRolledBackOnReturn) {
  Pool pool(To(Url(), 1));
  pool.Borrow()->Execute("BEGIN; CREATE TABLE left_over ()");
  EXPECT_TRUE(pool.Borrow()->idle());
  EXPECT_EQ(pool.Borrow()->Query("SELECT to_regclass('left_over') IS NULL").Get(0, 0), "t");
  EXPECT_EQ(pool.probe().dropped, 0u);
}

TEST(Pooled, ConnectionThatTheServerEndedIsReplacedUnseen) {
  Pool pool(To(Url()));
  int pid = PidOf(pool);
  Connection killer(To(Url()).connect);
  killer.Query("SELECT pg_terminate_backend($1, 60000)", {std::to_string(pid)});
  auto connection = pool.Borrow();
  EXPECT_NE(connection->backend_pid(), pid);
  EXPECT_EQ(connection->Query("SELECT 1").Get(0, 0), "1");
  EXPECT_EQ(pool.probe().dropped, 1u);
}

TEST(Pooled, RestartedServerCostsNoBorrowerMoreThanOneFailure) {
  testing::PrivatePostgres server;
  Pool pool(To(server.url()));
  {
    auto a = pool.Borrow();
    auto b = pool.Borrow();
    auto c = pool.Borrow();
  }
  auto held = std::make_optional(pool.Borrow());
  server.Stop("immediate");
  EXPECT_THROW((*held)->Query("SELECT 1"), Error);
  held.reset();
  EXPECT_THROW(pool.Borrow(), Error) << "the server is away";
  EXPECT_EQ(pool.probe().in_use, 0u);
  server.Start();
  for (int i = 0; i < 5; ++i) EXPECT_EQ(pool.Borrow()->Query("SELECT 1").Get(0, 0), "1");
}

TEST(Pooled, ClosedPoolLendsNothingAndWakesWhoWaits) {
  Pool pool(To(Url(), 1));
  auto held = std::make_optional(pool.Borrow());
  std::jthread waiter([&] { EXPECT_THROW(pool.Borrow(), Error); });
  while (pool.probe().waits == 0) std::this_thread::yield();
  pool.Close();
  waiter.join();
  held.reset();
  EXPECT_EQ(pool.probe().idle, 0u);
  EXPECT_THROW(pool.Borrow(), Error);
}

}  // namespace
}  // namespace syncflow::adapter
