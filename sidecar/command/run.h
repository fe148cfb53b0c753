#pragma once

#include <string>

namespace syncflow::command {

// The service: until SIGTERM or SIGINT, then drained within 10 seconds. Returns the exit code: 0
// stopped in good order, 1 failed, 78 the configuration (or the journal folder it names) cannot be
// used.
int Run(const std::string& config_path);

}  // namespace syncflow::command
