// ${NAME}, ${NAME:-default}, ${NAME:?message} and $$ in one scalar. Pure. A $ before anything else
// stands for itself; what was put in is not looked at again.
#pragma once

#include <map>
#include <optional>
#include <string>
#include <vector>

namespace syncflow::config {

using Environment = std::map<std::string, std::string>;

struct Substituted {
  std::string text;
  std::optional<std::string> violation;  // a sentence; quotes nothing that could be a secret
  std::vector<std::string> names;        // the variables that were asked for
};

Substituted Substitute(const std::string& text, const Environment& environment);

}  // namespace syncflow::config
