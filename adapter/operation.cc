#include "adapter/operation.h"

#include <array>
#include <charconv>
#include <cstdint>
#include <functional>
#include <map>
#include <nlohmann/json.hpp>
#include <stdexcept>

#include "adapter/raw_json.h"

namespace syncflow::adapter {
namespace {

using Json = nlohmann::json;

using Members = std::map<std::string, std::string_view, std::less<>>;

// As they were written: what is deeply nested or large is read by nobody who need not. The last
// member of a name counts, as for jsonb.
Members MembersOf(std::string_view json) {
  size_t begin = json.find_first_not_of(" \t\r\n");
  if (begin == json.npos || json[begin] != '{' || !Json::accept(json))
    throw std::invalid_argument("the operation is no JSON object");
  Members members;
  for (auto& [name, value] : RawMembers(json)) members[name] = value;
  return members;
}

std::string_view Raw(const Members& members, const char* key) {
  auto found = members.find(key);
  if (found == members.end())
    throw std::invalid_argument(std::string("the operation has no '") + key + "'");
  return found->second;
}

// Null for an object or array.
Json Scalar(const Members& members, const char* key) {
  std::string_view raw = Raw(members, key);
  return raw.starts_with('{') || raw.starts_with('[') ? Json() : Json::parse(raw);
}

std::string Text(const Members& members, const char* key) {
  Json value = Scalar(members, key);
  if (!value.is_string())
    throw std::invalid_argument(std::string("the operation's '") + key + "' is no string");
  return value.get<std::string>();
}

int64_t Integer(const Members& members, const char* key) {
  Json value = Scalar(members, key);
  bool fits = !value.is_number_unsigned() || value.get<uint64_t>() <= INT64_MAX;
  if (!value.is_number_integer() || !fits)
    throw std::invalid_argument(std::string("the operation's '") + key + "' is no whole number");
  return value.get<int64_t>();
}

bool Flag(const Members& members, const char* key) {
  Json value = Scalar(members, key);
  if (!value.is_boolean())
    throw std::invalid_argument(std::string("the operation's '") + key + "' is not true or false");
  return value.get<bool>();
}

void AppendInteger(std::string& out, int64_t value) {
  char digits[24];
  auto [end, error] = std::to_chars(digits, digits + sizeof digits, value);
  out.append(digits, end);
}

// As PostgreSQL's escape_json writes it, so that a text comes out the same whatever plugin sent it.
void AppendEscaped(std::string& out, char c) {
  constexpr char kHex[] = "0123456789abcdef";
  auto byte = static_cast<unsigned char>(c);
  switch (c) {
    case '"':
      out += "\\\"";
      break;
    case '\\':
      out += "\\\\";
      break;
    case '\b':
      out += "\\b";
      break;
    case '\f':
      out += "\\f";
      break;
    case '\n':
      out += "\\n";
      break;
    case '\r':
      out += "\\r";
      break;
    case '\t':
      out += "\\t";
      break;
    default:
      out += "\\u00";
      out += kHex[byte >> 4];
      out += kHex[byte & 15];
  }
}

constexpr auto kNeedsEscape = [] {
  std::array<bool, 256> table{};
  for (size_t byte = 0; byte < 0x20; ++byte) table[byte] = true;
  table['"'] = table['\\'] = true;
  return table;
}();

}  // namespace

void AppendJsonString(std::string& out, std::string_view text) {
  out += '"';
  size_t plain = 0;  // start of the run that goes out as it is
  for (size_t at = 0; at < text.size(); ++at) {
    if (!kNeedsEscape[static_cast<unsigned char>(text[at])]) continue;
    out.append(text, plain, at - plain);
    AppendEscaped(out, text[at]);
    plain = at + 1;
  }
  out.append(text, plain);
  out += '"';
}

void AppendOperationJson(std::string& out, const OperationView& operation) {
  out += "{\"id\":";
  AppendJsonString(out, operation.id);
  out += ",\"type\":";
  AppendJsonString(out, operation.type);
  out += ",\"collection\":";
  AppendJsonString(out, operation.collection);
  out += ",\"docId\":";
  AppendJsonString(out, operation.doc_id);
  if (operation.data) {
    out += ",\"data\":";
    out += *operation.data;
  }
  out += ",\"timestamp\":";
  AppendInteger(out, operation.timestamp);
  out += ",\"clientId\":";
  AppendJsonString(out, operation.client_id);
  out += operation.synced ? ",\"synced\":true" : ",\"synced\":false";
  out += ",\"vectorClock\":";
  out += operation.vector_clock;
  out += '}';
}

Operation Operation::FromJson(std::string_view json) {
  Members members = MembersOf(json);
  Operation operation;
  operation.id = Text(members, "id");
  operation.type = Text(members, "type");
  operation.collection = Text(members, "collection");
  operation.doc_id = Text(members, "docId");
  if (members.contains("data")) operation.data = WithoutSpace(Raw(members, "data"));
  operation.timestamp = Integer(members, "timestamp");
  operation.client_id = Text(members, "clientId");
  operation.synced = Flag(members, "synced");
  operation.vector_clock = VectorClock::FromJson(Raw(members, "vectorClock"));
  return operation;
}

std::string Operation::ToJson() const {
  std::string clock = vector_clock.ToJson();
  OperationView view{id, type, collection, doc_id, data, timestamp, client_id, synced, clock};
  std::string out;
  AppendOperationJson(out, view);
  return out;
}

}  // namespace syncflow::adapter
