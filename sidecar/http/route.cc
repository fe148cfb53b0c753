#include "sidecar/http/route.h"

#include <algorithm>
#include <nlohmann/json.hpp>

namespace syncflow::http {
namespace {

using Parts = std::vector<std::string>;

// "/a/b" is a and b, "/" one empty part.
Parts Split(std::string_view path) {
  Parts parts;
  while (!path.empty()) {
    path.remove_prefix(1);
    size_t end = std::min(path.find('/'), path.size());
    parts.emplace_back(path.substr(0, end));
    path.remove_prefix(end);
  }
  return parts;
}

int DigitOf(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  return -1;
}

// Valid JSON is valid UTF-8.
bool IsText(const std::string& text) {
  if (text.find('\0') != text.npos) return false;
  std::string quoted = text;
  for (char& c : quoted) {
    if (c == '"' || c == '\\' || static_cast<unsigned char>(c) < 0x20) c = ' ';
  }
  return nlohmann::json::accept('"' + quoted + '"');
}

std::optional<std::string> Decode(const std::string& part) {
  std::string out;
  for (size_t at = 0; at < part.size(); ++at) {
    if (part[at] != '%') {
      out += part[at];
      continue;
    }
    if (part.size() - at < 3) return std::nullopt;
    int high = DigitOf(part[at + 1]);
    int low = DigitOf(part[at + 2]);
    if (high < 0 || low < 0) return std::nullopt;
    out += static_cast<char>(high << 4 | low);
    at += 2;
  }
  if (!IsText(out)) return std::nullopt;
  return out;
}

// What stands in the places; nullopt when it is another path.
std::optional<Parts> ParametersOf(const Route& route, const Parts& parts) {
  Parts wanted = Split(route.path);
  if (wanted.size() != parts.size()) return std::nullopt;
  Parts parameters;
  for (size_t i = 0; i < parts.size(); ++i) {
    bool place = wanted[i].starts_with(':') && !parts[i].empty();
    if (place) parameters.push_back(parts[i]);
    if (!place && wanted[i] != parts[i]) return std::nullopt;
  }
  return parameters;
}

}  // namespace

Response Refuse(int status, std::string_view sentence) {
  auto keep = nlohmann::json::error_handler_t::replace;
  return {status,
          "application/json",
          nlohmann::json{{"error", sentence}}.dump(-1, ' ', false, keep) + "\n",
          {}};
}

std::optional<Match> Find(const std::vector<Route>& routes, std::string_view method,
                          std::string_view path) {
  Parts parts = Split(path);
  for (std::string& part : parts) {
    auto decoded = Decode(part);
    if (!decoded) return std::nullopt;
    part = std::move(*decoded);
  }
  Match match;
  for (const Route& route : routes) {
    auto parameters = ParametersOf(route, parts);
    if (!parameters) continue;
    match.allowed += (match.allowed.empty() ? "" : ", ") + route.method;
    if (route.method == "GET") match.allowed += ", HEAD";
    if (route.method != method) continue;
    match.route = &route;
    match.parameters = std::move(*parameters);
  }
  return match;
}

}  // namespace syncflow::http
