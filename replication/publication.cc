#include "replication/publication.h"

#include "replication/server_version.h"

namespace syncflow::replication {
namespace {

std::string CreateStatement(const adapter::Connection& connection, const std::string& name,
                            const std::string& schema, const std::string& table) {
  return "CREATE PUBLICATION " + connection.QuoteIdentifier(name) + " FOR TABLE ONLY " +
         connection.QuoteIdentifier(schema) + "." + connection.QuoteIdentifier(table) +
         " WITH (publish = 'insert')";
}

[[noreturn]] void Refuse(const std::string& message, const std::string& hint) {
  throw adapter::Error(message, "55000", hint);
}

}  // namespace

void CreatePublication(adapter::Connection& connection, const std::string& name,
                       const std::string& schema, const std::string& table) {
  adapter::Result found = connection.Execute(
      "SELECT FROM pg_catalog.pg_publication WHERE pubname = " + connection.QuoteLiteral(name));
  if (found.rows() == 0) connection.Execute(CreateStatement(connection, name, schema, table));
}

void CheckPublication(adapter::Connection& connection, const std::string& name,
                      const std::string& schema, const std::string& table) {
  bool filters = HasPublicationFilters(connection.server_version());
  adapter::Result found = connection.Execute(
      "SELECT p.pubinsert, t.tablename IS NOT NULL, " +
      std::string(filters ? "t.rowfilter IS NULL AND t.attnames @> ARRAY['id', 'type', "
                            "'collection', 'doc_id', 'data', 'timestamp', 'client_id', 'synced', "
                            "'vector_clock']::name[]"
                          : "true") +
      " FROM pg_catalog.pg_publication p LEFT JOIN pg_catalog.pg_publication_tables t ON "
      "t.pubname = p.pubname AND t.schemaname = " +
      connection.QuoteLiteral(schema) + " AND t.tablename = " + connection.QuoteLiteral(table) +
      " WHERE p.pubname = " + connection.QuoteLiteral(name));
  std::string quoted = connection.QuoteIdentifier(name);
  std::string whole = connection.QuoteIdentifier(schema) + "." + connection.QuoteIdentifier(table);
  if (found.rows() == 0) {
    Refuse("the publication '" + name + "' does not exist",
           CreateStatement(connection, name, schema, table) +
               "; a slot that is older than the publication cannot read what was written before "
               "it");
  }
  if (found.Get(0, 1) != "t") {
    Refuse("the publication '" + name + "' does not contain the table " + whole,
           "ALTER PUBLICATION " + quoted + " ADD TABLE ONLY " + whole);
  }
  if (found.Get(0, 0) != "t") {
    Refuse("the publication '" + name + "' leaves inserts out",
           "ALTER PUBLICATION " + quoted + " SET (publish = 'insert')");
  }
  if (found.Get(0, 2) != "t") {
    Refuse("the publication '" + name + "' leaves rows or columns of " + whole + " out",
           "ALTER PUBLICATION " + quoted + " SET TABLE ONLY " + whole);
  }
}

// The slot's catalog_xmin is the oldest transaction whose catalog it may still need.
bool IsOlderThanSlot(adapter::Connection& connection, const std::string& name,
                     const std::string& schema, const std::string& table, const std::string& slot) {
  adapter::Result younger = connection.Execute(
      "SELECT FROM pg_catalog.pg_publication p LEFT JOIN pg_catalog.pg_publication_rel r ON "
      "r.prpubid = p.oid AND r.prrelid = pg_catalog.to_regclass(" +
      connection.QuoteLiteral(connection.QuoteIdentifier(schema) + "." +
                              connection.QuoteIdentifier(table)) +
      "), pg_catalog.pg_replication_slots s WHERE p.pubname = " + connection.QuoteLiteral(name) +
      " AND s.slot_name = " + connection.QuoteLiteral(slot) +
      " AND least(pg_catalog.age(p.xmin), pg_catalog.age(r.xmin)) <= "
      "pg_catalog.age(s.catalog_xmin)");
  return younger.rows() == 0;
}

}  // namespace syncflow::replication
