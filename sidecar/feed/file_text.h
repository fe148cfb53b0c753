// A small file that a setting names, and that is read again and again: reading it leaves no doubt
// whether it has changed, as its times would.
#pragma once

#include <string>

namespace syncflow::feed {

// At most 1 MiB. Throws std::runtime_error with a sentence that names the setting, not the path.
std::string ReadFileOf(const std::string& setting, const std::string& path);

}  // namespace syncflow::feed
