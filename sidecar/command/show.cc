#include "sidecar/command/show.h"

#include <nlohmann/json.hpp>

namespace syncflow::command {
namespace {

using nlohmann::json;

constexpr size_t kDataMax = 240;  // bytes

std::string Text(const json& object, const char* key) {
  auto found = object.find(key);
  return found != object.end() && found->is_string() ? found->get<std::string>() : "?";
}

// "2026-11-23T03:31:22.567891Z" to milliseconds.
std::string Milliseconds(std::string time) {
  if (time.size() == 27 && time[19] == '.') time.replace(23, 3, "");
  return time;
}

std::string Cut(std::string text) {
  if (text.size() <= kDataMax) return text;
  size_t end = kDataMax;
  while (end > 0 && (static_cast<unsigned char>(text[end]) & 0xC0) == 0x80) --end;
  return text.substr(0, end) + "…";
}

std::string Compact(const json& value) {
  return Cut(value.dump(-1, ' ', false, json::error_handler_t::replace));
}

bool IsTrue(const json& object, const char* key) {
  auto found = object.find(key);
  return found != object.end() && *found == true;
}

std::string Show(const json& change) {
  const json& operation = change.at("op");
  std::string out = Milliseconds(Text(change, "committed_at")) + " " + Text(operation, "type") +
                    " " + Text(operation, "collection") + "/" + Text(operation, "docId") + " " +
                    Text(change, "cursor");
  auto data = operation.find("data");
  if (data != operation.end()) out += " " + Compact(*data);
  if (IsTrue(change, "recovered")) out += " (recovered)";
  return out;
}

}  // namespace

std::string ShowChange(std::string_view line) {
  json change = json::parse(line, nullptr, false);
  bool usable = change.is_object() && change.contains("op") && change["op"].is_object();
  return Printable(usable ? Show(change) : std::string(line));
}

std::string ShowDocument(std::string_view line) {
  json parsed = json::parse(line, nullptr, false);
  bool usable = parsed.is_object() && parsed.contains("document") && parsed["document"].is_object();
  if (!usable) return Printable(std::string(line));
  const json& document = parsed["document"];
  std::string out = "snapshot " + Text(document, "collection") + "/" + Text(document, "id");
  if (document.contains("rev")) out += " rev " + Compact(document["rev"]);
  if (IsTrue(document, "deleted")) return Printable(out + " (deleted)");
  return Printable(document.contains("data") ? out + " " + Compact(document["data"]) : out);
}

std::string Printable(std::string text) {
  for (size_t i = 0; i < text.size(); ++i) {
    auto byte = static_cast<unsigned char>(text[i]);
    bool c1 = byte == 0xC2 && i + 1 < text.size() && (text[i + 1] & 0xE0) == 0x80;
    if (c1) text.erase(i, 1);
    if (c1 || byte < 0x20 || byte == 0x7F) text[i] = '?';
  }
  return text;
}

}  // namespace syncflow::command
