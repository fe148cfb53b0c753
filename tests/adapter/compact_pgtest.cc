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
using ::testing::Pair;

class Compacting : public ::testing::Test {
 protected:
  Compacting() : connection_(Connect()) {
    CreateSchema(connection_, "compact", NotifyMode::kOff);
    connection_.Execute(
        "TRUNCATE compact.operations; ALTER TABLE compact.operations ALTER received_at SET DEFAULT "
        "'epoch'");  // stored long ago
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
  std::vector<std::string> Ids() {
    Result rows =
        connection_.Execute("SELECT id FROM compact.operations ORDER BY id COLLATE \"C\"");
    std::vector<std::string> ids;
    for (int row = 0; row < rows.rows(); ++row) ids.emplace_back(rows.Get(row, 0));
    return ids;
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
  EXPECT_THAT(steps, ElementsAre(0, 10, 20, 25)) << "the first is the counting";
}

// Asked of the server: what each transaction has deleted.
TEST_F(Compacting, NoTransactionIsLargerThanABatch) {
  connection_.Execute(
      "CREATE TABLE compact.deleted (writer xid8, rows bigint); CREATE FUNCTION compact.note() "
      "RETURNS trigger LANGUAGE plpgsql AS 'BEGIN INSERT INTO compact.deleted SELECT "
      "pg_current_xact_id(), count(*) FROM gone; RETURN NULL; END'; CREATE TRIGGER note AFTER "
      "DELETE ON compact.operations REFERENCING OLD TABLE AS gone FOR EACH STATEMENT EXECUTE "
      "FUNCTION compact.note()");
  StoreHours(1000);
  options_.batch_rows = 64;
  EXPECT_EQ(Run().deleted, 990);
  Result sizes = connection_.Execute(
      "SELECT max(rows), sum(rows), count(*) FROM (SELECT sum(rows) AS rows FROM compact.deleted "
      "GROUP BY writer HAVING sum(rows) > 0) t");
  EXPECT_EQ(sizes.Get(0, 0), "64");
  EXPECT_EQ(sizes.Get(0, 1), "990");
  EXPECT_EQ(sizes.Get(0, 2), "16");
  connection_.Execute("DROP FUNCTION compact.note CASCADE; DROP TABLE compact.deleted");
}

TEST_F(Compacting, CanBeCancelledBetweenBatches) {
  StoreHours(35);
  options_.progress = [](const CompactProgress& progress) { return progress.deleted == 0; };
  auto result = Run();
  EXPECT_TRUE(result.cancelled);
  EXPECT_EQ(result.deleted, 10);
  EXPECT_EQ(Left(), 25);
  EXPECT_EQ(OldestLeft(), "25") << "the oldest went first";
}

TEST_F(Compacting, CanBeCancelledWhileItCounts) {
  StoreHours(35);
  options_.progress = [](const CompactProgress&) { return false; };
  auto result = Run();
  EXPECT_TRUE(result.cancelled);
  EXPECT_EQ(result.deleted, 0);
  EXPECT_EQ(Left(), 35);
}

TEST_F(Compacting, CanBeCancelledInAPause) {
  StoreHours(35);
  options_.pause = hours(1);
  int calls = 0;
  options_.progress = [&](const CompactProgress&) { return ++calls < 4; };
  EXPECT_TRUE(Run().cancelled);
  EXPECT_EQ(Left(), 25);
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

TEST_F(Compacting, WhatGoesOnHasTheRestOfAShare) {
  StoreHours(40);
  options_.share_max = 0.5;
  options_.deleted_max = 7;
  auto result = Run();
  EXPECT_EQ(result.eligible, 30);
  EXPECT_EQ(result.deleted, 7);
  EXPECT_TRUE(result.limited);
  options_.deleted_max = 0;
  EXPECT_EQ(Run().deleted, 0);
  options_.deleted_max = 30;
  EXPECT_EQ(Run().deleted, 23) << "though it is more than half";
}

// Before each batch, so that it can be written down what is taken of it.
TEST_F(Compacting, QuotaIsToldBeforeTheFirstBatch) {
  StoreHours(40);
  options_.share_max = 0.5;
  std::vector<std::pair<int64_t, int64_t>> told;
  options_.progress = [&](const CompactProgress& progress) {
    told.emplace_back(progress.quota.value_or(-1), progress.deleted);
    return true;
  };
  Run();
  EXPECT_THAT(told, ElementsAre(Pair(20, 0), Pair(20, 10), Pair(20, 20)));
}

TEST_F(Compacting, EqualTimestampsLongerThanABatchAllGo) {
  connection_.Execute(
      "INSERT INTO compact.operations SELECT i, 'insert', 'todos', i, '{}', 5, 'c', false, '{}' "
      "FROM generate_series(1, 37) i");
  EXPECT_EQ(Run().deleted, 37);
  EXPECT_EQ(Left(), 0);
}

// ---- what goes ----

// Five of each document, 20 hours old and more; d1-1 is the oldest of d1.
constexpr const char* kFiveEach =
    "INSERT INTO compact.operations SELECT 'd' || d || '-' || n, 'update', CASE WHEN d < 3 THEN "
    "'todos' ELSE 'notes' END, 'd' || d, '{}', (extract(epoch FROM now()) * 1000)::bigint - "
    "3600000 * (20 + (5 - n) * 5)::bigint, 'c', false, '{}' FROM generate_series(1, 4) d, "
    "generate_series(1, 5) n";

TEST_F(Compacting, CollectionsCanHaveAnAgeOfTheirOwn) {
  connection_.Execute(kFiveEach);  // 20, 25, 30, 35, 40 hours
  options_.collections = {{"notes", hours(34)}};
  auto result = Run();
  EXPECT_EQ(result.eligible, 10 + 4);
  EXPECT_EQ(result.deleted, 14);
  EXPECT_THAT(Ids(), ElementsAre("d3-3", "d3-4", "d3-5", "d4-3", "d4-4", "d4-5"));
}

TEST_F(Compacting, CollectionsCanBeYoungerThanTheOthers) {
  connection_.Execute(kFiveEach);
  options_.older_than = hours(38);
  options_.collections = {{"notes", hours(24)}, {"elsewhere", hours(1)}};
  EXPECT_EQ(Run().deleted, 2 + 8);
}

TEST_F(Compacting, NeverMeansNever) {
  connection_.Execute(kFiveEach);
  options_.collections = {{"notes", std::nullopt}};
  EXPECT_EQ(Run().deleted, 10);
  options_.older_than = std::nullopt;
  EXPECT_EQ(Run().deleted, 0);
  options_.collections = {{"notes", hours(38)}};
  options_.share_max = 0.5;
  EXPECT_EQ(Run().deleted, 2);
}

TEST_F(Compacting, ManyThatStayDoNotHideOneThatGoes) {
  connection_.Execute(
      "INSERT INTO compact.operations SELECT 'a' || i, 'insert', 'audit', i, '{}', 5, 'c', false, "
      "'{}' FROM generate_series(1, 100) i");
  connection_.Execute(
      "INSERT INTO compact.operations VALUES ('b', 'insert', 'todos', 'b', '{}', 5, 'c', false, "
      "'{}'), ('A', 'insert', 'todos', 'A', '{}', 6, 'c', false, '{}')");
  options_.collections = {{"audit", std::nullopt}};
  EXPECT_EQ(Run().deleted, 2);
  EXPECT_EQ(Left(), 100);
}

TEST_F(Compacting, NewestOfADocumentStay) {
  CreateIndexConcurrently(connection_, "compact", ExtraIndex::kOperationDocument);
  connection_.Execute(kFiveEach);
  options_.keep_last = 2;
  options_.batch_rows = 3;
  auto result = Run();
  EXPECT_EQ(result.eligible, 12);
  EXPECT_EQ(result.deleted, 12);
  EXPECT_THAT(Ids(), ElementsAre("d1-4", "d1-5", "d2-4", "d2-5", "d3-4", "d3-5", "d4-4", "d4-5"));
  options_.keep_last = 1;
  EXPECT_EQ(Run().deleted, 4);
  EXPECT_EQ(Run().deleted, 0);
  options_.keep_last = 0;
  EXPECT_EQ(Run().deleted, 4);
}

TEST_F(Compacting, YoungOnesCountAmongTheNewest) {
  CreateIndexConcurrently(connection_, "compact", ExtraIndex::kOperationDocument);
  connection_.Execute(kFiveEach);
  options_.older_than = hours(28);  // 3 of each are older, 2 younger
  options_.keep_last = 2;
  EXPECT_EQ(Run().deleted, 12);
}

TEST_F(Compacting, EqualTimestampsOfADocumentAreToldApartById) {
  CreateIndexConcurrently(connection_, "compact", ExtraIndex::kOperationDocument);
  connection_.Execute(
      "INSERT INTO compact.operations SELECT 'same-' || i, 'insert', 'todos', 'one', '{}', 5, 'c', "
      "false, '{}' FROM generate_series(1, 9) i");
  options_.keep_last = 1;
  options_.batch_rows = 2;
  EXPECT_EQ(Run().deleted, 8);
  EXPECT_THAT(Ids(), ElementsAre("same-9"));
}

TEST_F(Compacting, WithoutTheIndexNothingIsCompared) {
  connection_.Execute("DROP INDEX IF EXISTS compact.idx_ops_document");
  connection_.Execute(kFiveEach);
  options_.keep_last = 1;
  try {
    Run();
    FAIL();
  } catch (const Error& error) {
    EXPECT_THAT(error.Explain(), HasSubstr("init --index document"));
  }
  EXPECT_EQ(Left(), 20);
}

TEST_F(Compacting, OnlyWhatWasWrittenBeforeASnapshotGoes) {
  StoreHours(35);
  options_.written_before =
      connection_.Execute("SELECT pg_snapshot_xmin(pg_current_snapshot())").Get(0, 0);
  connection_.Execute(
      "INSERT INTO compact.operations SELECT 'late-' || i, 'insert', 'todos', i, '{}', 5, 'c', "
      "false, '{}' FROM generate_series(1, 7) i");
  EXPECT_EQ(Run().deleted, 25);
  EXPECT_EQ(Left(), 10 + 7);
}

TEST_F(Compacting, AnOpenTransactionHoldsBackWhatCameAfterIt) {
  Connection other = Connect();
  other.Execute("BEGIN; SELECT pg_current_xact_id()");
  StoreHours(35);
  options_.written_before =
      connection_.Execute("SELECT pg_snapshot_xmin(pg_current_snapshot())").Get(0, 0);
  EXPECT_EQ(Run().deleted, 0) << "the other one may have written something older";
  other.Execute("ROLLBACK");
  options_.written_before =
      connection_.Execute("SELECT pg_snapshot_xmin(pg_current_snapshot())").Get(0, 0);
  EXPECT_EQ(Run().deleted, 25);
}

// VACUUM may have frozen what is old; it is still older than any snapshot.
TEST_F(Compacting, FrozenRowsGo) {
  StoreHours(35);
  connection_.Execute("VACUUM (FREEZE) compact.operations");
  options_.written_before =
      connection_.Execute("SELECT pg_snapshot_xmin(pg_current_snapshot())").Get(0, 0);
  EXPECT_EQ(Run().deleted, 25);
}

// A client that was offline for long sends what is older than anything the others ask for by time.
TEST_F(Compacting, WhatWasStoredLateStaysAsLong) {
  connection_.Execute(
      "INSERT INTO compact.operations SELECT hours, 'insert', 'todos', 'doc', '{}', 5, 'c', false, "
      "'{}', localtimestamp - hours * interval '1 hour' FROM unnest(ARRAY [0, 9, 11]) hours");
  connection_.Execute(
      "INSERT INTO compact.operations SELECT 'odd' || n, 'insert', 'todos', 'doc', '{}', 5, 'c', "
      "false, '{}', stored FROM unnest(ARRAY [NULL, '-infinity', 'infinity'] :: timestamp[]) WITH "
      "ORDINALITY o (stored, n)");
  auto result = Run();
  EXPECT_EQ(result.eligible, 3);
  EXPECT_EQ(result.deleted, 3);
  EXPECT_THAT(Ids(), ElementsAre("0", "9", "odd3"));
  options_.collections = {{"todos", hours(8)}};
  EXPECT_EQ(Run().deleted, 1) << "a collection's own age, too";
  EXPECT_THAT(Ids(), ElementsAre("0", "odd3"));
}

// ---- what is in the way ----

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

TEST_F(Compacting, BatchThatTakesTooLongIsMadeSmaller) {
  StoreHours(35);
  connection_.Execute(
      "CREATE FUNCTION compact.slowly() RETURNS trigger LANGUAGE plpgsql AS "
      "'BEGIN PERFORM pg_sleep(0.01); RETURN OLD; END'");
  connection_.Execute(
      "CREATE TRIGGER slowly BEFORE DELETE ON compact.operations FOR EACH ROW EXECUTE FUNCTION "
      "compact.slowly()");
  options_.batch_rows = 1000;
  options_.statement_timeout = milliseconds(100);
  try {
    Run();
    FAIL() << "fewer than 100 rows are never tried";
  } catch (const Error& error) {
    EXPECT_EQ(error.sqlstate(), "57014");
  }
  EXPECT_TRUE(connection_.idle());
  options_.statement_timeout = milliseconds(60'000);
  EXPECT_EQ(Run().deleted, 25);
  connection_.Execute("DROP FUNCTION compact.slowly CASCADE");
}

TEST_F(Compacting, LongBatchesMakeTheFollowingSmaller) {
  connection_.Execute(
      "INSERT INTO compact.operations SELECT i, 'insert', 'todos', i, '{}', i, 'c', false, '{}' "
      "FROM generate_series(1, 2000) i");
  connection_.Execute(
      "CREATE FUNCTION compact.slowly() RETURNS trigger LANGUAGE plpgsql AS "
      "'BEGIN PERFORM pg_sleep(0.001); RETURN OLD; END'");
  connection_.Execute(
      "CREATE TRIGGER slowly BEFORE DELETE ON compact.operations FOR EACH ROW EXECUTE FUNCTION "
      "compact.slowly()");
  options_.batch_rows = 1000;
  std::vector<int64_t> steps;
  options_.progress = [&](const CompactProgress& progress) {
    steps.push_back(progress.deleted);
    return true;
  };
  Run();
  connection_.Execute("DROP FUNCTION compact.slowly CASCADE");
  EXPECT_EQ(Left(), 0);
  ASSERT_GE(steps.size(), 4u);
  EXPECT_EQ(steps[1], 1000);
  EXPECT_LE(steps[2], 1500);
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

TEST_F(Compacting, VacuumEndsWhenItsTimeIsOver) {
  StoreHours(35);
  connection_.Execute("SET vacuum_cost_delay = 100; SET vacuum_cost_limit = 1");
  options_.vacuum = true;
  options_.vacuum_until = Clock::now() + milliseconds(200);
  EXPECT_EQ(Run().deleted, 25);
  auto analyzed = [&] {
    return std::string(
        connection_
            .Execute(
                "SELECT reltuples > 0 FROM pg_class WHERE oid = 'compact.operations'::regclass")
            .Get(0, 0));
  };
  EXPECT_EQ(analyzed(), "f");
  EXPECT_EQ(connection_.Execute("SHOW statement_timeout").Get(0, 0), "0");
  connection_.Execute("SET vacuum_cost_delay = 0");
  options_.vacuum_until = Clock::now() + hours(1);
  Run();
  EXPECT_EQ(analyzed(), "t");
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
  refused([&] { options_.deleted_max = -1; });
  refused([&] { options_.pause = milliseconds(-1); });
  refused([&] { options_.lock_timeout = milliseconds(0); });
  refused([&] { options_.statement_timeout = milliseconds(0); });
  refused([&] { options_.keep_last = -1; });
  refused([&] { options_.collections = {{"todos", hours(-1)}}; });
}

}  // namespace
}  // namespace syncflow::adapter
