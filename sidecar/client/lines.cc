#include "sidecar/client/lines.h"

#include <charconv>

namespace syncflow::client {
namespace {

using nlohmann::json;

// Takes `words` off the front of `text`; false: it does not begin with them.
bool Skip(std::string_view& text, std::string_view words) {
  if (!text.starts_with(words)) return false;
  text.remove_prefix(words.size());
  return true;
}

// What is no UTF-8, from a caller or a feed that is none, is left to the feed to refuse.
std::string LineOf(const nlohmann::ordered_json& said) {
  return said.dump(-1, ' ', false, json::error_handler_t::replace) + "\n";
}

}  // namespace

std::string HelloLine(const Options& options, std::string_view request, std::string_view token,
                      const Place& place) {
  nlohmann::ordered_json hello = {{"type", "hello"}, {"version", 1}, {"request", request}};
  if (!token.empty()) hello["token"] = token;
  if (!options.name.empty()) hello["name"] = options.name;
  if (!place.from.empty()) hello["from"] = place.from;
  if (place.from == "snapshot" && !place.snapshot.empty()) {
    hello["snapshot"] = place.snapshot;
    hello["number"] = place.number;
  }
  if (!options.collections.empty()) hello["collections"] = options.collections;
  if (options.heartbeat.count() > 0) hello["heartbeat"] = options.heartbeat.count();
  if (options.window > 0) hello["window"] = options.window;
  hello["on_gap"] = options.continue_after_gap ? "continue" : "fail";
  return LineOf(hello);
}

std::string AckLine(std::string_view cursor) {
  return LineOf({{"type", "ack"}, {"cursor", cursor}});
}

std::optional<std::string_view> CursorOfChange(std::string_view line) {
  if (!Skip(line, R"({"type":"change","cursor":")")) return std::nullopt;
  return line.substr(0, line.find('"'));
}

std::optional<DocumentHead> HeadOfDocument(std::string_view line) {
  if (!Skip(line, R"({"type":"document","snapshot":")")) return std::nullopt;
  DocumentHead head{line.substr(0, line.find('"'))};
  line.remove_prefix(head.snapshot.size());
  if (!Skip(line, R"(","number":)")) return std::nullopt;
  auto [end, error] = std::from_chars(line.data(), line.data() + line.size(), head.number);
  if (error != std::errc()) return std::nullopt;
  return head;
}

std::string_view Text(const json& line, const char* key) {
  auto found = line.find(key);
  bool is_text = found != line.end() && found->is_string();
  return is_text ? found->get_ref<const std::string&>() : std::string_view();
}

bool Is(const json& line, const char* key, bool value) {
  auto found = line.find(key);
  return found != line.end() && *found == value;
}

double Number(const json& line, const char* key, double otherwise) {
  auto found = line.find(key);
  return found != line.end() && found->is_number() ? found->get<double>() : otherwise;
}

}  // namespace syncflow::client
