#include "adapter/operation.h"

#include <array>
#include <charconv>
#include <cstdint>
#include <nlohmann/json.hpp>
#include <stdexcept>

#include "adapter/raw_json.h"

namespace syncflow::adapter {
namespace {

using Json = nlohmann::json;

const Json& Member(const Json& object, const char* key) {
  auto found = object.find(key);
  if (found == object.end())
    throw std::invalid_argument(std::string("the operation has no '") + key + "'");
  return *found;
}

std::string Text(const Json& object, const char* key) {
  const Json& value = Member(object, key);
  if (!value.is_string())
    throw std::invalid_argument(std::string("the operation's '") + key + "' is no string");
  return value.get<std::string>();
}

int64_t Integer(const Json& object, const char* key) {
  const Json& value = Member(object, key);
  bool fits = !value.is_number_unsigned() || value.get<uint64_t>() <= INT64_MAX;
  if (!value.is_number_integer() || !fits)
    throw std::invalid_argument(std::string("the operation's '") + key + "' is no whole number");
  return value.get<int64_t>();
}

bool Flag(const Json& object, const char* key) {
  const Json& value = Member(object, key);
  if (!value.is_boolean())
    throw std::invalid_argument(std::string("the operation's '") + key + "' is not true or false");
  return value.get<bool>();
}

// As it was written; the last member of a name counts, as for jsonb.
std::string_view RawMember(std::string_view json, std::string_view name) {
  std::string_view found;
  for (const RawJsonMember& member : RawMembers(json)) {
    if (member.name == name) found = member.value;
  }
  return found;
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
  Json parsed = Json::parse(json, nullptr, false);
  if (!parsed.is_object()) throw std::invalid_argument("the operation is no JSON object");
  Operation operation;
  operation.id = Text(parsed, "id");
  operation.type = Text(parsed, "type");
  operation.collection = Text(parsed, "collection");
  operation.doc_id = Text(parsed, "docId");
  if (parsed.contains("data")) operation.data = WithoutSpace(RawMember(json, "data"));
  operation.timestamp = Integer(parsed, "timestamp");
  operation.client_id = Text(parsed, "clientId");
  operation.synced = Flag(parsed, "synced");
  operation.vector_clock = VectorClock::FromJson(Member(parsed, "vectorClock").dump());
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
