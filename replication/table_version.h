// What of PostgreSQL's catalog decides which rows a slot sends. Both plugins go by names: what was
// written while the table had another name, was not logged, or stood outside the publication, they
// leave out in silence, and afterwards everything looks as before. But the catalog's rows have been
// written anew.
#pragma once

#include <string>
#include <string_view>

#include "adapter/connection.h"

namespace syncflow::replication {

struct Streamed {
  std::string schema;
  std::string table;
  std::string slot;
  std::string publication;  // counts where the slot is one of pgoutput
};

// Opaque, without control characters; for IsSameTable. Any connection.
std::string TableVersion(adapter::Connection& connection, const Streamed& streamed);

// False when rows may have been left out in between. Harmless changes of the table, such as a GRANT
// or VACUUM FULL, look the same.
bool IsSameTable(std::string_view then, std::string_view now);

}  // namespace syncflow::replication
