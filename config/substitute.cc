#include "config/substitute.h"

#include <algorithm>

namespace syncflow::config {
namespace {

constexpr const char* kForms = "${NAME}, ${NAME:-default} or ${NAME:?message}";

bool IsName(const std::string& text) {
  auto letter = [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_' || (c >= '0' && c <= '9');
  };
  bool digit_first = !text.empty() && text[0] >= '0' && text[0] <= '9';
  return !text.empty() && !digit_first && std::all_of(text.begin(), text.end(), letter);
}

std::string NotSet(const std::string& name, const std::string& message) {
  std::string sentence = "the environment variable " + name + " is not set";
  if (!message.empty()) return sentence + ": " + message;
  return sentence + "; set it, or write ${" + name + ":-default}";
}

// What stands between the braces: the text for it is added to `out`.
void Expand(const std::string& inside, const Environment& environment, Substituted& out) {
  size_t colon = std::min(inside.find(':'), inside.size());
  std::string name = inside.substr(0, colon);
  std::string rest = inside.substr(colon);
  bool has_default = rest.starts_with(":-");
  bool has_message = rest.starts_with(":?");
  if (!IsName(name) || (!rest.empty() && !has_default && !has_message)) {
    out.violation = std::string("'${' must begin one of ") + kForms + "; write $$ for a plain $";
    return;
  }
  out.names.push_back(name);
  auto found = environment.find(name);
  if (found != environment.end() && (rest.empty() || !found->second.empty())) {
    out.text += found->second;
  } else if (has_default) {
    out.text += rest.substr(2);
  } else {
    out.violation = NotSet(name, has_message ? rest.substr(2) : "");
  }
}

}  // namespace

Substituted Substitute(const std::string& text, const Environment& environment) {
  Substituted out;
  for (size_t at = 0; at < text.size() && !out.violation;) {
    std::string two = text.substr(at, 2);
    size_t end = two == "${" ? text.find('}', at) : at;
    if (end == std::string::npos) {
      out.violation = "'${' is never closed with '}'; write $$ for a plain $";
    } else if (two == "${") {
      Expand(text.substr(at + 2, end - at - 2), environment, out);
      at = end + 1;
    } else {
      out.text += text[at];
      at += two == "$$" ? 2 : 1;
    }
  }
  return out;
}

}  // namespace syncflow::config
