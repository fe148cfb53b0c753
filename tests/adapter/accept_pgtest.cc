#include "adapter/accept.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <future>
#include <map>
#include <nlohmann/json.hpp>
#include <random>

#include "adapter/schema.h"
#include "tests/support/postgres.h"

namespace syncflow::adapter {
namespace {

using Json = nlohmann::json;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::SizeIs;

class Accepting : public ::testing::Test {
 protected:
  Accepting() : connection_(Connect()) {
    CreateSchema(connection_, kSchema, NotifyMode::kOff);
    connection_.Execute("TRUNCATE \"a \"\" schema\".operations, \"a \"\" schema\".documents");
  }

  static Connection Connect() {
    ConnectOptions options;
    options.url = testing::PrivatePostgres::Shared().url();
    options.timeout = std::chrono::seconds(120);
    return Connection(options);
  }

  static Operation Make(const std::string& id, const std::string& type, const std::string& doc,
                        const std::string& clock, std::optional<std::string> data = R"({"a":1})") {
    return {id,
            type,
            "todos",
            doc,
            std::move(data),
            1'700'000'000'000,
            "c",
            false,
            VectorClock::FromJson(clock)};
  }
  Acceptance Accept(const std::vector<Operation>& operations) {
    return AcceptOperations(connection_, kSchema, operations);
  }
  std::string Ask(const std::string& sql) {
    connection_.Execute("SET search_path = \"a \"\" schema\"");
    Result result = connection_.Execute(sql);
    return result.rows() == 0 ? "none" : std::string(result.Get(0, 0));
  }
  std::string Document(const std::string& id) {
    return Ask(
        "SELECT concat_ws(' ', data, rev, deleted, vector_clock, updated_at) FROM documents "
        "WHERE id = '" +
        id + "'");
  }

  static constexpr const char* kSchema = "a \" schema";
  Connection connection_;
};

TEST_F(Accepting, NothingIsNothing) {
  EXPECT_EQ(Accept({}).ToJson(), R"({"accepted":[],"conflicts":[]})");
}

TEST_F(Accepting, OperationAndDocumentAreStored) {
  EXPECT_EQ(Accept({Make("1", "insert", "d", R"({"c":1})")}).ToJson(),
            R"({"accepted":["1"],"conflicts":[]})");
  EXPECT_EQ(Document("d"), R"({"a": 1} 1 f {"c": 1} 1700000000000)");
  EXPECT_EQ(Ask("SELECT to_jsonb(o) - 'received_at' FROM operations o"),
            R"({"id": "1", "data": {"a": 1}, "type": "insert", "doc_id": "d", "synced": false, )"
            R"("client_id": "c", "timestamp": 1700000000000, "collection": "todos", )"
            R"("vector_clock": {"c": 1}})");
  EXPECT_TRUE(connection_.idle());
}

TEST_F(Accepting, BatchIsAsIfOneCameAfterAnother) {
  auto result = Accept({Make("1", "insert", "d", R"({"c":1})", R"({"a":1,"b":1})"),
                        Make("2", "update", "d", R"({"c":2})", R"({"b":2})"),
                        Make("3", "update", "d", R"({"c":1})", R"({"b":3})"),
                        Make("4", "delete", "d", R"({"c":3})", std::nullopt),
                        Make("2", "update", "d", R"({"c":2})", R"({"b":2})"),
                        Make("5", "update", "d", R"({"e":1})", R"({"b":5})")});
  EXPECT_THAT(result.accepted, ElementsAre("1", "2", "4", "2"));
  ASSERT_THAT(result.conflicts, SizeIs(2));
  EXPECT_EQ(result.conflicts[0].id, "3");
  EXPECT_EQ(Json::parse(*result.conflicts[0].data), Json::parse(R"({"a":1,"b":2})"));
  EXPECT_EQ(result.conflicts[0].vector_clock.ToJson(), R"({"c":2})");
  EXPECT_EQ(result.conflicts[1].vector_clock.ToJson(), R"({"c":3})");
  EXPECT_EQ(result.conflicts[0].type, "update");
  EXPECT_EQ(result.conflicts[1].type, "delete") << "an update would bring it back at the client";
  EXPECT_EQ(Document("d"), R"({"a": 1, "b": 2} 2 t {"c": 3} 1700000000000)");
  EXPECT_EQ(Ask("SELECT count(*) FROM operations"), "3");
}

TEST_F(Accepting, KnownOperationIsAcceptedWithoutEffect) {
  Accept({Make("1", "insert", "d", R"({"c":1})")});
  Accept({Make("2", "update", "d", R"({"c":2})", R"({"a":2})")});
  EXPECT_THAT(Accept({Make("1", "insert", "d", R"({"c":1})")}).accepted, ElementsAre("1"));
  EXPECT_EQ(Document("d"), R"({"a": 2} 2 f {"c": 2} 1700000000000)");
}

TEST_F(Accepting, KnownOperationWhoseDocumentIsGoneLeavesNoTrace) {
  Accept({Make("1", "insert", "d", R"({"c":1})")});
  Ask("DELETE FROM documents RETURNING 1");
  EXPECT_THAT(Accept({Make("1", "insert", "d", R"({"c":1})")}).accepted, ElementsAre("1"));
  EXPECT_EQ(Ask("SELECT count(*) FROM documents"), "0");
}

TEST_F(Accepting, DeleteOfWhatIsNotThereIsAccepted) {
  EXPECT_THAT(Accept({Make("1", "delete", "d", R"({"c":1})", std::nullopt)}).accepted,
              ElementsAre("1"));
  EXPECT_EQ(Document("d"), R"({} 1 t {"c": 1} 1700000000000)");
}

TEST_F(Accepting, OneBadOperationSinksNoOther) {
  std::vector<Operation> batch;
  for (int i = 0; i < 40; ++i)
    batch.push_back(Make(std::to_string(i), "insert", "d" + std::to_string(i), "{}"));
  Ask("ALTER TABLE operations ADD CONSTRAINT picky CHECK (id NOT IN ('5', '20')); SELECT 1");
  batch[3].data = R"({"n":1e999})";
  batch[4].data = R"({"s":"\ud800"})";  // half a surrogate pair
  batch[7].data = R"({"s":"\u0000"})";
  batch[8].data = R"({"s":"\\u0000"})";  // a backslash and five letters
  batch[9].type = "upsert";
  batch[10].id = "";
  batch[11].doc_id = std::string("a\0b", 3);
  batch[12].collection = "\xff";
  batch[13].data = "[1]";
  batch[14].id = std::string(1001, 'x');
  auto result = Accept(batch);
  Ask("ALTER TABLE operations DROP CONSTRAINT picky; SELECT 1");
  EXPECT_THAT(result.accepted, SizeIs(29));
  std::vector<std::pair<size_t, std::string>> reasons = {{3, "no JSON"},
                                                         {4, "no JSON"},
                                                         {5, "PostgreSQL refuses it"},
                                                         {7, "\\u0000"},
                                                         {9, "none of insert"},
                                                         {10, "id is empty"},
                                                         {11, "NUL"},
                                                         {12, "UTF-8"},
                                                         {13, "no JSON object"},
                                                         {14, "longer than"},
                                                         {20, "PostgreSQL refuses it"}};
  ASSERT_THAT(result.rejected, SizeIs(reasons.size()));
  for (size_t i = 0; i < reasons.size(); ++i) {
    EXPECT_EQ(result.rejected[i].index, reasons[i].first);
    EXPECT_THAT(result.rejected[i].reason, HasSubstr(reasons[i].second));
  }
  EXPECT_EQ(Ask("SELECT count(*) FROM operations"), "29");
  EXPECT_EQ(Ask("SELECT count(*) FROM documents"), "29");
}

TEST_F(Accepting, TextsAndNumbersStayExactly) {
  std::string name = "ключ.\"quoted\" \\ 😀 '\n{},";
  Operation operation =
      Make(name, "insert", name, "{}", R"({"n":9007199254740993,"m":0.10,"k.\"":"\\\"😀"})");
  operation.collection = name;
  operation.client_id = name;
  operation.vector_clock.Set(name, 9007199254740993);
  EXPECT_THAT(Accept({operation}).accepted, ElementsAre(name));
  operation.id = "2";
  operation.vector_clock.Set(name, 1);
  auto result = Accept({operation});
  ASSERT_THAT(result.conflicts, SizeIs(1));
  EXPECT_EQ(*result.conflicts[0].data, R"({"m": 0.10, "n": 9007199254740993, "k.\"": "\\\"😀"})");
  EXPECT_EQ(result.conflicts[0].vector_clock.At(name), 9007199254740993);
}

TEST_F(Accepting, BatchesOfEverySizeAndHugeDocuments) {
  for (int size : {1, 999, 1000, 1001, 10'000}) {
    std::vector<Operation> batch;
    for (int i = 0; i < size; ++i) {
      std::string id = std::to_string(size) + "-" + std::to_string(i);
      batch.push_back(Make(id, "insert", id, "{}"));
    }
    EXPECT_THAT(Accept(batch).accepted, SizeIs(size));
  }
  Operation huge =
      Make("huge", "insert", "huge", "{}", "{\"t\":\"" + std::string(20 << 20, 'x') + "\"}");
  EXPECT_THAT(Accept({huge, Make("empty", "insert", "empty", "{}", "{}")}).accepted, SizeIs(2));
}

TEST_F(Accepting, JsonElementThatIsNoOperationIsRejectedAlone) {
  auto result = AcceptOperationsJson(connection_, kSchema, R"([ {"id":"x"}, 5,
      {"id":"1","type":"insert","collection":"t","docId":"d","data":{"a":1.0},"timestamp":1,
       "clientId":"c","synced":false,"vectorClock":{"c":1}} ])");
  EXPECT_THAT(result.accepted, ElementsAre("1"));
  ASSERT_THAT(result.rejected, SizeIs(2));
  EXPECT_THAT(result.rejected[0].reason, HasSubstr("'type'"));
  EXPECT_EQ(result.rejected[1].index, 1u);
  EXPECT_EQ(Ask("SELECT data FROM documents"), R"({"a": 1.0})");
  EXPECT_THROW(AcceptOperationsJson(connection_, kSchema, "{}"), std::invalid_argument);
  EXPECT_THROW(AcceptOperationsJson(connection_, kSchema, "[1"), std::invalid_argument);
}

TEST_F(Accepting, TwoWhoCreateOneDocumentSeeEachOther) {
  for (int round = 0; round < 50; ++round) {
    std::string doc = "d" + std::to_string(round);
    auto create = [&](const std::string& client) {
      Connection own = Connect();
      return AcceptOperations(own, kSchema,
                              {Make(doc + client, "insert", doc, "{\"" + client + "\":1}")});
    };
    auto other = std::async(std::launch::async, create, "b");
    Acceptance mine = create("a");
    Acceptance theirs = other.get();
    EXPECT_EQ(mine.accepted.size() + theirs.accepted.size(), 1u);
    EXPECT_EQ(mine.conflicts.size() + theirs.conflicts.size(), 1u);
  }
}

TEST_F(Accepting, LockedDocumentIsWaitedForAndThenGivenUp) {
  Accept({Make("1", "insert", "d", R"({"c":1})")});
  Connection holder = Connect();
  holder.Execute("BEGIN; SELECT 1 FROM \"a \"\" schema\".documents FOR UPDATE");
  try {
    Accept({Make("2", "update", "d", R"({"c":2})")});
    ADD_FAILURE();
  } catch (const Error& error) {
    EXPECT_EQ(error.sqlstate(), "55P03");
  }
  EXPECT_TRUE(connection_.idle());
  holder.Execute("ROLLBACK");
  EXPECT_THAT(Accept({Make("2", "update", "d", R"({"c":2})")}).accepted, ElementsAre("2"));
}

// ---- many clients at once ----

using Clock = std::map<std::string, int64_t>;

struct ModelDocument {
  Json data;
  int rev = 0;
  bool deleted = false;
  Clock clock;
};

// The reference's rules once more, for the judgement.
class Model {
 public:
  bool Take(const Json& operation) {
    if (known.contains(operation["id"])) return true;
    Clock clock = operation["vectorClock"];
    ModelDocument& document = documents[operation["docId"]];
    if (document.rev > 0 && !Covers(clock, document.clock)) return false;
    known.insert(operation["id"]);
    bool deletes = operation["type"] == "delete";
    if (document.rev == 0) {
      document.data = deletes ? Json::object() : operation["data"];
      document.rev = 1;
    } else if (!deletes) {
      if (operation["type"] == "insert") document.data = Json::object();
      document.data.update(operation["data"]);
      ++document.rev;
    }
    document.deleted = deletes;
    document.clock = clock;
    clocks.insert({operation["docId"], clock});
    return true;
  }

  // `a` has seen all that `b` has.
  static bool Covers(const Clock& a, const Clock& b) {
    return std::all_of(b.begin(), b.end(), [&](const auto& entry) {
      auto found = a.find(entry.first);
      return entry.second == 0 || (found != a.end() && found->second >= entry.second);
    });
  }

  std::map<std::string, ModelDocument> documents;
  std::set<std::string> known;
  std::set<std::pair<std::string, Clock>> clocks;  // that any document ever had
};

struct Sent {
  std::vector<Operation> batch;
  Acceptance result;
};

// A client that writes over what it knows, sometimes stale, sometimes twice.
std::vector<Sent> Write(int number, unsigned seed, Connection connection,
                        const std::string& schema) {
  std::minstd_rand random(seed * 100 + static_cast<unsigned>(number));
  std::string name = "client-" + std::to_string(number);
  std::map<std::string, VectorClock> seen;
  std::vector<Sent> sent;
  const char* types[] = {"insert", "update", "update", "delete"};
  for (int turn = 0; turn < 25; ++turn) {
    std::vector<Operation> batch;
    for (size_t count = 1 + random() % 8; count > 0; --count) {
      if (!batch.empty() && random() % 10 == 0) {
        batch.push_back(batch[random() % batch.size()]);
        continue;
      }
      std::string doc = "doc-" + std::to_string(random() % 6);
      VectorClock& clock = seen[doc];
      if (random() % 4 != 0) clock.Set(name, clock.At(name) + 1);
      std::string id = name + "-" + std::to_string(turn) + "-" + std::to_string(count);
      batch.push_back(
          {id, types[random() % 4], "todos", doc,
           "{\"k" + std::to_string(random() % 3) + "\":" + std::to_string(random()) + "}",
           static_cast<int64_t>(random()), name, false, clock});
    }
    Acceptance result = AcceptOperations(connection, schema, batch);
    for (const Operation& conflict : result.conflicts)
      seen[conflict.doc_id].Merge(conflict.vector_clock);
    sent.push_back({std::move(batch), std::move(result)});
  }
  return sent;
}

class Concurrent : public Accepting, public ::testing::WithParamInterface<unsigned> {};

TEST_P(Concurrent, SomeSequentialOrderExplainsAllOfIt) {
  Ask("SELECT pg_create_logical_replication_slot('order_of_commits', 'test_decoding')");
  std::vector<std::future<std::vector<Sent>>> clients;
  for (int number = 0; number < 8; ++number)
    clients.push_back(
        std::async(std::launch::async, Write, number, GetParam(), Connect(), kSchema));
  std::map<std::string, const Sent*> sent_by_id;
  std::vector<std::vector<Sent>> all;
  for (auto& client : clients) all.push_back(client.get());  // throws what reached a caller
  std::vector<const Sent*> without_effect;
  for (const auto& client : all) {
    for (const Sent& sent : client) {
      EXPECT_EQ(sent.result.accepted.size() + sent.result.conflicts.size(), sent.batch.size());
      EXPECT_THAT(sent.result.rejected, IsEmpty());
      for (const std::string& id : sent.result.accepted) sent_by_id[id] = &sent;
      if (sent.result.accepted.empty()) without_effect.push_back(&sent);
    }
  }
  // PostgreSQL's own word on the order of commits.
  Result changes = connection_.Execute(
      "SELECT (regexp_match(data, 'id\\[text\\]:''([^'']*)'' type'))[1] FROM "
      "pg_logical_slot_get_changes('order_of_commits', NULL, NULL, 'include-xids', 'false') WHERE "
      "data LIKE '%.operations: INSERT:%'");
  connection_.Execute("SELECT pg_drop_replication_slot('order_of_commits')");
  Model model;
  std::set<const Sent*> replayed;
  for (int row = 0; row < changes.rows(); ++row) {
    const Sent* sent = sent_by_id.at(std::string(changes.Get(row, 0)));
    if (!replayed.insert(sent).second) continue;
    std::vector<std::string> accepted;
    for (const Operation& operation : sent->batch)
      if (model.Take(Json::parse(operation.ToJson()))) accepted.push_back(operation.id);
    EXPECT_EQ(sent->result.accepted, accepted);
  }
  EXPECT_EQ(static_cast<size_t>(changes.rows()), model.known.size())
      << "the log is what was accepted";
  for (const Sent* sent : without_effect) {
    for (const Operation& conflict : sent->result.conflicts) {
      Clock clock = conflict.vector_clock.counters().empty()
                        ? Clock()
                        : Clock(Json::parse(conflict.vector_clock.ToJson()));
      EXPECT_TRUE(model.clocks.contains({conflict.doc_id, clock})) << conflict.ToJson();
    }
  }
  Result rows = connection_.Execute(
      "SELECT id, data, rev, deleted, vector_clock FROM \"a \"\" schema\".documents");
  ASSERT_EQ(static_cast<size_t>(rows.rows()), model.documents.size());
  for (int row = 0; row < rows.rows(); ++row) {
    const ModelDocument& document = model.documents.at(std::string(rows.Get(row, 0)));
    EXPECT_EQ(Json::parse(rows.Get(row, 1)), document.data);
    EXPECT_EQ(rows.Get(row, 2), std::to_string(document.rev));
    EXPECT_EQ(rows.Get(row, 3), document.deleted ? "t" : "f");
    EXPECT_EQ(Clock(Json::parse(rows.Get(row, 4))), document.clock);
  }
}

INSTANTIATE_TEST_SUITE_P(Seeds, Concurrent, ::testing::Range(1u, 9u));

}  // namespace
}  // namespace syncflow::adapter
