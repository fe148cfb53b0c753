#include "adapter/schema.h"

#include <algorithm>
#include <string_view>

namespace syncflow::adapter {
namespace {

// Starters of one cluster take turns; any number that nobody else uses will do.
constexpr const char* kLock = "SELECT pg_catalog.pg_advisory_xact_lock(6007433520260001)";

constexpr const char* kOperations = R"((
  id TEXT PRIMARY KEY,
  type TEXT NOT NULL,
  collection TEXT NOT NULL,
  doc_id TEXT NOT NULL,
  data JSONB,
  timestamp BIGINT NOT NULL,
  client_id TEXT NOT NULL,
  synced BOOLEAN DEFAULT FALSE,
  vector_clock JSONB NOT NULL,
  received_at TIMESTAMP DEFAULT NOW()
))";

constexpr const char* kDocuments = R"((
  id TEXT NOT NULL,
  collection TEXT NOT NULL,
  data JSONB NOT NULL,
  rev INTEGER DEFAULT 1,
  deleted BOOLEAN DEFAULT FALSE,
  vector_clock JSONB NOT NULL,
  updated_at BIGINT NOT NULL,
  PRIMARY KEY (collection, id)
))";

// NOTIFY refuses payloads of 8000 bytes and more, in the writer's transaction: a long row is
// announced by its id alone, and one whose id is too long is not announced.
constexpr const char* kFunctionBody = R"(
DECLARE
  payload TEXT := pg_catalog.json_build_object(
    'id', NEW.id, 'type', NEW.type, 'collection', NEW.collection, 'doc_id', NEW.doc_id)::text;
BEGIN
  IF pg_catalog.octet_length(payload) > 7999 THEN
    payload := pg_catalog.json_build_object('id', NEW.id)::text;
  END IF;
  IF pg_catalog.octet_length(payload) <= 7999 THEN
    PERFORM pg_catalog.pg_notify('operation_inserted', payload);
  END IF;
  RETURN NEW;
END;
)";

struct Index {
  const char* name;
  const char* on;  // after the schema
};

// In the order of ExtraIndex.
constexpr Index kExtraIndexes[] = {
    {"idx_docs_data", ".documents USING gin (data jsonb_path_ops)"},
    {"idx_ops_clock", ".operations (client_id, (vector_clock -> client_id))"},
    {"idx_ops_document", ".operations (collection, doc_id, timestamp, id)"},
};

constexpr Index kIndexes[] = {
    {"idx_ops_timestamp", ".operations (timestamp, synced)"},
    {"idx_ops_client", ".operations (client_id, timestamp)"},
    {"idx_docs_collection", ".documents (collection)"},
    {"idx_docs_updated", ".documents (updated_at)"},
};

// Builds the statements. Each looks first whether its object is there: even the IF NOT EXISTS forms
// ask for privileges that a sidecar need not have, and for locks that writers would wait behind.
class Script {
 public:
  Script(const Connection& connection, const std::string& schema)
      : connection_(connection),
        schema_(connection.QuoteIdentifier(schema)),
        literal_(connection.QuoteLiteral(schema)) {}

  void AddSchema() {
    AddUnless("SELECT 1 FROM pg_catalog.pg_namespace WHERE nspname = " + literal_,
              "CREATE SCHEMA IF NOT EXISTS " + schema_);
  }

  // `before` and `after` stand around the quoted schema: "CREATE SEQUENCE " and ".operation_seq".
  void AddRelation(const std::string& name, const std::string& before, const std::string& after) {
    AddUnless(
        "SELECT 1 FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = "
        "c.relnamespace WHERE n.nspname = " +
            literal_ + " AND c.relname = '" + name + "'",
        before + schema_ + after);
  }

  void AddFunction() {
    std::string body = connection_.QuoteLiteral(kFunctionBody);
    AddUnless(
        "SELECT 1 FROM pg_catalog.pg_proc p JOIN pg_catalog.pg_namespace n ON n.oid = "
        "p.pronamespace WHERE n.nspname = " +
            literal_ +
            " AND p.proname = 'notify_operation_insert' AND p.proconfig = "
            "ARRAY['search_path=pg_catalog, pg_temp'] AND p.prosrc = " +
            body,
        "CREATE OR REPLACE FUNCTION " + schema_ +
            ".notify_operation_insert() RETURNS trigger LANGUAGE plpgsql "
            "SET search_path = pg_catalog, pg_temp AS " +
            body);
  }

  void AddTrigger() {
    // 5 = AFTER INSERT FOR EACH ROW; a trigger that somebody disabled stays disabled.
    AddUnless(FindTrigger() +
                  " AND t.tgtype = 5 AND t.tgqual IS NULL AND t.tgfoid = "
                  "(SELECT p.oid FROM pg_catalog.pg_proc p WHERE p.pronamespace = n.oid "
                  "AND p.proname = 'notify_operation_insert' AND p.pronargs = 0)",
              "CREATE OR REPLACE TRIGGER operation_insert_trigger AFTER INSERT ON " + schema_ +
                  ".operations FOR EACH ROW EXECUTE FUNCTION " + schema_ +
                  ".notify_operation_insert()");
  }

  void RemoveTrigger() {
    Add("EXISTS (" + FindTrigger() + ")",
        "DROP TRIGGER IF EXISTS operation_insert_trigger ON " + schema_ + ".operations");
  }

  std::vector<std::string> Take() { return std::move(statements_); }

 private:
  std::string FindTrigger() const {
    return "SELECT 1 FROM pg_catalog.pg_trigger t JOIN pg_catalog.pg_class c ON c.oid = t.tgrelid "
           "JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace WHERE n.nspname = " +
           literal_ + " AND c.relname = 'operations' AND t.tgname = 'operation_insert_trigger'";
  }

  void AddUnless(const std::string& found, const std::string& statement) {
    Add("NOT EXISTS (" + found + ")", statement);
  }

  void Add(const std::string& condition, const std::string& statement) {
    statements_.push_back(
        "DO " + connection_.QuoteLiteral("BEGIN IF " + condition + " THEN EXECUTE " +
                                         connection_.QuoteLiteral(statement) + "; END IF; END"));
  }

  const Connection& connection_;
  std::string schema_;   // as an identifier
  std::string literal_;  // as a text
  std::vector<std::string> statements_;
};

// Only the lock that starters take turns by is waited for long: behind a waiting DDL statement the
// writers of a busy table would queue.
std::string Transaction(const std::vector<std::string>& statements) {
  std::string all = std::string("BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE; ") + kLock +
                    "; SET LOCAL lock_timeout = '2s'; SET LOCAL client_min_messages = warning; "
                    "SET LOCAL search_path = pg_catalog, pg_temp";
  for (const std::string& statement : statements) all += "; " + statement;
  return all + "; COMMIT";
}

void Run(Connection& connection, const std::string& script) {
  try {
    connection.Execute(script);
  } catch (const Error& error) {
    if (!error.NeedsReconnect()) connection.Execute("ROLLBACK");
    throw;
  }
}

// SyncFlow's own adapter takes no lock: it created something between our look and our statement.
bool IsRace(const Error& error) {
  constexpr std::string_view kExists[] = {"23505", "42P06", "42P07", "42710", "42723"};
  return std::find(std::begin(kExists), std::end(kExists), error.sqlstate()) != std::end(kExists);
}

}  // namespace

std::vector<std::string> SchemaStatements(const Connection& connection, const std::string& schema,
                                          NotifyMode mode) {
  Script script(connection, schema);
  script.AddSchema();
  script.AddRelation("operations", "CREATE TABLE IF NOT EXISTS ",
                     std::string(".operations ") + kOperations);
  script.AddRelation("documents", "CREATE TABLE IF NOT EXISTS ",
                     std::string(".documents ") + kDocuments);
  for (const auto& index : kIndexes) {
    script.AddRelation(index.name, std::string("CREATE INDEX IF NOT EXISTS ") + index.name + " ON ",
                       index.on);
  }
  script.AddRelation("operation_seq", "CREATE SEQUENCE IF NOT EXISTS ", ".operation_seq");
  if (mode == NotifyMode::kOff) {
    script.RemoveTrigger();
  } else {
    script.AddFunction();
    script.AddTrigger();
  }
  return script.Take();
}

void CreateSchema(Connection& connection, const std::string& schema, NotifyMode mode) {
  std::string script = Transaction(SchemaStatements(connection, schema, mode));
  try {
    Run(connection, script);
  } catch (const Error& error) {
    if (!IsRace(error)) throw;
    Run(connection, script);
  }
}

void CreateIndexConcurrently(Connection& connection, const std::string& schema, ExtraIndex index) {
  std::string name = kExtraIndexes[static_cast<size_t>(index)].name;
  std::string quoted = connection.QuoteIdentifier(schema);
  Result found = connection.Query(
      "SELECT i.indisvalid FROM pg_catalog.pg_index i JOIN pg_catalog.pg_class c ON c.oid = "
      "i.indexrelid JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace WHERE n.nspname = $1 "
      "AND c.relname = $2",
      {schema, name});
  if (found.rows() > 0 && found.Get(0, 0) == "t") return;
  if (found.rows() > 0) connection.Execute("DROP INDEX CONCURRENTLY " + quoted + "." + name);
  connection.Execute(ExtraIndexStatement(connection, schema, index));
}

std::string ExtraIndexStatement(const Connection& connection, const std::string& schema,
                                ExtraIndex index) {
  const Index& extra = kExtraIndexes[static_cast<size_t>(index)];
  return std::string("CREATE INDEX CONCURRENTLY ") + extra.name + " ON " +
         connection.QuoteIdentifier(schema) + extra.on;
}

bool HasSchema(Connection& connection, const std::string& schema) {
  Result result = connection.Query(
      "SELECT count(*) FROM pg_catalog.pg_attribute a JOIN pg_catalog.pg_class c ON c.oid = "
      "a.attrelid "
      "JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace "
      "WHERE n.nspname = $1 AND NOT a.attisdropped AND ((c.relname = 'operations' AND a.attname IN "
      "('id', 'type', 'collection', 'doc_id', 'data', 'timestamp', 'client_id', 'synced', "
      "'vector_clock')) OR "
      "(c.relname = 'documents' AND a.attname IN ('id', 'collection', 'data', 'rev', 'deleted', "
      "'vector_clock', 'updated_at')))",
      {schema});
  return result.Get(0, 0) == "16";
}

}  // namespace syncflow::adapter
