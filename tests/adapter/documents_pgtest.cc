#include "adapter/documents.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>
#include <stdexcept>

#include "adapter/schema.h"
#include "tests/support/postgres.h"

namespace syncflow::adapter {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

constexpr const char* kSchema = "docs";

class Documents : public ::testing::Test {
 protected:
  Documents() : connection_(Connect()) {
    CreateSchema(connection_, kSchema, NotifyMode::kOff);
    connection_.Execute("TRUNCATE docs.operations, docs.documents");
  }

  static Connection Connect() {
    ConnectOptions options;
    options.url = testing::PrivatePostgres::Shared().url();
    options.timeout = std::chrono::seconds(120);
    return Connection(options);
  }

  void Store(const std::string& id, const std::string& data, int64_t updated_at = 1,
             const std::string& deleted = "f", const std::string& collection = "todos") {
    connection_.Query("INSERT INTO docs.documents VALUES ($1, $2, $3, 7, $4::boolean, '{}', $5)",
                      {id, collection, data, deleted, std::to_string(updated_at)});
  }

  std::optional<std::string> Get(const std::string& id) {
    return GetDocument(connection_, kSchema, "todos", id);
  }
  std::vector<std::string> Query(const DocumentQuery& query) {
    std::vector<std::string> ids;
    for (const std::string& document : QueryDocuments(connection_, kSchema, "todos", query))
      ids.push_back(nlohmann::json::parse(document).at("_id"));
    return ids;
  }
  // The ids found, in their order, as one text.
  std::string Find(const std::string& filter) {
    DocumentQuery query;
    query.filter = filter;
    query.order = {{"id", false}};
    std::string all;
    for (const std::string& id : Query(query)) all += (all.empty() ? "" : " ") + id;
    return all;
  }

  Connection connection_;
};

TEST_F(Documents, OneHasItsIdItsRevAndItsData) {
  Store("a\"\xf0\x9f\x90\x98",
        R"({"title": "x y", "n": 12345678901234567890.10, "k": {"z": [1, 2]}})");
  EXPECT_EQ(Get("a\"\xf0\x9f\x90\x98"),
            "{\"_id\":\"a\\\"\xf0\x9f\x90\x98\",\"_rev\":7,\"k\":{\"z\":[1,2]},"
            "\"n\":12345678901234567890.10,\"title\":\"x y\"}");
}

TEST_F(Documents, OnesOwnIdGoesBeforeOurs) {
  Store("a", R"({"_id": "mine"})");
  EXPECT_EQ(Get("a"), R"({"_rev":7,"_id":"mine"})");
}

TEST_F(Documents, DataThatIsNoObjectIsLeftOut) {
  Store("a", "[1, 2]");
  EXPECT_EQ(Get("a"), R"({"_id":"a","_rev":7})");
}

TEST_F(Documents, MissingDeletedAndOtherCollectionsAreNone) {
  Store("deleted", "{}", 1, "t");
  Store("other", "{}", 1, "f", "notes");
  EXPECT_EQ(Get("missing"), std::nullopt);
  EXPECT_EQ(Get("deleted"), std::nullopt);
  EXPECT_EQ(Get("other"), std::nullopt);
  EXPECT_EQ(Find("{}"), "");
}

TEST_F(Documents, LastUpdatedComesFirst) {
  Store("old", "{}", 1);
  Store("new", "{}", 3);
  Store("b", "{}", 2);
  Store("a", "{}", 2);
  EXPECT_THAT(Query({}), ElementsAre("new", "a", "b", "old"));
}

TEST_F(Documents, OrderAndLimit) {
  Store("1", R"({"a": {"b": 2}, "s": "x"})");
  Store("2", R"({"a": {"b": 10}, "s": "x"})");
  Store("3", R"({"s": "w"})");
  DocumentQuery query;
  query.order = {{"a.b", true}};
  EXPECT_THAT(Query(query), ElementsAre("2", "1", "3"));
  query.order = {{"s", false}, {"a.b", false}};
  EXPECT_THAT(Query(query), ElementsAre("3", "1", "2"));
  query.limit = 2;
  EXPECT_THAT(Query(query), ElementsAre("3", "1"));
  query.limit = -1;
  EXPECT_THROW(Query(query), std::invalid_argument);
}

TEST_F(Documents, PlainMembersAreComparedAsText) {
  Store("number", R"({"id": 1, "v": 1})");
  Store("text", R"({"id": 2, "v": "1"})");
  Store("true", R"({"id": 3, "v": true})");
  Store("dot", R"({"id": 4, "v.w": "x"})");
  Store("null", R"({"id": 5, "v": null})");
  Store("object", R"({"id": 6, "v": {"w": 1}})");
  Store("empty", R"({"id": 7, "v": ""})");
  EXPECT_EQ(Find(R"({"v":1})"), "number text");
  EXPECT_EQ(Find(R"({"v":"1"})"), "number text");
  EXPECT_EQ(Find(R"({"v":true})"), "true");
  EXPECT_EQ(Find(R"({"v":"true"})"), "true");
  EXPECT_EQ(Find(R"({"v.w":"x"})"), "dot");
  EXPECT_EQ(Find(R"({"v":null})"), "");
  EXPECT_EQ(Find(R"({"v": { "w": 1 }})"), "object");
  EXPECT_EQ(Find(R"({"v":""})"), "empty");
  EXPECT_EQ(Find(R"({"v":1,"id":2})"), "text");
}

// Each row: a filter and the ids it finds.
TEST_F(Documents, OperatorsCompareAsJson) {
  Store("a", R"({"id":1,"n":3,"s":"b","o":{"p":{"q":1}},"t":["x","y"],"f":true})");
  Store("b", R"({"id":2,"n":3.0,"s":"B","o":{"p":null},"t":[],"f":false})");
  Store("c", R"({"id":3,"n":"3","s":"ä","o":{"p":[1]},"x.y":1})");
  Store("d", R"({"id":4,"n":9007199254740993,"s":"","o":{"0":"zero"}})");
  Store("e", R"({"id":5,"n":null})");
  const std::pair<const char*, const char*> found[] = {
      {R"({"n":{"$eq":3}})", "a b"},
      {R"({"n":{"$eq":3.00}})", "a b"},
      {R"({"n":{"$eq":"3"}})", "c"},
      {R"({"n":{"$eq":null}})", "e"},
      {R"({"n":{"$eq":9007199254740993}})", "d"},
      {R"({"n":{"$eq":9007199254740992}})", ""},
      {R"({"n":{"$ne":3}})", "c d e"},
      {R"({"missing":{"$ne":3}})", "a b c d e"},
      {R"({"n":{"$gt":2}})", "a b d"},
      {R"({"n":{"$gt":3}})", "d"},
      {R"({"n":{"$gte":3,"$lt":4}})", "a b"},
      {R"({"n":{"$lte":9007199254740992}})", "a b"},
      {R"({"n":{"$gt":""}})", "c"},
      {R"({"s":{"$gte":"B"}})", "a b c"},
      {R"({"s":{"$gt":"B"}})", "a c"},
      {R"({"s":{"$gt":"z"}})", "c"},
      {R"({"s":{"$lt":"B"}})", "d"},
      {R"({"f":{"$gt":false}})", "a"},
      {R"({"f":{"$lte":false}})", "b"},
      {R"({"n":{"$in":[3,"3"]}})", "a b c"},
      {R"({"n":{"$in":[null]}})", "e"},
      {R"({"n":{"$in":[]}})", ""},
      {R"({"t":{"$in":[["x","y"],"x"]}})", "a"},
      {R"({"o.p.q":{"$eq":1}})", "a"},
      {R"({"o.p":{"$eq":{"q":1}}})", "a"},
      {R"({"o.p":{"$eq":{}}})", ""},
      {R"({"o.p":{"$eq":[1]}})", "c"},
      {R"({"o.p":{"$eq":1}})", ""},
      {R"({"o.p.0":{"$eq":1}})", "c"},
      {R"({"o.0":{"$eq":"zero"}})", "d"},
      {R"({"t.1":{"$eq":"y"}})", "a"},
      {R"({"t.-1":{"$eq":"y"}})", "a"},
      {R"({"t":{"$eq":"x"}})", ""},
      {R"({"x\\.y":{"$eq":1}})", "c"},
      {R"({"x.y":{"$eq":1}})", ""},
      {R"({"o.p":{"$exists":true}})", "a b c"},
      {R"({"o.p":{"$exists":false}})", "d e"},
      {R"({"n":{"$exists":true,"$ne":null}})", "a b c d"},
      {R"({"n":{"$not":{"$gt":2}}})", "c e"},
      {R"({"$not":{"s":"b"}})", "b c d e"},
      {R"({"$not":{"missing":"b"}})", "a b c d e"},
      {R"({"$or":[{"s":"b"},{"n":{"$eq":null}}]})", "a e"},
      {R"({"$and":[{"n":{"$gt":2}},{"s":{"$gt":"a"}}]})", "a"},
      {R"({"s":"B","$or":[{"f":true},{"f":false}]})", "b"},
      {R"({"$and":[{}]})", "a b c d e"},
      {R"({"n":{}})", ""},
  };
  for (const auto& [filter, ids] : found) EXPECT_EQ(Find(filter), ids) << filter;
}

TEST_F(Documents, IndexOfTheDataIsUsedForEquality) {
  CreateIndexConcurrently(connection_, kSchema, ExtraIndex::kDocumentData);
  CreateIndexConcurrently(connection_, kSchema, ExtraIndex::kDocumentData);
  connection_.Execute(
      "INSERT INTO docs.documents SELECT i, 'todos', jsonb_build_object('a', "
      "jsonb_build_object('b', i)), 1, false, '{}', 1 FROM generate_series(1, 5000) i; "
      "ANALYZE docs.documents");
  connection_.Execute("LOAD 'auto_explain'");
  std::string plan;
  connection_.OnNotice([&](const std::string&, const std::string& message) { plan += message; });
  connection_.Execute("SET auto_explain.log_min_duration = 0; SET auto_explain.log_level = notice");
  EXPECT_EQ(Find(R"({"a.b":{"$eq":77}})"), "77");
  EXPECT_THAT(plan, HasSubstr("idx_docs_data"));
  connection_.Execute("DROP INDEX docs.idx_docs_data");
}

TEST_F(Documents, IndexThatWasNeverFinishedIsBuiltAnew) {
  Store("1", "{}");
  connection_.Execute(
      "CREATE INDEX idx_docs_data ON docs.documents (id); UPDATE pg_index SET indisvalid = false "
      "WHERE indexrelid = 'docs.idx_docs_data'::regclass");
  CreateIndexConcurrently(connection_, kSchema, ExtraIndex::kDocumentData);
  Result result = connection_.Execute(
      "SELECT indisvalid, pg_get_indexdef(indexrelid) FROM pg_index WHERE indexrelid = "
      "'docs.idx_docs_data'::regclass");
  EXPECT_EQ(result.Get(0, 0), "t");
  EXPECT_THAT(std::string(result.Get(0, 1)), HasSubstr("jsonb_path_ops"));
  connection_.Execute("DROP INDEX docs.idx_docs_data");
}

TEST_F(Documents, StatsCountWhatCounts) {
  Store("1", "{}");
  Store("2", "{}", 1, "t");
  connection_.Execute(
      "INSERT INTO docs.operations SELECT i, 'insert', 'todos', i, '{}', 1, 'c', CASE i WHEN 1 "
      "THEN true WHEN 2 THEN NULL ELSE false END, '{}' FROM generate_series(1, 4) i");
  EXPECT_EQ(GetStats(connection_, kSchema).ToJson(),
            R"({"totalOperations":4,"totalDocuments":1,"unsyncedOperations":3})");
}

}  // namespace
}  // namespace syncflow::adapter
