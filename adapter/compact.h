// compact: old operations leave the log, in small steps that writers hardly notice. The documents
// stay.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <string>

#include "adapter/connection.h"

namespace syncflow::adapter {

struct CompactProgress {
  int64_t eligible = 0;          // operations that may go, as far as they are counted
  int64_t deleted = 0;           // so far
  std::optional<int64_t> quota;  // how many go at most; nullopt while they are counted
};

// How old an operation is when it goes; nullopt: it never does.
using CompactAge = std::optional<std::chrono::milliseconds>;

struct CompactOptions {
  // By the database's clock, since the operation's own timestamp (its client's clock) and since it
  // was stored (received_at, as UTC; unknown where it is NULL): both must be that long ago, so that
  // what a client stored late, after months offline, stays for the others to pull.
  CompactAge older_than = std::chrono::hours(30 * 24);
  // The collections that have an age of their own.
  std::map<std::string, CompactAge> collections;
  // The newest of each document, by timestamp and id, that stay whatever their age. Needs
  // ExtraIndex::kOperationDocument.
  int keep_last = 0;
  // Only what older transactions than this one have written: the xmin of a pg_current_snapshot().
  std::optional<std::string> written_before;
  // Only rows of the table with this oid: another one may have taken its name meanwhile.
  std::optional<std::string> table_oid;
  int batch_rows = 1000;                 // looked at in one transaction, 1 to 100 000
  std::chrono::milliseconds pause{100};  // after each batch that deleted
  // For the table; rows that somebody else has locked are left to the next run.
  std::chrono::milliseconds lock_timeout{2000};
  // For a batch. One that takes half a second or more makes the following smaller.
  std::chrono::milliseconds statement_timeout{10'000};
  // At most this share of the table, the oldest; 0 < share_max <= 1. Below 1, a clock that was set
  // wrongly cannot empty the table.
  double share_max = 1;
  // At most so many, in place of a share that is counted anew: for what goes on with another run.
  std::optional<int64_t> deleted_max;
  bool dry_run = false;  // only count
  bool vacuum = false;   // VACUUM (ANALYZE) at the end, unless something else holds the table
  // When a VACUUM that is not through is cancelled; nullopt: it takes as long as it takes.
  std::optional<Clock::time_point> vacuum_until;
  // After each transaction, while counting too, and every 100 ms of a pause; false ends the run.
  std::function<bool(const CompactProgress&)> progress;
};

struct CompactResult {
  int64_t cutoff = 0;  // milliseconds since 1970: nothing younger goes
  int64_t eligible = 0;
  int64_t deleted = 0;   // of a dry run: what would have been
  bool limited = false;  // by share_max
  bool cancelled = false;

  // {"message":"Compaction completed","deletedCount":n}, as SyncFlow's server answers.
  std::string ToJson() const;
};

// Sets the connection's timeout, so that a server that does not answer ends it. Waits for a locked
// table five times lock_timeout, then throws Error 55P03; what was deleted by then stays deleted.
// Throws std::invalid_argument for options out of range, Error otherwise.
CompactResult Compact(Connection& connection, const std::string& schema,
                      const CompactOptions& options);

}  // namespace syncflow::adapter
