// How `tail` shows a change to people:
//
//   2026-11-23T03:31:22.567Z update todos/doc-1 9c41e07b.0000000014319470.3 {"title":"x"}
#pragma once

#include <string>
#include <string_view>

namespace syncflow::command {

// One line without '\n'. Long data is cut; nothing in it can steer the terminal. A line that is not
// a change comes back as it is, made printable.
std::string ShowChange(std::string_view line);

// A document of a snapshot:
//
//   snapshot todos/doc-1 rev 3 {"title":"x"}
std::string ShowDocument(std::string_view line);

// The text with control characters (C0, DEL, C1) replaced by '?'.
std::string Printable(std::string text);

}  // namespace syncflow::command
