// What `doctor` tells: everything in PostgreSQL that a stream depends on, looked at one by one.
// Where Preflight ends at the first thing that is wrong, this names them all, and what is right as
// well. Changes nothing but a temporary slot that is gone when it returns.
#pragma once

#include <string>
#include <vector>

#include "adapter/connection.h"

namespace syncflow::replication {

enum class Severity {
  kOk,
  kWarning,  // works, and will hurt some day
  kError,    // the sidecar cannot stream, or would leave something out
};

struct Finding {
  std::string check;  // one word, stable: connection, version, wal_level, …
  Severity severity;
  std::string sentence;
  std::string remedy;  // the exact SQL or setting; empty for what is right
};

struct Subject {
  std::string schema;
  std::string table;
  std::string slot;
  std::string plugin;  // wal2json, pgoutput, or empty: whichever the server has
  std::string publication;
  bool creates_publication = true;
  bool deletes = false;         // rows of the table, by jobs of compaction
  bool serves_clients = false;  // through the sync API
};

// Never throws for what PostgreSQL answers; a server that cannot be reached is a finding as well.
std::vector<Finding> Diagnose(const adapter::ConnectOptions& connect, const Subject& subject);

}  // namespace syncflow::replication
