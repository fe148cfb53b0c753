#include "adapter/raw_json.h"

#include <nlohmann/json.hpp>
#include <set>

#include "adapter/operation.h"

namespace syncflow::adapter {
namespace {

bool IsSpace(char c) {
  return c == ' ' || c == '\t' || c == '\n' || c == '\r';
}

// `at` is the opening quote; returns the place after the closing one.
size_t AfterString(std::string_view json, size_t at) {
  at = json.find_first_of("\"\\", at + 1);
  while (json[at] == '\\') at = json.find_first_of("\"\\", at + 2);
  return at + 1;
}

size_t AfterValue(std::string_view json, size_t at) {
  for (int depth = 0;;) {
    char c = json[at];
    if (depth == 0 && (c == ',' || c == '}' || c == ']' || IsSpace(c))) return at;
    at = c == '"' ? AfterString(json, at) : at + 1;
    depth += c == '{' || c == '[' ? 1 : c == '}' || c == ']' ? -1 : 0;
    if (depth == 0 && (c == '"' || c == '}' || c == ']')) return at;
  }
}

std::string Unescaped(std::string_view name) {
  if (name.find('\\') == name.npos) return std::string(name.substr(1, name.size() - 2));
  return nlohmann::json::parse(name);
}

void AppendMember(std::string& out, const RawJsonMember& member) {
  if (out.size() > 1) out += ',';
  AppendJsonString(out, member.name);
  out += ':';
  out += member.value;
}

}  // namespace

std::vector<RawJsonMember> RawMembers(std::string_view object) {
  std::vector<RawJsonMember> members;
  size_t at = object.find_first_not_of(" \t\n\r");
  if (at == object.npos || object[at] != '{') return members;
  for (++at;;) {
    at = object.find_first_of("\"}", at);
    if (object[at] == '}') return members;
    size_t name_end = AfterString(object, at);
    size_t value = object.find(':', name_end) + 1;
    while (IsSpace(object[value])) ++value;
    size_t value_end = AfterValue(object, value);
    members.push_back(
        {Unescaped(object.substr(at, name_end - at)), object.substr(value, value_end - value)});
    at = value_end;
  }
}

std::vector<std::string_view> RawElements(std::string_view array) {
  std::vector<std::string_view> elements;
  size_t at = array.find_first_not_of(" \t\n\r");
  if (at == array.npos || array[at] != '[') return elements;
  for (++at;;) {
    at = array.find_first_not_of(" \t\n\r,", at);
    if (array[at] == ']') return elements;
    size_t end = AfterValue(array, at);
    elements.push_back(array.substr(at, end - at));
    at = end;
  }
}

std::string MergeRawObjects(std::string_view base, std::string_view patch) {
  auto news = RawMembers(patch);
  std::set<std::string_view> names;
  for (const RawJsonMember& member : news) names.insert(member.name);
  std::string out = "{";
  for (const RawJsonMember& member : RawMembers(base)) {
    if (!names.contains(member.name)) AppendMember(out, member);
  }
  for (const RawJsonMember& member : news) AppendMember(out, member);
  return out + '}';
}

bool HoldsNulEscape(std::string_view json) {
  for (size_t at = json.find('\\'); at != json.npos; at = json.find('\\', at + 2)) {
    if (json.substr(at, 6) == "\\u0000") return true;
  }
  return false;
}

std::string WithoutSpace(std::string_view json) {
  std::string out;
  for (size_t at = 0; at < json.size();) {
    size_t end = json[at] == '"' ? AfterString(json, at) : at + 1;
    if (!IsSpace(json[at])) out += json.substr(at, end - at);
    at = end;
  }
  return out;
}

}  // namespace syncflow::adapter
