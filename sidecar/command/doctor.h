#pragma once

#include <string>

namespace syncflow::command {

// Prints what in PostgreSQL is right, doubtful or wrong for the sidecar of this configuration, each
// with its remedy. 1 when something is wrong.
int Doctor(const std::string& config_path, bool json);

}  // namespace syncflow::command
