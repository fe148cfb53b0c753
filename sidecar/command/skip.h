#pragma once

#include <string>

namespace syncflow::command {

// Asks the sidecar of this configuration, running or not, to leave out the transaction that commits
// at `lsn`, if it is the one that cannot be read.
int Skip(const std::string& config_path, const std::string& lsn);

}  // namespace syncflow::command
