// The adapter against SyncFlow's rules, row by row and against a plain transcription of them.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <map>
#include <nlohmann/json.hpp>
#include <random>

#include "adapter/postgres_sync_adapter.h"
#include "tests/support/postgres.h"

namespace syncflow::adapter {
namespace {

using Json = nlohmann::json;
using ::testing::ElementsAre;
using ::testing::IsEmpty;
using ::testing::SizeIs;

ConnectOptions Options() {
  ConnectOptions options;
  options.url = testing::PrivatePostgres::Shared().url();
  options.timeout = std::chrono::seconds(120);
  return options;
}

AdapterOptions OptionsOf(const std::string& schema) {
  AdapterOptions options;
  options.pool.connect = Options();
  options.schema = schema;
  options.notify = NotifyMode::kOff;
  return options;
}

class Conformance : public ::testing::Test {
 protected:
  Conformance() : sql_(Options()), adapter_(OptionsOf("ours")) {
    adapter_.Initialize();
    sql_.Execute("TRUNCATE ours.operations, ours.documents");
  }

  static Operation Make(const std::string& id, const std::string& type, const std::string& doc,
                        const std::string& clock,
                        std::optional<std::string> data = R"({"a":1,"b":{"c":2}})") {
    return {id, type, "todos", doc, std::move(data), 7, "c", false, VectorClock::FromJson(clock)};
  }
  // What the operation was: accepted, conflict or rejected.
  std::string Fate(const Operation& operation) {
    auto result = adapter_.AcceptOperations({operation});
    if (!result.accepted.empty()) return "accepted";
    return result.conflicts.empty() ? "rejected" : "conflict";
  }
  Json Row(const std::string& doc) {
    Result result = sql_.Query(
        "SELECT to_jsonb(d) - 'collection' - 'id' FROM ours.documents d WHERE id = $1", {doc});
    return result.rows() == 0 ? Json() : Json::parse(result.Get(0, 0));
  }

  Connection sql_;
  PostgresSyncAdapter adapter_;
};

// ---- acceptOperations: clocks and types ----

struct Relation {
  const char* name;
  const char* clock;  // against {"c": 2, "d": 1}
  bool accepted;
};

TEST_F(Conformance, EveryRelationOfClocksForEveryType) {
  const Relation relations[] = {
      {"before", R"({"c":1,"d":1})", false},
      {"before, entry missing", R"({"c":2})", false},
      {"before, empty", "{}", false},
      {"concurrent", R"({"c":3})", false},
      {"concurrent", R"({"c":1,"d":2})", false},
      {"concurrent, new client", R"({"e":1})", false},
      {"equal", R"({"c":2,"d":1})", true},
      {"equal with zero", R"({"c":2,"d":1,"e":0})", true},
      {"after", R"({"c":3,"d":1})", true},
      {"after, new client", R"({"c":2,"d":1,"e":1})", true},
  };
  int n = 0;
  for (const Relation& relation : relations) {
    for (const std::string type : {"insert", "update", "delete"}) {
      std::string doc = "doc" + std::to_string(n++);
      std::string what = std::string(relation.name) + ", " + type;
      ASSERT_EQ(Fate(Make(doc + "-1", "insert", doc, R"({"c":2,"d":1})")), "accepted");
      Json before = Row(doc);
      auto operation = Make(doc + "-2", type, doc, relation.clock, R"({"a":9})");
      auto result = adapter_.AcceptOperations({operation});
      if (!relation.accepted) {
        ASSERT_THAT(result.conflicts, SizeIs(1)) << what;
        EXPECT_EQ(Json::parse(*result.conflicts[0].data), before["data"]) << what;
        EXPECT_EQ(result.conflicts[0].vector_clock.ToJson(), R"({"c":2,"d":1})") << what;
        EXPECT_EQ(Row(doc), before) << what;
        continue;
      }
      EXPECT_THAT(result.accepted, ElementsAre(doc + "-2")) << what;
      Json after = Row(doc);
      Json data = type == "insert"   ? R"({"a":9})"_json
                  : type == "update" ? R"({"a":9,"b":{"c":2}})"_json
                                     : before["data"];
      EXPECT_EQ(after["data"], data) << what;
      EXPECT_EQ(after["rev"], type == "delete" ? 1 : 2) << what;
      EXPECT_EQ(after["deleted"], type == "delete") << what;
      EXPECT_EQ(after["vector_clock"], Json::parse(relation.clock)) << what;
    }
  }
}

TEST_F(Conformance, WhatComesAfterADelete) {
  Fate(Make("1", "insert", "d", R"({"c":1})"));
  Fate(Make("2", "delete", "d", R"({"c":2})", std::nullopt));
  EXPECT_EQ(adapter_.GetDocument("todos", "d"), std::nullopt);
  EXPECT_EQ(Fate(Make("3", "update", "d", R"({"c":3})", R"({"z":1})")), "accepted");
  EXPECT_EQ(Json::parse(*adapter_.GetDocument("todos", "d")),
            R"({"_id":"d","_rev":2,"a":1,"b":{"c":2},"z":1})"_json);
}

TEST_F(Conformance, UpdateOfWhatIsNotThereMakesIt) {
  EXPECT_EQ(Fate(Make("1", "update", "d", "{}")), "accepted");
  EXPECT_EQ(Json::parse(*adapter_.GetDocument("todos", "d")),
            R"({"_id":"d","_rev":1,"a":1,"b":{"c":2}})"_json);
}

// ---- values ----

TEST_F(Conformance, TextsOfEveryKindAreKept) {
  const std::string texts[] = {"\xf0\x9f\x90\x98",
                               "é",
                               "\xe2\x80\xa8",
                               "a\"b\\c",
                               "$a.b$",
                               " ",
                               std::string(1000, 'x'),
                               "\xf4\x8f\xbf\xbf",
                               "\t\n\x01\x7f"};
  for (const std::string& text : texts) {
    VectorClock clock;
    clock.Set(text, 1);
    Operation operation{text, "insert", text,  text, Json{{text, text}}.dump(),
                        1,    text,     false, clock};
    EXPECT_THAT(adapter_.AcceptOperations({operation}).accepted, ElementsAre(text));
    EXPECT_EQ(Json::parse(*adapter_.GetDocument(text, text))[text], text);
  }
  ChangesRequest request;
  auto changes = adapter_.GetChanges(request);
  ASSERT_THAT(changes, SizeIs(std::size(texts)));
  for (const Operation& change : changes) {
    EXPECT_EQ(change.id, change.doc_id);
    EXPECT_EQ(Json::parse(*change.data)[change.id], change.id);
    EXPECT_EQ(change.vector_clock.At(change.id), 1);
  }
}

TEST_F(Conformance, NumbersKeepTheirDigits) {
  std::string data =
      R"({"a":9007199254740993,"b":-9223372036854775809,"c":0.1000000000000000055511151231257827,)"
      R"("d":12345678901234567890123456789012345678901234567890})";
  EXPECT_EQ(Fate(Make("1", "insert", "d", "{}", data)), "accepted");
  EXPECT_EQ(adapter_.GetDocument("todos", "d"), R"({"_id":"d","_rev":1,)" + data.substr(1));
  EXPECT_EQ(Fate(Make("2", "update", "d", R"({"c":1})", R"({"e":1})")), "accepted");
  EXPECT_EQ(adapter_.GetDocument("todos", "d"),
            R"({"_id":"d","_rev":2,)" + data.substr(1, data.size() - 2) + R"(,"e":1})");
  EXPECT_EQ(adapter_.GetChanges({})[0].data, data);
}

TEST_F(Conformance, CountersAndTimestampsAreWhole64BitNumbers) {
  Operation operation = Make("1", "insert", "d", R"({"c":9223372036854775807})");
  operation.timestamp = INT64_MAX;
  ASSERT_THAT(adapter_.AcceptOperations({operation}).accepted, SizeIs(1));
  EXPECT_EQ(adapter_.GetChanges({}), std::vector<Operation>{operation});
}

TEST_F(Conformance, EmptyAndHugeDocuments) {
  EXPECT_EQ(Fate(Make("1", "insert", "empty", "{}", "{}")), "accepted");
  EXPECT_EQ(adapter_.GetDocument("todos", "empty"), R"({"_id":"empty","_rev":1})");
  std::string huge = R"({"t":")" + std::string(20 << 20, 'x') + "\"}";
  EXPECT_EQ(Fate(Make("2", "insert", "huge", "{}", huge)), "accepted");
  EXPECT_EQ(adapter_.GetDocument("todos", "huge")->size(),
            huge.size() + std::string(R"("_id":"huge","_rev":1,)").size());
  std::string deep;
  for (int i = 0; i < 3000; ++i) deep += R"({"a":)";
  deep += "1" + std::string(3000, '}');
  EXPECT_EQ(Fate(Make("3", "insert", "deep", "{}", deep)), "accepted");
  EXPECT_TRUE(adapter_.GetDocument("todos", "deep"));
  std::string too_deep;
  for (int i = 0; i < 100'000; ++i) too_deep += R"({"a":)";
  too_deep += "1" + std::string(100'000, '}');
  EXPECT_EQ(Fate(Make("4", "insert", "too deep", "{}", too_deep)), "rejected");
}

TEST_F(Conformance, BatchesOfEverySize) {
  int n = 0;
  for (size_t size : {0u, 1u, 1'000u, 10'000u}) {
    std::vector<Operation> batch;
    for (size_t i = 0; i < size; ++i, ++n)
      batch.push_back(Make("op" + std::to_string(n), "insert", "doc" + std::to_string(n), "{}"));
    EXPECT_THAT(adapter_.AcceptOperations(batch).accepted, SizeIs(size));
  }
  EXPECT_EQ(adapter_.GetStats().total_documents, n);
}

// ---- against a transcription of the rules ----

// One operation at a time, each in a transaction of its own, merged by PostgreSQL's own ||.
class Transcription {
 public:
  Transcription(Connection& sql, std::string schema) : sql_(sql), schema_(std::move(schema)) {}

  std::string Accept(const Operation& one) {
    if (Exists("SELECT 1 FROM " + schema_ + ".operations WHERE id = $1", {one.id}))
      return "accepted";
    Result found = sql_.Query(
        "SELECT vector_clock FROM " + schema_ + ".documents WHERE collection = $1 AND id = $2",
        {one.collection, one.doc_id});
    if (found.rows() > 0) {
      auto order = Compare(Json::parse(one.vector_clock.ToJson()), Json::parse(found.Get(0, 0)));
      if (order == "before" || order == "concurrent") return "conflict";
    }
    sql_.Query("INSERT INTO " + schema_ +
                   ".operations (id, type, collection, doc_id, data, timestamp, client_id, synced, "
                   "vector_clock) VALUES ($1, $2, $3, $4, $5, $6, $7, false, $8)",
               {one.id, one.type, one.collection, one.doc_id, one.data,
                std::to_string(one.timestamp), one.client_id, one.vector_clock.ToJson()});
    Apply(one, found.rows() > 0);
    return "accepted";
  }

 private:
  static std::string Compare(const Json& a, const Json& b) {
    bool less = false, greater = false;
    Json all = a;
    all.update(b);
    for (const auto& [client, unused] : all.items()) {
      int64_t x = a.value(client, int64_t{0}), y = b.value(client, int64_t{0});
      less = less || x < y;
      greater = greater || x > y;
    }
    return less && greater ? "concurrent" : less ? "before" : greater ? "after" : "equal";
  }

  void Apply(const Operation& one, bool exists) {
    std::string data = one.data.value_or("{}");
    std::string set = one.type == "insert" ? "data = $3::jsonb, rev = rev + 1, deleted = false"
                      : one.type == "update"
                          ? "data = data || $3::jsonb, rev = rev + 1, deleted = false"
                          : "deleted = $3::jsonb IS NOT NULL";
    if (!exists)
      set = one.type == "delete" ? "deleted = $3::jsonb IS NOT NULL" : "data = $3::jsonb";
    if (!exists)
      sql_.Query("INSERT INTO " + schema_ +
                     ".documents (collection, id, data, vector_clock, updated_at) VALUES ($1, $2, "
                     "'{}', '{}', 0)",
                 {one.collection, one.doc_id});
    sql_.Query("UPDATE " + schema_ + ".documents SET " + set +
                   ", vector_clock = $4, updated_at = $5 WHERE collection = $1 AND id = $2",
               {one.collection, one.doc_id, data, one.vector_clock.ToJson(),
                std::to_string(one.timestamp)});
  }

  bool Exists(const std::string& query, const std::vector<std::optional<std::string>>& values) {
    return sql_.Query(query, values).rows() > 0;
  }

  Connection& sql_;
  std::string schema_;
};

class Differential : public Conformance, public ::testing::WithParamInterface<unsigned> {};
INSTANTIATE_TEST_SUITE_P(Seeds, Differential, ::testing::Range(1u, 7u));

TEST_P(Differential, BatchesDoWhatTheRulesSay) {
  CreateSchema(sql_, "theirs", NotifyMode::kOff);
  sql_.Execute("TRUNCATE theirs.operations, theirs.documents");
  Transcription theirs(sql_, "theirs");
  std::mt19937 random(GetParam());
  auto pick = [&](int n) { return static_cast<int>(random() % static_cast<unsigned>(n)); };
  std::map<std::string, int> fates;
  const char* keys[] = {"a", "b.c", "d\"e", "\xf0\x9f\x90\x98"};
  for (int step = 0; step < 40; ++step) {
    std::vector<Operation> batch;
    for (int size = pick(25); size > 0; --size) {
      Json data = Json::object();
      for (int i = pick(4); i > 0; --i)
        data[keys[pick(4)]] = pick(3) == 0 ? Json{{"n", pick(9)}, {"s", nullptr}} : Json(pick(99));
      VectorClock clock;
      for (int i = 0; i < 3; ++i) {
        if (pick(3) != 0) clock.Set("c" + std::to_string(i), pick(4 + step / 4));
      }
      const char* types[] = {"insert", "update", "update", "delete"};
      std::string type = types[pick(4)];
      bool without = type == "delete" && pick(2) == 0;
      batch.push_back({"op" + std::to_string(pick(600)), type, pick(4) == 0 ? "notes" : "todos",
                       "doc" + std::to_string(pick(12)),
                       without ? std::nullopt : std::optional(data.dump()), pick(1000), "c0", false,
                       clock});
    }
    std::vector<std::string> accepted, conflicts;
    for (const Operation& one : batch) {
      std::string fate = theirs.Accept(one);
      ++fates[fate];
      (fate == "accepted" ? accepted : conflicts).push_back(one.id);
    }
    auto result = adapter_.AcceptOperations(batch);
    EXPECT_EQ(result.accepted, accepted) << "step " << step;
    ASSERT_THAT(result.conflicts, SizeIs(conflicts.size()));
    for (size_t i = 0; i < conflicts.size(); ++i) EXPECT_EQ(result.conflicts[i].id, conflicts[i]);
    EXPECT_THAT(result.rejected, IsEmpty());
  }
  for (const std::string table : {"documents", "operations"}) {
    std::string same = "SELECT count(*) FROM (SELECT to_jsonb(o) - 'received_at' FROM ours." +
                       table + " o EXCEPT ALL SELECT to_jsonb(t) - 'received_at' FROM theirs." +
                       table + " t) x";
    EXPECT_EQ(sql_.Execute(same).Get(0, 0), "0") << table;
    EXPECT_EQ(sql_.Execute("SELECT count(*) FROM ours." + table).Get(0, 0),
              sql_.Execute("SELECT count(*) FROM theirs." + table).Get(0, 0));
  }
  EXPECT_GT(fates["accepted"], 30);
  EXPECT_GT(fates["conflict"], 30);
}

}  // namespace
}  // namespace syncflow::adapter
