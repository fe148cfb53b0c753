#include "replication/table_version.h"

#include <algorithm>
#include <utility>

namespace syncflow::replication {
namespace {

// VACUUM, ANALYZE and CREATE INDEX change the table's row in place, and leave its xmin alone.
std::string FactsOfTable(adapter::Connection& connection, const Streamed& streamed) {
  adapter::Result found = connection.Execute(
      "SELECT pg_catalog.concat_ws(' ', c.oid, c.xmin, c.relkind, c.relpersistence) FROM "
      "pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace WHERE "
      "n.nspname = " +
      connection.QuoteLiteral(streamed.schema) +
      " AND c.relname = " + connection.QuoteLiteral(streamed.table));
  return found.rows() == 0 ? "" : std::string(found.Get(0, 0));
}

// Empty where none is read; "none" where it is missing.
std::string FactsOfPublication(adapter::Connection& connection, const Streamed& streamed) {
  std::string table = connection.QuoteIdentifier(streamed.schema) + "." +
                      connection.QuoteIdentifier(streamed.table);
  adapter::Result found = connection.Execute(
      "SELECT coalesce(nullif(pg_catalog.concat_ws(' ', p.oid, p.xmin, r.oid, r.xmin), ''), "
      "'none') FROM pg_catalog.pg_replication_slots s LEFT JOIN pg_catalog.pg_publication p ON "
      "p.pubname = " +
      connection.QuoteLiteral(streamed.publication) +
      " LEFT JOIN pg_catalog.pg_publication_rel r ON r.prpubid = p.oid AND r.prrelid = "
      "pg_catalog.to_regclass(" +
      connection.QuoteLiteral(table) +
      ") WHERE s.plugin = 'pgoutput' AND s.slot_name = " + connection.QuoteLiteral(streamed.slot));
  return found.rows() == 0 ? "" : std::string(found.Get(0, 0));
}

std::pair<std::string_view, std::string_view> Halves(std::string_view version) {
  size_t at = std::min(version.find('|'), version.size());
  return {version.substr(0, at), version.substr(std::min(at + 1, version.size()))};
}

}  // namespace

std::string TableVersion(adapter::Connection& connection, const Streamed& streamed) {
  return FactsOfTable(connection, streamed) + "|" + FactsOfPublication(connection, streamed);
}

bool IsSameTable(std::string_view then, std::string_view now) {
  auto [table, publication] = Halves(then);
  auto [table_now, publication_now] = Halves(now);
  if (table != table_now) return false;
  return publication.empty() || publication_now.empty() || publication == publication_now;
}

}  // namespace syncflow::replication
