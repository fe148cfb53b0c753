#include "adapter/changes.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <random>
#include <set>
#include <stdexcept>

#include "adapter/schema.h"
#include "tests/support/postgres.h"

namespace syncflow::adapter {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

class Changes : public ::testing::Test {
 protected:
  Changes() : connection_(Connect()) {
    CreateSchema(connection_, "changes", NotifyMode::kOff);
    connection_.Execute("TRUNCATE changes.operations");
  }

  static Connection Connect() {
    ConnectOptions options;
    options.url = testing::PrivatePostgres::Shared().url();
    options.timeout = std::chrono::seconds(120);
    return Connection(options);
  }

  void Store(const std::string& id, int64_t timestamp, const std::string& client = "d",
             const std::string& clock = "{}") {
    connection_.Query(
        "INSERT INTO changes.operations VALUES ($1, 'insert', 'todos', 'doc', '{\"a\": 1}', $2, "
        "$3, false, $4)",
        {id, std::to_string(timestamp), client, clock});
  }
  // The counter of its own client.
  void StoreNth(const std::string& client, int64_t counter, int64_t timestamp) {
    Store(client + std::to_string(counter), timestamp, client,
          "{\"" + client + "\": " + std::to_string(counter) + "}");
  }

  std::vector<std::string> Get(const ChangesRequest& request) {
    std::vector<std::string> ids;
    for (const Operation& operation : GetChanges(connection_, "changes", request))
      ids.push_back(operation.id);
    return ids;
  }
  std::vector<std::string> Get(int64_t since, int limit) {
    ChangesRequest request;
    request.since = since;
    request.limit = limit;
    return Get(request);
  }
  std::vector<std::string> Get(int64_t since, int limit, const std::string& clock) {
    ChangesRequest request;
    request.since = since;
    request.limit = limit;
    request.client_id = "me";
    request.vector_clock = VectorClock::FromJson(clock);
    return Get(request);
  }

  Connection connection_;
};

TEST_F(Changes, OperationIsWhole) {
  connection_.Execute(
      "INSERT INTO changes.operations VALUES ('1', 'update', 'todos', 'doc', "
      "'{\"n\": 12345678901234567890, \"s\": \"a b\"}', 5, 'd', true, '{\"d\": 3}'), "
      "('2', 'delete', 'todos', 'doc', NULL, 6, 'd', NULL, '{}')");
  ChangesRequest request;
  auto changes = GetChanges(connection_, "changes", request);
  ASSERT_EQ(changes.size(), 2u);
  EXPECT_EQ(changes[0].ToJson(),
            R"({"id":"1","type":"update","collection":"todos","docId":"doc","data":)"
            R"({"n":12345678901234567890,"s":"a b"},"timestamp":5,"clientId":"d","synced":true,)"
            R"("vectorClock":{"d":3}})");
  EXPECT_EQ(changes[1].data, std::nullopt);
  EXPECT_FALSE(changes[1].synced);
  EXPECT_TRUE(connection_.idle());
}

TEST_F(Changes, ThoseAfterSinceInOrder) {
  Store("c", 3);
  Store("a", 1);
  Store("b", 2);
  EXPECT_THAT(Get(0, 100), ElementsAre("a", "b", "c"));
  EXPECT_THAT(Get(1, 100), ElementsAre("b", "c"));
  EXPECT_THAT(Get(3, 100), IsEmpty());
  EXPECT_THAT(Get(0, 2), ElementsAre("a", "b"));
  EXPECT_THAT(Get(-5, 1), ElementsAre("a"));
}

TEST_F(Changes, GroupOfEqualTimestampsIsComplete) {
  Store("a", 1);
  for (const char* id : {"e", "B", "d", "c"}) Store(id, 2);
  Store("f", 3);
  EXPECT_THAT(Get(0, 2), ElementsAre("a", "B", "c", "d", "e"));
  EXPECT_THAT(Get(1, 1), ElementsAre("B", "c", "d", "e"));
  EXPECT_THAT(Get(2, 1), ElementsAre("f"));
}

TEST_F(Changes, LimitHasARange) {
  EXPECT_THROW(Get(0, 0), std::invalid_argument);
  EXPECT_THROW(Get(0, 10'001), std::invalid_argument);
  EXPECT_THAT(Get(0, 10'000), IsEmpty());
}

TEST_F(Changes, LateOnesAreFoundByTheClock) {
  StoreNth("d", 1, 10);
  StoreNth("d", 2, 20);
  StoreNth("e", 1, 15);
  StoreNth("me", 1, 12);
  StoreNth("d", 3, 40);
  Store("odd", 5, "z", R"({"y": 9})");  // without a counter of its own
  EXPECT_THAT(Get(30, 100), ElementsAre("d3"));
  EXPECT_THAT(Get(30, 100, R"({"d":1,"me":1})"), ElementsAre("e1", "d2", "d3"));
  EXPECT_THAT(Get(30, 100, R"({"d":2,"e":1,"me":1})"), ElementsAre("d3"));
  EXPECT_THAT(Get(30, 100, R"({})"), ElementsAre("d1", "e1", "me1", "d2", "d3"));
}

TEST_F(Changes, LateOnesCountTowardsTheLimit) {
  for (int i = 1; i <= 3; ++i) StoreNth("d", i, i);
  for (int i = 4; i <= 9; ++i) StoreNth("e", i, 10 + i / 2);
  EXPECT_THAT(Get(10, 7, R"({"f":1})"), ElementsAre("d1", "d2", "d3", "e4", "e5", "e6", "e7"));
  EXPECT_EQ(Get(10, 8, R"({"f":1})").size(), 9u) << "with the rest of a group";
}

TEST_F(Changes, ManyLateOnesComeAloneInTheOrderOfTheirCounters) {
  for (int i = 1; i <= 12; ++i) StoreNth("d", i, 20 - i);  // a clock that ran backwards
  StoreNth("d", 13, 40);
  EXPECT_THAT(Get(30, 5, R"({"e":1})"), ElementsAre("d1", "d2", "d3", "d4", "d5"));
  EXPECT_THAT(Get(30, 5, R"({"d":5})"), ElementsAre("d6", "d7", "d8", "d9", "d10"));
  EXPECT_THAT(Get(30, 5, R"({"d":10})"), ElementsAre("d11", "d12", "d13"));
}

TEST_F(Changes, LateOnesComeBehindThoseTheirClocksCover) {
  for (int i = 1; i <= 4; ++i) StoreNth("z", i, i);
  Store("a1", 1, "a", R"({"a":1,"z":4})");  // its author had seen all of them
  EXPECT_THAT(Get(30, 3, R"({"e":1})"), ElementsAre("z1", "z2", "z3"));
  EXPECT_THAT(Get(30, 3, R"({"z":3})"), ElementsAre("z4", "a1"));
}

TEST_F(Changes, LateOnesBeyondThePageWaitForTheirs) {
  for (int i = 1; i <= 4; ++i) StoreNth("d", i, 10 + i);
  StoreNth("d", 5, 3);  // late for whoever has seen 10
  StoreNth("e", 1, 2);
  Store("f1", 12, "f", R"({"f":1,"e":1})");
  EXPECT_THAT(Get(10, 3, R"({"c":1})"), ElementsAre("e1", "d1", "d2", "f1"))
      << "f1 covers e1, nothing here covers d5";
  EXPECT_THAT(Get(12, 3, R"({"d":2,"e":1,"f":1})"), ElementsAre("d5", "d3", "d4"));
}

TEST_F(Changes, OfOneThatIsFarBehindNotTheWholeTableIsSearched) {
  CreateIndexConcurrently(connection_, "changes", ExtraIndex::kOperationClock);
  connection_.Execute(
      "INSERT INTO changes.operations SELECT i, 'insert', 'todos', 'doc', '{}', i, 'd', false, "
      "jsonb_build_object('d', i) FROM generate_series(1, 30000) i");
  connection_.Execute("VACUUM ANALYZE changes.operations");
  auto read = [&] {
    connection_.Execute("SELECT pg_stat_force_next_flush()");
    return std::stoll(std::string(connection_
                                      .Execute("SELECT sum(idx_tup_read) + (SELECT "
                                               "seq_tup_read FROM pg_stat_user_tables WHERE "
                                               "relid = 'changes.operations'::regclass) FROM "
                                               "pg_stat_user_indexes WHERE schemaname = 'changes' "
                                               "AND relname = 'operations'")
                                      .Get(0, 0)));
  };
  auto before = read();
  EXPECT_EQ(Get(15'000, 10, R"({"d":15000,"e":1})").size(), 10u);
  EXPECT_LT(read() - before, 500);
  connection_.Execute("DROP INDEX changes.idx_ops_clock");
}

TEST_F(Changes, ClockThatIsNotKeptDoesNotHoldUp) {
  for (int i = 1; i <= 12; ++i) StoreNth("d", i, i);
  StoreNth("d", 13, 40);
  EXPECT_THAT(Get(30, 5, R"({"me":7})"), ElementsAre("d13"));
}

TEST_F(Changes, RowWithoutAClockIsNamedWhoeverAsks) {
  Store("odd", 1, "d", "[]");
  for (const char* clock : {"", R"({"e":1})"}) {
    try {
      *clock == '\0' ? Get(0, 1) : Get(0, 1, clock);
      FAIL();
    } catch (const Error& error) {
      EXPECT_THAT(error.what(), HasSubstr("operation 'odd' cannot be read"));
    }
  }
}

TEST_F(Changes, RowThatCannotBeReadIsNamedWithItsRemedy) {
  Store("it's", 1, "d", R"({"d": "x"})");
  try {
    Get(0, 1);
    FAIL();
  } catch (const Error& error) {
    EXPECT_THAT(error.what(), HasSubstr("operation 'it's' cannot be read"));
    connection_.Execute(error.hint());
  }
  EXPECT_THAT(Get(0, 1), ElementsAre("it's"));
}

TEST_F(Changes, IndexOfTheClockIsUsed) {
  CreateIndexConcurrently(connection_, "changes", ExtraIndex::kOperationClock);
  connection_.Execute(
      "INSERT INTO changes.operations SELECT i, 'insert', 'todos', 'doc', '{}', i, 'd' || i % 3, "
      "false, jsonb_build_object('d' || i % 3, i) FROM generate_series(1, 30000) i");
  connection_.Execute("VACUUM ANALYZE changes.operations");
  EXPECT_THAT(Get(30'000, 10, R"({"d0":29999,"d1":29999,"d2":30000})"), ElementsAre("30000"));
  connection_.Execute("SELECT pg_stat_force_next_flush()");
  EXPECT_EQ(connection_
                .Execute("SELECT idx_scan FROM pg_stat_user_indexes WHERE "
                         "indexrelname = 'idx_ops_clock'")
                .Get(0, 0),
            "3")
      << "once for each client";
  connection_.Execute("DROP INDEX changes.idx_ops_clock");
}

// A client as SyncFlow's: remembers the greatest timestamp, merges the clocks of what it is given.
struct Puller {
  int64_t since = 0;
  VectorClock clock;
  std::multiset<std::string> seen;

  void Take(const std::vector<Operation>& changes) {
    for (const Operation& operation : changes) {
      since = std::max(since, operation.timestamp);
      clock.Merge(operation.vector_clock);
      seen.insert(operation.id);
    }
  }
};

// Writers work offline and send what they have at any time later; each has seen what others had
// sent before. Whatever the order, the puller ends up with everything, once.
class LateArrival : public Changes, public ::testing::WithParamInterface<unsigned> {};
INSTANTIATE_TEST_SUITE_P(Seeds, LateArrival, ::testing::Range(1u, 9u));

TEST_P(LateArrival, EverythingReachesTheClient) {
  std::mt19937 random(GetParam());
  auto pick = [&](int n) { return static_cast<int>(random() % static_cast<unsigned>(n)); };
  std::map<std::string, std::vector<Operation>> unsent;
  std::map<std::string, VectorClock> clocks;
  VectorClock stored;  // what is in the table
  Puller puller;
  std::set<std::string> all;
  auto pull = [&] {
    ChangesRequest request;
    request.since = puller.since;
    request.limit = 1 + pick(8);
    request.client_id = "me";
    request.vector_clock = puller.clock;
    request.vector_clock->Set("me", 1);
    request.vector_clock->Set("somebody", 1);
    auto changes = GetChanges(connection_, "changes", request);
    puller.Take(changes);
    return changes.size();
  };
  for (int step = 1; step <= 400; ++step) {
    std::string client = "w" + std::to_string(pick(4));
    auto& own = clocks[client];
    if (pick(10) < 6) {
      own.Set(client, own.At(client) + 1);
      std::string id = client + "-" + std::to_string(own.At(client));
      unsent[client].push_back(
          {id, "insert", "todos", "doc", "{}", 1000 + step / 3, client, false, own});
    } else if (pick(10) < 5) {
      for (const Operation& operation : unsent[client]) {
        Store(operation.id, operation.timestamp, client, operation.vector_clock.ToJson());
        all.insert(operation.id);
        stored.Merge(operation.vector_clock);
      }
      unsent[client].clear();
      own.Merge(stored);
    } else {
      pull();
    }
  }
  while (pull() > 0) continue;
  EXPECT_EQ(std::set<std::string>(puller.seen.begin(), puller.seen.end()), all);
  EXPECT_EQ(puller.seen.size(), all.size()) << "each came once";
}

}  // namespace
}  // namespace syncflow::adapter
