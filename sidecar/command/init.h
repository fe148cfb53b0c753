// `syncflow-sidecar init`: SyncFlow's tables, indexes and trigger, created or printed.
#pragma once

#include <string>

#include "adapter/schema.h"

namespace syncflow::command {

struct InitOptions {
  adapter::ConnectOptions connect;
  std::string schema = "public";
  adapter::NotifyMode notify = adapter::NotifyMode::kTrigger;
  bool print_sql = false;  // to stdout instead of running it; it still connects, for the quoting
};

// 0; 1 with a sentence on stderr.
int Init(const InitOptions& options);

}  // namespace syncflow::command
