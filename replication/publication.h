// The publication that pgoutput reads. PostgreSQL looks it up as it was when a change was written,
// so it must be there before the slot is, and one that is dropped and created again leaves a hole.
#pragma once

#include <string>

#include "adapter/connection.h"

namespace syncflow::replication {

// Creates it for inserts into the table where it is missing. Needs the table's owner and CREATE on
// the database. Throws adapter::Error.
void CreatePublication(adapter::Connection& connection, const std::string& name,
                       const std::string& schema, const std::string& table);

// Throws adapter::Error with the remedy when it is missing or leaves something of the table out.
void CheckPublication(adapter::Connection& connection, const std::string& name,
                      const std::string& schema, const std::string& table);

// Whether it was already like this where the slot stands. What was written before that is left out
// by pgoutput, with an error or in silence.
bool IsOlderThanSlot(adapter::Connection& connection, const std::string& name,
                     const std::string& schema, const std::string& table, const std::string& slot);

}  // namespace syncflow::replication
