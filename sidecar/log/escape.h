// Texts of others made safe for one log line. Pure; any bytes may come in, valid UTF-8 goes out.
#pragma once

#include <string>
#include <string_view>

namespace syncflow::log {

// A JSON string. Control characters are escaped, bytes that are not UTF-8 become U+FFFD.
void AppendQuoted(std::string& out, std::string_view text);

// For people: control characters become spaces, so that nothing forges a line or steers a terminal.
void AppendPlain(std::string& out, std::string_view text);

// As it is when it is one plain word, quoted otherwise.
void AppendValue(std::string& out, std::string_view text);

}  // namespace syncflow::log
