// What the value of a setting may be: each kind reads a text, or says in `expects` what would have
// fitted, and writes it again. Pure.
#pragma once

#include <algorithm>
#include <charconv>
#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include "config/secret.h"
#include "config/text.h"
#include "config/units.h"

namespace syncflow::config {

struct Line {
  using Value = std::string;
  bool (*fits)(const std::string&) = [](const std::string&) { return true; };
  std::string expects = "must be one line of text without control characters";

  std::optional<Value> Read(const std::string& text) const {
    if (!IsOneLineOfText(text) || !fits(text)) return std::nullopt;
    return text;
  }
  std::string Write(const Value& value) const { return value; }
};

struct Hidden {
  using Value = Secret;
  std::string expects = Line{}.expects;

  std::optional<Value> Read(const std::string& text) const {
    if (!IsOneLineOfText(text)) return std::nullopt;
    return Secret(text);
  }
  std::string Write(const Value& value) const { return value.empty() ? "" : "***"; }
};

struct Flag {
  using Value = bool;
  std::string expects = "must be true or false";

  std::optional<Value> Read(const std::string& text) const {
    if (text != "true" && text != "false") return std::nullopt;
    return text == "true";
  }
  std::string Write(Value value) const { return value ? "true" : "false"; }
};

struct Count {
  using Value = uint32_t;
  Value least;
  Value most;
  std::string expects =
      "must be a whole number from " + std::to_string(least) + " to " + std::to_string(most);

  std::optional<Value> Read(const std::string& text) const {
    auto value = ParseCount(text);
    if (!value || *value < least || *value > most) return std::nullopt;
    return static_cast<Value>(*value);
  }
  std::string Write(Value value) const { return std::to_string(value); }
};

struct Size {
  using Value = uint64_t;
  Value least;
  Value most;
  std::string expects =
      "must be a size like 64MiB, from " + FormatSize(least) + " to " + FormatSize(most);

  std::optional<Value> Read(const std::string& text) const {
    auto value = ParseSize(text);
    return value && *value >= least && *value <= most ? value : std::nullopt;
  }
  std::string Write(Value value) const { return FormatSize(value); }
};

// T is the type of the setting: milliseconds or seconds.
template <typename T>
struct Duration {
  using Value = T;
  Value least;
  Value most;
  std::string expects = "must be a duration like 30s, from " + FormatDuration(least) + " to " +
                        FormatDuration(most) +
                        (std::is_same_v<T, std::chrono::seconds> ? ", in whole seconds" : "");

  std::optional<Value> Read(const std::string& text) const {
    auto value = ParseDuration(text);
    bool whole = value && std::chrono::duration_cast<T>(*value) == *value;
    if (!whole || *value < least || *value > most) return std::nullopt;
    return std::chrono::duration_cast<T>(*value);
  }
  std::string Write(Value value) const { return FormatDuration(value); }
};

// `names` in the order of the enumeration.
template <typename T>
struct Choice {
  using Value = T;
  std::vector<std::string> names;
  std::string expects = "must be one of: " + Joined();

  std::string Joined() const {
    std::string all;
    for (const std::string& name : names) all += (all.empty() ? "" : ", ") + name;
    return all;
  }
  std::optional<Value> Read(const std::string& text) const {
    auto found = std::find(names.begin(), names.end(), text);
    if (found == names.end()) return std::nullopt;
    return static_cast<Value>(found - names.begin());
  }
  std::string Write(Value value) const { return names[static_cast<size_t>(value)]; }
};

// 0.5: a part of the whole, and not nothing.
struct Share {
  using Value = double;
  std::string expects = "must be a share like 0.5, greater than 0 and at most 1";

  std::optional<Value> Read(const std::string& text) const {
    double value = 0;
    auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
    bool whole = error == std::errc() && end == text.data() + text.size();
    if (!whole || !(value > 0 && value <= 1)) return std::nullopt;
    return value;
  }
  std::string Write(Value value) const {
    char text[40];
    return {text, std::to_chars(text, text + sizeof text, value).ptr};
  }
};

// Sets a member from a text; a sentence when the text does not fit.
template <typename Struct, typename Kind>
auto Setter(typename Kind::Value Struct::*member, Kind kind) {
  return [=](Struct& out, const std::string& text) -> std::optional<std::string> {
    auto value = kind.Read(text);
    if (!value) return kind.expects;
    out.*member = std::move(*value);
    return std::nullopt;
  };
}

}  // namespace syncflow::config
