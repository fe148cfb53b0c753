// Which database a command works on.
#pragma once

#include <functional>
#include <optional>
#include <string>

#include "adapter/schema.h"

namespace syncflow::command {

// As given on the command line. Without file and url, the environment's DATABASE_URL.
struct DatabaseWords {
  std::string config;
  std::string url;
  std::string schema = "public";  // with url
};

struct Database {
  adapter::ConnectOptions connect;
  std::string schema;
  adapter::NotifyMode notify = adapter::NotifyMode::kTrigger;
  std::string slot;  // of the sidecar that follows it, if one does
};

// Finds it, and runs `work`; returns what that returns. 78 after the violations of the file were
// printed; 2 when nothing names a database or `work` throws std::invalid_argument, 1 when it throws
// adapter::Error, both with a sentence on stderr, after `name`.
int WithDatabase(const std::string& name, const DatabaseWords& words,
                 const std::function<int(const Database&)>& work);

}  // namespace syncflow::command
