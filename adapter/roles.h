// Roles that may only what they need, for whoever sets a database up.
#pragma once

#include <string>
#include <vector>

#include "adapter/connection.h"

namespace syncflow::adapter {

// Statements that create, where they are missing,
//   syncflow_stream   reads the replication slot, and the table for what the stream does not have
//   syncflow_read     reads operations and documents
//   syncflow_compact  deletes old operations
// The first logs in and has no password yet; the others are granted to whoever shall have them.
std::vector<std::string> RoleStatements(const Connection& connection, const std::string& schema);

}  // namespace syncflow::adapter
