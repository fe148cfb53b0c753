// Environment variables that look like settings and are none. Pure.
#pragma once

#include <set>
#include <string>
#include <vector>

#include "config/substitute.h"

namespace syncflow::config {

// A sentence for each SYNCFLOW_* that nothing reads; `used` are the variables the file names.
std::vector<std::string> WarnOfUnknown(const Environment& environment,
                                       const std::set<std::string>& used);

}  // namespace syncflow::config
