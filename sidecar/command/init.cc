#include "sidecar/command/init.h"

#include <cstdio>

namespace syncflow::command {
namespace {

void Print(const adapter::Connection& connection, const InitOptions& options) {
  std::puts("BEGIN;");
  for (const std::string& statement :
       adapter::SchemaStatements(connection, options.schema, options.notify)) {
    std::printf("%s;\n", statement.c_str());
  }
  std::puts("COMMIT;");
}

}  // namespace

int Init(const InitOptions& options) {
  try {
    adapter::Connection connection(options.connect);
    if (options.print_sql) {
      Print(connection, options);
      return 0;
    }
    adapter::CreateSchema(connection, options.schema, options.notify);
    std::fprintf(stderr, "schema %s of database %s is ready\n", options.schema.c_str(),
                 connection.database().c_str());
    return 0;
  } catch (const adapter::Error& error) {
    std::fprintf(stderr, "init: %s\n", error.Explain().c_str());
    return 1;
  }
}

}  // namespace syncflow::command
