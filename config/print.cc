#include "config/print.h"

#include "config/options.h"

namespace syncflow::config {
namespace {

// A double-quoted YAML scalar that survives substitution. Settings hold no control characters.
std::string Quoted(const std::string& text) {
  std::string out = "\"";
  for (char c : text) {
    if (c == '"' || c == '\\') out += '\\';
    if (c == '$') out += '$';
    out += c;
  }
  return out + "\"";
}

std::string ValueOf(const Option& option, const Settings& settings) {
  std::string text = option.get(settings);
  return option.free_text ? Quoted(text) : text;
}

std::string OriginOf(const Option& option, const Loaded& loaded) {
  auto found = loaded.origins.find(option.name());
  return found == loaded.origins.end() ? "default" : found->second;
}

}  // namespace

std::string Print(const Loaded& loaded) {
  std::string out = "version: 1\n";
  std::string section;
  for (const Option& option : Options()) {
    if (option.section != section) out += option.section + ":\n";
    section = option.section;
    out += "  " + option.key + ": " + ValueOf(option, loaded.settings) + "  # " +
           OriginOf(option, loaded) + "\n";
  }
  return out;
}

std::string Defaults() {
  return Print(Loaded{});
}

}  // namespace syncflow::config
