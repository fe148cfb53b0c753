// The lines of the feed protocol, as a client sees them. Pure.
#pragma once

#include <cstdint>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <string_view>

#include "sidecar/client/subscription.h"

namespace syncflow::client {

// ---- what the client says; every line ends with '\n' ----

struct Place {
  std::string from;  // as in Options
  std::string snapshot;
  uint64_t number = 0;
};

std::string HelloLine(const Options& options, std::string_view request, std::string_view token,
                      const Place& place);
std::string AckLine(std::string_view cursor);

// ---- what it hears ----

// The two kinds of line that come by the million, read without a JSON document; nullopt: another
// kind, or not in the form that the sidecar writes.
std::optional<std::string_view> CursorOfChange(std::string_view line);

struct DocumentHead {
  std::string_view snapshot;
  uint64_t number = 0;
};
std::optional<DocumentHead> HeadOfDocument(std::string_view line);

// Fields of a line that is an object; one of another type counts as absent. Text lives as long as
// `line`.
std::string_view Text(const nlohmann::json& line, const char* key);
bool Is(const nlohmann::json& line, const char* key, bool value);
double Number(const nlohmann::json& line, const char* key, double otherwise);

}  // namespace syncflow::client
