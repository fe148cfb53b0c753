// What holds for any file: settings that load again, or violations inside it.
#pragma once

#include <algorithm>
#include <cstdio>
#include <string>

#include "config/print.h"
#include "tests/config/rig.h"

namespace syncflow::config {

inline bool IsInside(const std::string& text, int line, int column) {
  size_t start = 0;
  for (int i = 1; i < line; ++i) {
    start = text.find('\n', start) + 1;
    if (start == 0) return false;
  }
  size_t length = std::min(text.find('\n', start), text.size()) - start;
  return line >= 1 && column >= 1 && static_cast<size_t>(column) <= length + 1;
}

// Empty: `violation` of the file "f" with this text is one line and names a place inside.
inline std::string WhatIsInsane(const std::string& text, const std::string& violation) {
  if (violation.starts_with("f: and ")) return "";  // so many more
  int line = 0;
  int column = 0;
  if (std::sscanf(violation.c_str(), "f:%d:%d: ", &line, &column) != 2)
    return "names no place: " + violation;
  if (!IsInside(text, line, column)) return "names a place outside: " + violation;
  return violation.find('\n') == violation.npos ? "" : "is more than one line: " + violation;
}

// Empty: all is well.
inline std::string WhatIsInsane(const std::string& text) {
  Loaded loaded = LoadText(text, "f", {{"DATABASE_URL", "postgresql://localhost/app"}});
  for (const std::string& violation : loaded.violations)
    if (std::string problem = WhatIsInsane(text, violation); !problem.empty()) return problem;
  if (!loaded.violations.empty()) return "";
  Environment url = {{"SYNCFLOW_POSTGRES_URL", loaded.settings.postgres.url.Reveal()}};
  Loaded again = LoadText(Print(loaded), "f", url);
  if (!again.violations.empty()) return "what is printed is refused: " + Joined(again.violations);
  return TextsOf(again.settings) == TextsOf(loaded.settings) ? "" : "what is printed is another";
}

}  // namespace syncflow::config
