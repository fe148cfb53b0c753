#include "adapter/compact.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <future>
#include <limits>
#include <stdexcept>

#include "adapter/schema.h"
#include "tests/support/postgres.h"

namespace syncflow::adapter {
namespace {

using std::chrono::hours;
using std::chrono::milliseconds;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

class Compacting : public ::testing::Test {
 protected:
  Compacting() : connection_(Connect()) {
    CreateSchema(connection_, "compact", NotifyMode::kOff);
    connection_.Execute("TRUNCATE compact.operations");
    options_.older_than = hours(10);
    options_.batch_rows = 10;
    options_.pause = milliseconds(0);
    options_.lock_timeout = milliseconds(20);
  }

  static Connection Connect() {
    ConnectOptions options;
    options.url = testing::PrivatePostgres::Shared().url();
    options.timeout = std::chrono::seconds(120);
    return Connection(options);
  }

  // One an hour, the youngest half an hour old by the database's clock.
  void StoreHours(int count) {
    connection_.Query(
        "INSERT INTO compact.operations SELECT i, 'insert', 'todos', i, '{}', (extract(epoch FROM "
        "now()) * 1000)::bigint - 1800000 - 3600000 * (i - 1)::bigint, 'c', false, '{}' FROM "
        "generate_series(1, $1::int) i",
        {std::to_string(count)});
  }
  int64_t Left() {
    return std::stoll(
        std::string(connection_.Execute("SELECT count(*) FROM compact.operations").Get(0, 0)));
  }
  std::string OldestLeft() {
    return std::string(
        connection_.Execute("SELECT max(id::int) FROM compact.operations").Get(0, 0));
  }
  CompactResult Run() { return Compact(connection_, "compact", options_); }

  Connection connection_;
  CompactOptions options_;
};

TEST_F(Compacting, OldOnesGoByTheDatabasesClock) {
  StoreHours(35);
  auto result = Run();
  EXPECT_EQ(result.eligible, 25);
  EXPECT_EQ(result.deleted, 25);
  EXPECT_EQ(OldestLeft(), "10");
  EXPECT_EQ(result.ToJson(), R"({"message":"Compaction completed","deletedCount":25})");
  EXPECT_EQ(Run().deleted, 0);
}

TEST_F(Compacting, EmptyTableIsFine) {
  EXPECT_EQ(Run().deleted, 0);
  options_.share_max = 0.5;
  EXPECT_EQ(Run().deleted, 0);
}

TEST_F(Compacting, EachBatchIsATransactionOfItsOwn) {
  StoreHours(35);
  std::vector<int64_t> steps;
  options_.progress = [&](const CompactProgress& progress) {
    EXPECT_TRUE(connection_.idle());
    EXPECT_EQ(progress.eligible, 25);
    steps.push_back(progress.deleted);
    return true;
  };
  Run();
  EXPECT_THAT(steps, ElementsAre(10, 20, 25));
}

TEST_F(Compacting, CanBeCancelledBetweenBatches) {
  StoreHours(35);
  options_.progress = [](const CompactProgress&) { return false; };
  auto result = Run();
  EXPECT_TRUE(result.cancelled);
  EXPECT_EQ(result.deleted, 10);
  EXPECT_EQ(Left(), 25);
  EXPECT_EQ(OldestLeft(), "25") << "the oldest went first";
}

TEST_F(Compacting, DryRunOnlyCounts) {
  StoreHours(35);
  options_.dry_run = true;
  EXPECT_EQ(Run().deleted, 25);
  EXPECT_EQ(Left(), 35);
}

TEST_F(Compacting, ShareOfTheTableIsAtMostThat) {
  StoreHours(40);
  options_.share_max = 0.5;
  auto result = Run();
  EXPECT_EQ(result.eligible, 30);
  EXPECT_EQ(result.deleted, 20);
  EXPECT_TRUE(result.limited);
  EXPECT_EQ(OldestLeft(), "20") << "the oldest went first";
}

TEST_F(Compacting, EqualTimestampsLongerThanABatchAllGo) {
  connection_.Execute(
      "INSERT INTO compact.operations SELECT i, 'insert', 'todos', i, '{}', 5, 'c', false, '{}' "
      "FROM generate_series(1, 37) i");
  EXPECT_EQ(Run().deleted, 37);
  EXPECT_EQ(Left(), 0);
}

TEST_F(Compacting, RowsThatSomebodyLocksAreLeftToTheNextRun) {
  StoreHours(35);
  Connection other = Connect();
  other.Execute("BEGIN; SELECT 1 FROM compact.operations WHERE id IN ('35', '20') FOR UPDATE");
  EXPECT_EQ(Run().deleted, 23);
  other.Execute("ROLLBACK");
  EXPECT_EQ(Run().deleted, 2);
}

TEST_F(Compacting, LockedTableIsWaitedForAndThenReported) {
  StoreHours(35);
  Connection other = Connect();
  other.Execute("BEGIN; LOCK TABLE compact.operations IN SHARE MODE");
  try {
    Run();
    FAIL();
  } catch (const Error& error) {
    EXPECT_EQ(error.sqlstate(), "55P03");
  }
  EXPECT_TRUE(connection_.idle());
  options_.lock_timeout = std::chrono::seconds(20);
  auto later = std::async(std::launch::async, [&] { return Run(); });
  other.Execute("SELECT pg_sleep(0.2)");
  other.Execute("ROLLBACK");
  EXPECT_EQ(later.get().deleted, 25);
}

TEST_F(Compacting, VacuumTakesTheSpaceBack) {
  StoreHours(35);
  options_.vacuum = true;
  Run();
  EXPECT_EQ(
      connection_
          .Execute("SELECT reltuples FROM pg_class WHERE oid = 'compact.operations'::regclass")
          .Get(0, 0),
      "10");
}

TEST_F(Compacting, OptionsOutOfRangeAreRefused) {
  auto refused = [&](auto change) {
    CompactOptions good = options_;
    change();
    EXPECT_THROW(Run(), std::invalid_argument);
    options_ = good;
  };
  refused([&] { options_.older_than = hours(-1); });
  refused([&] { options_.batch_rows = 0; });
  refused([&] { options_.batch_rows = 100'001; });
  refused([&] { options_.share_max = 0; });
  refused([&] { options_.share_max = 1.01; });
  refused([&] { options_.share_max = std::numeric_limits<double>::quiet_NaN(); });
  refused([&] { options_.pause = milliseconds(-1); });
  refused([&] { options_.lock_timeout = milliseconds(0); });
}

}  // namespace
}  // namespace syncflow::adapter
