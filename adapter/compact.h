// compact: old operations leave the log, in small steps that writers hardly notice. The documents
// stay.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <string>

#include "adapter/connection.h"

namespace syncflow::adapter {

struct CompactProgress {
  int64_t eligible = 0;  // operations old enough when the run began
  int64_t deleted = 0;   // so far
};

struct CompactOptions {
  // By the operations' own timestamp (their clients' clocks) against the database's clock.
  std::chrono::milliseconds older_than = std::chrono::hours(30 * 24);
  int batch_rows = 5000;                 // one transaction each, 1 to 100 000
  std::chrono::milliseconds pause{100};  // between batches
  // For the table; rows that somebody else has locked are left to the next run.
  std::chrono::milliseconds lock_timeout{2000};
  // At most this share of the table, the oldest; 0 < share_max <= 1. Below 1, a clock that was set
  // wrongly cannot empty the table.
  double share_max = 1;
  bool dry_run = false;  // only count
  bool vacuum = false;   // VACUUM (ANALYZE) at the end; takes as long as it takes
  // After each batch; false ends the run.
  std::function<bool(const CompactProgress&)> progress;
};

struct CompactResult {
  int64_t cutoff = 0;  // milliseconds since 1970; older ones go
  int64_t eligible = 0;
  int64_t deleted = 0;   // of a dry run: what would have been
  bool limited = false;  // by share_max
  bool cancelled = false;

  // {"message":"Compaction completed","deletedCount":n}, as SyncFlow's server answers.
  std::string ToJson() const;
};

// The connection's timeout must allow for counting the table's rows once, and for `vacuum`. Waits
// for a locked table five times lock_timeout, then throws Error 55P03; what was deleted by then
// stays deleted. Throws std::invalid_argument for options out of range, Error otherwise.
CompactResult Compact(Connection& connection, const std::string& schema,
                      const CompactOptions& options);

}  // namespace syncflow::adapter
