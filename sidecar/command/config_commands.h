// check-config and print-config, and what every command that takes a file does first.
#pragma once

#include <optional>
#include <string>

#include "config/settings.h"

namespace syncflow::command {

// The settings; nullopt after every violation was printed to stderr, one a line.
std::optional<config::Settings> LoadOrReport(const std::string& path);

// 0 and "FILE: ok"; 78 with the violations; with `connect` also 1 when PostgreSQL cannot be
// reached.
int CheckConfig(const std::string& path, bool connect);

// The settings in force as YAML, each with its origin, secrets as ***. `defaults`: those of an
// empty file.
int PrintConfig(const std::string& path, bool defaults);

}  // namespace syncflow::command
