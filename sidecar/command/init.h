// `syncflow-sidecar init`: SyncFlow's tables, indexes and trigger, created or printed.
#pragma once

#include <vector>

#include "sidecar/command/database.h"

namespace syncflow::command {

struct InitOptions {
  bool print_sql = false;  // to stdout instead of running it; it still connects, for the quoting
  std::vector<adapter::ExtraIndex> indexes;  // beyond SyncFlow's own
};

// 0; what fails is thrown.
int Init(const Database& database, const InitOptions& options);

}  // namespace syncflow::command
