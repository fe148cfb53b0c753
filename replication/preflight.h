// What must hold in PostgreSQL before a stream makes sense, asked before it is opened.
#pragma once

#include <chrono>
#include <string>
#include <vector>

#include "adapter/connection.h"

namespace syncflow::replication {

struct Facts {
  std::chrono::milliseconds wal_sender_timeout{0};  // 0 = none
  std::vector<std::string> warnings;                // sentences; the stream can run all the same
};

// Works on a replication connection. Throws adapter::Error with the remedy for what makes streaming
// impossible or silently incomplete: wal_level, encoding, a standby, the table missing, unlogged,
// partitioned, or without jsonb columns.
Facts Preflight(adapter::Connection& connection, const std::string& schema,
                const std::string& table);

}  // namespace syncflow::replication
