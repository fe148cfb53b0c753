// SyncFlow's tables, indexes, sequence and NOTIFY trigger, created as its Node.js adapter creates
// them.
#pragma once

#include <string>
#include <vector>

#include "adapter/connection.h"

namespace syncflow::adapter {

enum class NotifyMode { kTrigger, kOff };

// The statements in order; each is idempotent. `schema` is quoted, never pasted.
std::vector<std::string> SchemaStatements(const Connection& connection, const std::string& schema,
                                          NotifyMode mode);

// Creates what is missing, in one transaction, under an advisory lock so that several starters do
// not race. Takes no lock on existing tables that would hold up writers (an existing, equal trigger
// is left alone). Throws Error.
void CreateSchema(Connection& connection, const std::string& schema, NotifyMode mode);

// True when both tables exist and have the columns the sidecar reads.
bool HasSchema(Connection& connection, const std::string& schema);

}  // namespace syncflow::adapter
