// Hostile texts, in every place of the adapter that takes a text from outside.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "adapter/accept.h"
#include "adapter/documents.h"
#include "adapter/schema.h"
#include "tests/support/postgres.h"

namespace syncflow::adapter {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

const std::string kHostile[] = {
    "'",
    "''",
    "\"",
    "\"\"",
    "\\",
    "\\'",
    "\\\\",
    "$1",
    "$$",
    "$tag$",
    "--",
    "/*",
    "*/",
    ";",
    "%s",
    "%n",
    "?",
    ":name",
    "{}",
    "{\"",
    "}",
    "NULL",
    "true",
    "a,b",
    "a.b",
    "a b",
    " ",
    "\t",
    "\n",
    "\r\n",
    "\x01",
    "\x7f",
    "\xc2\xa0",
    "\xe2\x80\xae",
    "\xef\xbb\xbf",
    "\xf0\x9f\x90\x98",
    "x'; DROP TABLE marker; --",
    "x\"; DROP TABLE marker; --",
    "x') OR ('1'='1",
    "' OR 1=1 --",
    "'; DELETE FROM marker; SELECT '",
    "\\'; DROP TABLE marker; --",
    "$$; DROP TABLE marker; $$",
    "'||(SELECT pg_sleep(1000))||'",
    "x}'; DROP TABLE marker; --",
    "U&'\\0027'",
    "E'\\x27'",
    "pg_catalog",
    "a\" CASCADE; DROP TABLE marker; --",
    "-- \n DROP TABLE marker;",
};

class Injection : public ::testing::TestWithParam<std::string> {
 protected:
  Injection() : connection_(Connect()) {
    connection_.Execute(
        "CREATE TABLE IF NOT EXISTS public.marker (n int); TRUNCATE public.marker; "
        "INSERT INTO public.marker VALUES (1)");
    relations_ = Relations();
  }

  static Connection Connect() {
    ConnectOptions options;
    options.url = testing::PrivatePostgres::Shared().url();
    return Connection(options);
  }

  // Everything in the database that is not of the system or of `schema`.
  std::string Relations(const std::string& schema = "") {
    Result result = connection_.Query(
        "SELECT string_agg(concat_ws('.', n.nspname, c.relname), ' ' ORDER BY 1) FROM pg_class c "
        "JOIN pg_namespace n ON n.oid = c.relnamespace WHERE n.nspname NOT IN ('pg_catalog', "
        "'information_schema', 'pg_toast', $1)",
        {schema});
    return std::string(result.Get(0, 0));
  }

  void ExpectNothingElseChanged(const std::string& schema) {
    EXPECT_EQ(Relations(schema), relations_);
    EXPECT_EQ(connection_.Execute("SELECT count(*) FROM public.marker").Get(0, 0), "1");
  }

  Connection connection_;
  std::string relations_;
};

INSTANTIATE_TEST_SUITE_P(Texts, Injection, ::testing::ValuesIn(kHostile),
                         [](const auto& one) { return std::to_string(one.index); });

TEST_P(Injection, InIdsNamesAndValuesIsOnlyData) {
  const std::string& text = GetParam();
  CreateSchema(connection_, "inject", NotifyMode::kTrigger);
  connection_.Execute(
      "TRUNCATE inject.operations, inject.documents, public.marker; INSERT INTO "
      "public.marker VALUES (1)");
  relations_ = Relations("inject");
  nlohmann::json data = {{text, text}, {"inner", {{text, text}}}};
  VectorClock clock;
  clock.Set(text, 1);
  Operation operation{text, "insert", text, text, data.dump(), 1, text, false, clock};
  EXPECT_THAT(AcceptOperations(connection_, "inject", {operation}).accepted, ElementsAre(text));

  auto document = GetDocument(connection_, "inject", text, text);
  ASSERT_TRUE(document);
  EXPECT_EQ(nlohmann::json::parse(*document).at(text), text);
  std::string path = nlohmann::json(text).get<std::string>();
  for (size_t at = 0; (at = path.find_first_of("\\.", at)) != path.npos; at += 2)
    path.insert(at, "\\");
  const nlohmann::json filters[] = {
      {{"inner", {{"$eq", {{text, text}}}}}},
      {{"inner." + path, {{"$eq", text}}}},
      {{"inner." + path, {{"$gte", text}, {"$lte", text}, {"$in", {text}}}}},
      {{"inner." + path, {{"$not", {{"$ne", text}}}, {"$exists", true}}}},
  };
  for (const auto& filter : filters) {
    DocumentQuery query;
    query.filter = filter.dump();
    query.order = {{path, true}};
    EXPECT_THAT(QueryDocuments(connection_, "inject", text, query), ElementsAre(*document))
        << filter;
    EXPECT_THAT(QueryDocuments(connection_, "inject", text + "x", query), IsEmpty());
  }
  if (!text.starts_with('$')) {
    DocumentQuery plain;
    plain.filter = nlohmann::json({{text, text}}).dump();
    EXPECT_THAT(QueryDocuments(connection_, "inject", text, plain), ElementsAre(*document));
  }
  ExpectNothingElseChanged("inject");
}

TEST_P(Injection, InTheSchemaIsOnlyAName) {
  std::string schema = "s" + GetParam();
  CreateSchema(connection_, schema, NotifyMode::kTrigger);
  Operation operation{"1", "insert", "c", "d", "{}", 1, "c", false, {}};
  EXPECT_THAT(AcceptOperations(connection_, schema, {operation}).accepted, ElementsAre("1"));
  EXPECT_EQ(GetDocument(connection_, schema, "c", "d"), R"({"_id":"d","_rev":1})");
  EXPECT_THAT(QueryDocuments(connection_, schema, "c", {}), ElementsAre(R"({"_id":"d","_rev":1})"));
  EXPECT_EQ(GetStats(connection_, schema).total_operations, 1);
  CreateIndexConcurrently(connection_, schema, ExtraIndex::kDocumentData);
  CreateSchema(connection_, schema, NotifyMode::kOff);
  ExpectNothingElseChanged(schema);
  connection_.Execute("SET client_min_messages = warning; DROP SCHEMA " +
                      connection_.QuoteIdentifier(schema) + " CASCADE");
}

}  // namespace
}  // namespace syncflow::adapter
