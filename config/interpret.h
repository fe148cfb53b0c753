// What the words of a file mean: sections, keys, values, then the environment on top. Pure.
#pragma once

#include <string>

#include "config/document.h"
#include "config/load.h"

namespace syncflow::config {

Loaded Interpret(const Document& document, const std::string& path, const Environment& environment);

}  // namespace syncflow::config
