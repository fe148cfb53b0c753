#include "adapter/roles.h"

namespace syncflow::adapter {
namespace {

constexpr const char* kStream = "syncflow_stream";
constexpr const char* kRead = "syncflow_read";
constexpr const char* kCompact = "syncflow_compact";

std::string CreateUnlessThere(const std::string& role, const std::string& attributes) {
  return "DO $$ BEGIN IF NOT EXISTS (SELECT FROM pg_catalog.pg_roles WHERE rolname = '" + role +
         "') THEN CREATE ROLE " + role + " " + attributes + "; END IF; END $$";
}

}  // namespace

std::vector<std::string> RoleStatements(const Connection& connection, const std::string& schema) {
  std::string quoted = connection.QuoteIdentifier(schema);
  std::string all = std::string(kStream) + ", " + kRead + ", " + kCompact;
  return {
      CreateUnlessThere(kStream, "LOGIN REPLICATION"),
      CreateUnlessThere(kRead, "NOLOGIN"),
      CreateUnlessThere(kCompact, "NOLOGIN"),
      "GRANT USAGE ON SCHEMA " + quoted + " TO " + all,
      "GRANT SELECT ON " + quoted + ".operations TO " + all,
      // For snapshots.
      "GRANT SELECT ON " + quoted + ".documents TO " + kStream + ", " + kRead,
      "GRANT DELETE ON " + quoted + ".operations TO " + kCompact,
      // FOR UPDATE SKIP LOCKED, which lets writers pass, asks for it on some column.
      "GRANT UPDATE (synced) ON " + quoted + ".operations TO " + kCompact,
  };
}

}  // namespace syncflow::adapter
