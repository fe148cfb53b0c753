#include "replication/preflight.h"

#include <string_view>

namespace syncflow::replication {
namespace {

// The first minors without known bugs that lose or stall decoded changes.
struct Floor {
  int major;
  int minor;
};
constexpr Floor kFloors[] = {{14, 25}, {15, 20}, {16, 16}, {17, 12}, {18, 6}};

[[noreturn]] void Refuse(const std::string& message, const std::string& hint) {
  throw adapter::Error(message, "55000", hint);
}

std::string Ask(adapter::Connection& connection, const std::string& sql) {
  adapter::Result result = connection.Execute(sql);
  return result.rows() == 0 ? "" : std::string(result.Get(0, 0));
}

}  // namespace

void RequireWalLevel(adapter::Connection& connection) {
  std::string level = Ask(connection, "SHOW wal_level");
  if (level == "logical") return;
  Refuse("wal_level is '" + level + "', and logical decoding needs 'logical'",
         "ALTER SYSTEM SET wal_level = logical; then restart PostgreSQL");
}

void RequireEncoding(adapter::Connection& connection) {
  std::string encoding = Ask(connection, "SHOW server_encoding");
  if (encoding == "UTF8") return;
  Refuse("the database is encoded in " + encoding + ", and the feed carries only UTF-8",
         "create the database with ENCODING 'UTF8'");
}

void RequirePrimary(adapter::Connection& connection) {
  if (Ask(connection, "SELECT pg_catalog.pg_is_in_recovery()") == "f") return;
  Refuse("the server is a standby",
         "let postgres.url name the primary (target_session_attrs=read-write with several hosts)");
}

void RequireTable(adapter::Connection& connection, const std::string& schema,
                  const std::string& table) {
  std::string name = schema + "." + table;
  adapter::Result kind = connection.Execute(
      "SELECT c.relkind, c.relpersistence FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace "
      "n "
      "ON n.oid = c.relnamespace WHERE n.nspname = " +
      connection.QuoteLiteral(schema) + " AND c.relname = " + connection.QuoteLiteral(table));
  if (kind.rows() == 0) {
    Refuse(
        "the table " + name + " does not exist",
        "set postgres.initialize: true, or run: syncflow-sidecar init, or correct postgres.schema");
  }
  if (kind.Get(0, 0) != "r") {
    Refuse(name + " is not an ordinary table, so its rows would not be sent",
           "SyncFlow needs an ordinary table there; partitions are not supported");
  }
  if (kind.Get(0, 1) != "p") {
    Refuse(name + " is not logged, so its rows never reach the replication slot",
           "ALTER TABLE " + name + " SET LOGGED");
  }
}

void RequireJsonColumns(adapter::Connection& connection, const std::string& schema,
                        const std::string& table) {
  adapter::Result wrong = connection.Execute(
      "SELECT a.attname FROM pg_catalog.pg_attribute a JOIN pg_catalog.pg_class c ON c.oid = "
      "a.attrelid "
      "JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace WHERE n.nspname = " +
      connection.QuoteLiteral(schema) + " AND c.relname = " + connection.QuoteLiteral(table) +
      " AND a.attname IN ('data', 'vector_clock') AND a.atttypid <> "
      "'pg_catalog.jsonb'::pg_catalog.regtype");
  if (wrong.rows() == 0) return;
  std::string column(wrong.Get(0, 0));
  Refuse("the column " + schema + "." + table + "." + column + " is not jsonb",
         "ALTER TABLE " + schema + "." + table + " ALTER COLUMN " + column + " TYPE jsonb USING " +
             column + "::jsonb");
}

std::optional<std::string> KnownBugs(int server_version) {
  int major = server_version / 10000;
  int minor = server_version % 10000;
  for (const Floor& floor : kFloors) {
    if (floor.major != major || minor >= floor.minor) continue;
    return "PostgreSQL " + std::to_string(major) + "." + std::to_string(minor) +
           " has known bugs in logical decoding; upgrade to " + std::to_string(floor.major) + "." +
           std::to_string(floor.minor) + " or later";
  }
  return std::nullopt;
}

namespace {

void WarnOfUnlimitedWal(adapter::Connection& connection, std::vector<std::string>& warnings) {
  if (Ask(connection,
          "SELECT setting FROM pg_catalog.pg_settings WHERE name = 'max_slot_wal_keep_size'") !=
      "-1")
    return;
  warnings.push_back(
      "max_slot_wal_keep_size is unlimited: a sidecar that stays away lets WAL fill the server's "
      "disk");
}

}  // namespace

Facts Preflight(adapter::Connection& connection, const std::string& schema,
                const std::string& table) {
  RequireWalLevel(connection);
  RequireEncoding(connection);
  RequirePrimary(connection);
  RequireTable(connection, schema, table);
  RequireJsonColumns(connection, schema, table);
  Facts facts;
  if (auto bugs = KnownBugs(connection.server_version())) facts.warnings.push_back(*bugs);
  WarnOfUnlimitedWal(connection, facts.warnings);
  std::string timeout = Ask(
      connection, "SELECT setting FROM pg_catalog.pg_settings WHERE name = 'wal_sender_timeout'");
  facts.wal_sender_timeout = std::chrono::milliseconds(std::stol(timeout.empty() ? "0" : timeout));
  return facts;
}

}  // namespace syncflow::replication
