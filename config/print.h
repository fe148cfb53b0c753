// The settings in force, as a file that loads again.
#pragma once

#include <string>

#include "config/load.h"

namespace syncflow::config {

// Each setting with its origin as a comment; secrets are ***.
std::string Print(const Loaded& loaded);
std::string Defaults();

}  // namespace syncflow::config
