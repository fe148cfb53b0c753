// Reads a configuration file: YAML, then substitution, then the environment on top. All violations
// are reported at once.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "config/settings.h"
#include "config/substitute.h"

namespace syncflow::config {

struct Loaded {
  Settings settings;  // meaningful only without violations
  // "file:line:column: sentence" in the order of the file, then "environment: sentence". Not one
  // holds a secret.
  std::vector<std::string> violations;
  std::vector<std::string> warnings;  // sentences
  // Of each setting that is not left at its default, by name ("journal.directory"): "file", or
  // "environment" and the variable.
  std::map<std::string, std::string> origins;
};

Environment ProcessEnvironment();

// Never throws; a file that cannot be read is a violation, too.
Loaded Load(const std::string& path, const Environment& environment);
// `path` only for the violations.
Loaded LoadText(const std::string& text, const std::string& path, const Environment& environment);

}  // namespace syncflow::config
