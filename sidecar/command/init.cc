#include "sidecar/command/init.h"

#include <cstdio>

#include "adapter/roles.h"

namespace syncflow::command {
namespace {

void Print(const adapter::Connection& connection, const Database& database) {
  std::puts("BEGIN;");
  for (const std::string& statement :
       adapter::SchemaStatements(connection, database.schema, database.notify)) {
    std::printf("%s;\n", statement.c_str());
  }
  std::puts(
      "COMMIT;\n\n-- Roles that may only what they need; the first one still needs a password.");
  for (const std::string& statement : adapter::RoleStatements(connection, database.schema))
    std::printf("%s;\n", statement.c_str());
}

}  // namespace

int Init(const Database& database, const InitOptions& options) {
  adapter::Connection connection(database.connect);
  if (options.print_sql) {
    Print(connection, database);
    return 0;
  }
  adapter::CreateSchema(connection, database.schema, database.notify);
  connection.set_timeout(std::chrono::hours(24));
  for (adapter::ExtraIndex index : options.indexes)
    adapter::CreateIndexConcurrently(connection, database.schema, index);
  std::fprintf(stderr, "schema %s of database %s is ready\n", database.schema.c_str(),
               connection.database().c_str());
  return 0;
}

}  // namespace syncflow::command
