#include "sidecar/feed/protocol.h"

#include <nlohmann/json.hpp>

#include "sidecar/feed/encode.h"

namespace syncflow::feed {
namespace {

using Json = nlohmann::json;
using Ordered = nlohmann::ordered_json;

constexpr size_t kTextMax = 256;  // requests, tokens and ping ids
constexpr int kDepthMax = 16;     // nothing a client says is deeper

// Thrown and caught in this file only.
struct Wrong {
  Refusal refusal;
};

[[noreturn]] void Refuse(std::string code, std::string message) {
  throw Wrong{{std::move(code), std::move(message), true}};
}

std::string Text(const Json& line, const char* key) {
  auto found = line.find(key);
  if (found == line.end()) return "";
  if (!found->is_string() || found->get_ref<const std::string&>().size() > kTextMax) {
    Refuse("bad_hello", std::string("'") + key + "' must be a string of at most 256 bytes");
  }
  return found->get<std::string>();
}

void CheckVersion(const Json& line) {
  auto version = line.find("version");
  if (version == line.end() || !version->is_number_integer())
    Refuse("bad_hello", "a hello needs \"version\":1");
  if (*version != kProtocolVersion)
    Refuse("unsupported_version", "this server speaks version 1: say \"version\":1");
}

std::string NameOf(const Json& line) {
  constexpr std::string_view kAllowed =
      "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._-";
  auto found = line.find("name");
  if (found == line.end() || found->is_null()) return "";
  std::string name = found->is_string() ? found->get<std::string>() : "";
  // Nothing but dots is no name in a path.
  bool right = name.find_first_not_of('.') != name.npos && name.size() <= kNameMax &&
               name.find_first_not_of(kAllowed) == name.npos;
  if (!right)
    Refuse(
        "bad_hello",
        "'name' must be 1 to 128 letters, digits, dots, underscores or hyphens, and not only dots");
  return name;
}

uint32_t WindowOf(const Json& line) {
  auto found = line.find("window");
  if (found == line.end()) return 0;
  if (!found->is_number_integer() || *found < 0 || *found > kWindowMax)
    Refuse("bad_hello", "'window' must be a whole number of changes from 0 (off) to 10000");
  return found->get<uint32_t>();
}

uint64_t NumberOf(const Json& line) {
  auto found = line.find("number");
  if (found == line.end()) return 0;
  if (!found->is_number_unsigned())
    Refuse("bad_hello", "'number' must be that of the first document which is missing");
  return found->get<uint64_t>();
}

std::optional<std::chrono::seconds> HeartbeatOf(const Json& line) {
  auto found = line.find("heartbeat");
  if (found == line.end()) return std::nullopt;
  if (!found->is_number_integer() || *found < 1 || *found > 300) {
    Refuse("bad_hello", "'heartbeat' must be a whole number of seconds from 1 to 300");
  }
  return std::chrono::seconds(found->get<int>());
}

bool ContinueOf(const Json& line) {
  std::string on_gap = Text(line, "on_gap");
  if (on_gap.empty() || on_gap == "fail") return false;
  if (on_gap == "continue") return true;
  Refuse("bad_hello", "'on_gap' must be \"fail\" or \"continue\"");
}

std::vector<std::string> CollectionsOf(const Json& line) {
  auto found = line.find("collections");
  if (found == line.end() || found->is_null()) return {};
  bool right = found->is_array() && found->size() <= kCollectionsMax;
  std::vector<std::string> collections;
  for (const Json& each : right ? *found : Json::array()) {
    right = right && each.is_string();
    if (right) collections.push_back(each.get<std::string>());
    right =
        right && !collections.back().empty() && collections.back().size() <= kCollectionBytesMax;
  }
  if (!right)
    Refuse("bad_hello",
           "'collections' must be a list of at most 256 names, each of 1 to 128 bytes");
  return collections;
}

void SetFrom(const Json& line, Hello& hello) {
  std::string from = Text(line, "from");
  hello.says_from = !from.empty();
  if (from.empty() || from == "latest") return;
  if (from == "earliest") {
    hello.from = From::kEarliest;
    return;
  }
  if (from == "snapshot") {
    hello.from = From::kSnapshot;
    hello.snapshot = Text(line, "snapshot");
    hello.number = NumberOf(line);
    return;
  }
  auto cursor = journal::Cursor::Parse(from);
  if (!cursor)
    Refuse("bad_cursor",
           "'from' must be earliest, latest, snapshot or a cursor that this feed sent");
  hello.from = From::kCursor;
  hello.cursor = *cursor;
}

Hello ToHello(const Json& line) {
  CheckVersion(line);
  Hello hello;
  hello.name = NameOf(line);
  hello.window = WindowOf(line);
  hello.request = Text(line, "request");
  hello.token = Text(line, "token");
  hello.heartbeat = HeartbeatOf(line);
  hello.continue_after_gap = ContinueOf(line);
  hello.collections = CollectionsOf(line);
  SetFrom(line, hello);
  return hello;
}

Command ToAck(const Json& line) {
  auto found = line.find("cursor");
  bool is_text = found != line.end() && found->is_string();
  auto cursor = is_text ? journal::Cursor::Parse(found->get_ref<const std::string&>())
                        : std::optional<journal::Cursor>();
  if (!cursor)
    return Refusal{"bad_ack", "an ack needs the \"cursor\" of a line that this feed sent", false};
  return Ack{*cursor};
}

Json Parse(std::string_view text) {
  bool too_deep = false;
  auto guard = [&](int depth, Json::parse_event_t, Json&) {
    too_deep = too_deep || depth > kDepthMax;
    return !too_deep;
  };
  // The library takes a zero byte for the end of the text.
  bool has_zero = text.find('\0') != text.npos;
  Json line = has_zero ? Json(Json::value_t::discarded) : Json::parse(text, guard, false);
  if (line.is_discarded() || too_deep)
    Refuse("bad_json",
           "this line is no JSON in UTF-8: send one object a line, each ended by a line feed");
  if (!line.is_object()) Refuse("bad_hello", "a line must be a JSON object with a \"type\"");
  return line;
}

Command ToCommand(std::string_view text) {
  Json line = Parse(text);
  std::string type = Text(line, "type");
  if (type == "hello") return ToHello(line);
  if (type == "ping") return Ping{Text(line, "id")};
  if (type == "ack") return ToAck(line);
  if (type.empty()) Refuse("bad_hello", "a line needs a \"type\": send hello, ack or ping");
  return Unknown{};
}

// ---- server lines ----

std::string Line(const Ordered& json) {
  return json.dump(-1, ' ', false, Ordered::error_handler_t::replace) + "\n";
}

}  // namespace

Command ParseCommand(std::string_view line) {
  try {
    return ToCommand(line);
  } catch (const Wrong& wrong) {
    return wrong.refusal;
  }
}

std::string HelloLine(const ServerHello& hello) {
  auto cursor = [&](const journal::Position& position) {
    return journal::Cursor{hello.epoch, position}.ToString();
  };
  Ordered line = {{"type", "hello"}, {"version", kProtocolVersion}};
  if (!hello.request.empty()) line["request"] = hello.request;
  line["server"] = hello.server;
  line["epoch"] = cursor({}).substr(0, 8);
  if (hello.start) line["start"] = cursor(*hello.start);
  line["head"] = cursor(hello.head);
  line["earliest"] = cursor(hello.earliest);
  line["heartbeat"] = hello.heartbeat.count();
  line["max_line_bytes"] = hello.line_bytes_max;
  if (!hello.collections.empty()) line["collections"] = hello.collections;
  line["mode"] = hello.plain ? "plain" : "negotiated";
  return Line(line);
}

std::string LiveLine(const journal::Cursor& cursor) {
  return Line({{"type", "live"}, {"cursor", cursor.ToString()}});
}

std::string HeartbeatLine(const std::optional<journal::Cursor>& delivered,
                          const journal::Cursor& head, int64_t at_microseconds) {
  Ordered line = {{"type", "heartbeat"}};
  if (delivered) line["cursor"] = delivered->ToString();
  line["head"] = head.ToString();
  line["at"] = FormatTime(at_microseconds);
  return Line(line);
}

std::string SnapshotBeginLine(std::string_view snapshot, const journal::Cursor& as_of,
                              const std::vector<std::string>& collections) {
  Ordered line = {{"type", "snapshot_begin"}, {"snapshot", snapshot}, {"as_of", as_of.ToString()}};
  if (!collections.empty()) line["collections"] = collections;
  return Line(line);
}

std::string SnapshotEndLine(std::string_view snapshot, const journal::Cursor& as_of,
                            uint64_t documents) {
  return Line({{"type", "snapshot_end"},
               {"snapshot", snapshot},
               {"cursor", as_of.ToString()},
               {"documents", documents}});
}

std::string GapLine(const journal::Cursor& after, const journal::Cursor& resume,
                    std::string_view reason) {
  return Line({{"type", "gap"},
               {"code", "history_lost"},
               {"after", after.ToString()},
               {"resume", resume.ToString()},
               {"reason", reason}});
}

std::string AckedLine(const journal::Cursor& cursor) {
  return Line({{"type", "acked"}, {"cursor", cursor.ToString()}});
}

std::string PongLine(std::string_view id, const std::optional<journal::Cursor>& delivered) {
  Ordered line = {{"type", "pong"}, {"id", id}};
  if (delivered) line["cursor"] = delivered->ToString();
  return Line(line);
}

std::string ErrorLine(std::string_view code, std::string_view message,
                      const ErrorDetails& details) {
  Ordered line = {{"type", "error"},
                  {"code", code},
                  {"fatal", details.fatal},
                  {"retry", details.retry},
                  {"message", message}};
  if (details.earliest) line["earliest"] = details.earliest->ToString();
  if (details.head) line["head"] = details.head->ToString();
  return Line(line);
}

std::string ByeLine(std::string_view code, const std::optional<journal::Cursor>& delivered,
                    int retry_ms) {
  Ordered line = {{"type", "bye"}, {"code", code}};
  if (delivered) line["cursor"] = delivered->ToString();
  line["retry_ms"] = retry_ms;
  return Line(line);
}

}  // namespace syncflow::feed
