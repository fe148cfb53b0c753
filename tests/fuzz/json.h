// JSON as the fuzzers compare it.
#pragma once

#include <nlohmann/json.hpp>
#include <set>
#include <string>
#include <string_view>
#include <vector>

namespace syncflow::fuzz {

// The document; discarded when it is none, or when a key stands twice in an object, which parsers
// take differently.
inline nlohmann::json ParseWithKeysOnce(std::string_view text) {
  using Json = nlohmann::json;
  std::vector<std::set<std::string>> open;
  bool doubled = false;
  auto watch = [&](int, Json::parse_event_t event, Json& parsed) {
    if (event == Json::parse_event_t::object_start) open.emplace_back();
    if (event == Json::parse_event_t::object_end) open.pop_back();
    if (event == Json::parse_event_t::key)
      doubled = doubled || !open.back().insert(parsed.get<std::string>()).second;
    return true;
  };
  Json json = Json::parse(text, watch, false);
  return doubled ? Json(Json::value_t::discarded) : json;
}

}  // namespace syncflow::fuzz
