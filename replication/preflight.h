// What must hold in PostgreSQL before a stream makes sense, asked before it is opened.
#pragma once

#include <chrono>
#include <optional>
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

// Its parts, each with its own Error. They work on any connection.
void RequireWalLevel(adapter::Connection& connection);
void RequireEncoding(adapter::Connection& connection);
void RequirePrimary(adapter::Connection& connection);
void RequireTable(adapter::Connection& connection, const std::string& schema,
                  const std::string& table);
void RequireJsonColumns(adapter::Connection& connection, const std::string& schema,
                        const std::string& table);
// The sentence for a minor version that loses or stalls decoded changes; as PQserverVersion counts.
std::optional<std::string> KnownBugs(int server_version);

}  // namespace syncflow::replication
