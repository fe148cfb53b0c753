// What clients send, against a JSON document of the same line.
#include <algorithm>
#include <nlohmann/json.hpp>
#include <set>

#include "sidecar/feed/protocol.h"
#include "tests/fuzz/expect.h"

using namespace syncflow;
using Json = nlohmann::json;

namespace {

constexpr int kDepthMax = 16;  // objects and lists inside each other; a seventeenth must be empty

int DepthOf(const Json& value) {
  if (!value.is_structured()) return 0;
  int deepest = 0;
  for (const Json& each : value) deepest = std::max(deepest, DepthOf(each));
  return deepest + 1;
}

void CheckRefusal(const feed::Refusal& refusal, const Json& line) {
  static const std::set<std::string> kCodes = {"bad_json", "bad_hello", "bad_cursor", "bad_ack",
                                               "unsupported_version"};
  fuzz::Expect(kCodes.contains(refusal.code), "a refusal has a code of the protocol");
  fuzz::Expect(refusal.fatal == (refusal.code != "bad_ack"), "only an ack is forgiven");
  fuzz::Expect(refusal.message.size() > 20, "a refusal is a sentence");
  bool readable = !line.is_discarded() && DepthOf(line) <= kDepthMax;
  fuzz::Expect(!(readable && refusal.code == "bad_json"), "what is JSON is not called bad_json");
}

// Says the same as the line that became `hello`.
Json Rebuilt(const feed::Hello& hello) {
  Json line = {{"type", "hello"}, {"version", 1}};
  if (!hello.request.empty()) line["request"] = hello.request;
  if (!hello.token.empty()) line["token"] = hello.token;
  if (!hello.name.empty()) line["name"] = hello.name;
  if (hello.heartbeat) line["heartbeat"] = hello.heartbeat->count();
  if (hello.continue_after_gap) line["on_gap"] = "continue";
  if (!hello.collections.empty()) line["collections"] = hello.collections;
  if (hello.window > 0) line["window"] = hello.window;
  if (hello.from == feed::From::kEarliest) line["from"] = "earliest";
  if (hello.from == feed::From::kCursor) line["from"] = hello.cursor.ToString();
  if (hello.from == feed::From::kLatest && hello.says_from) line["from"] = "latest";
  if (hello.from == feed::From::kSnapshot)
    line.update({{"from", "snapshot"}, {"snapshot", hello.snapshot}, {"number", hello.number}});
  return line;
}

bool AreSame(const feed::Hello& a, const feed::Hello& b) {
  return a.request == b.request && a.token == b.token && a.name == b.name && a.from == b.from &&
         a.says_from == b.says_from && a.cursor == b.cursor && a.snapshot == b.snapshot &&
         a.number == b.number && a.heartbeat == b.heartbeat &&
         a.continue_after_gap == b.continue_after_gap && a.collections == b.collections &&
         a.window == b.window;
}

void CheckHello(const feed::Hello& hello, const Json& line) {
  auto again = feed::ParseCommand(Rebuilt(hello).dump());
  auto* same = std::get_if<feed::Hello>(&again);
  fuzz::Expect(same != nullptr && AreSame(*same, hello), "a hello that is said again is the same");
  fuzz::Expect(line.value("request", "") == hello.request, "the request is echoed as it was");
  if (hello.from == feed::From::kCursor)
    fuzz::Expect(line["from"] == hello.cursor.ToString(), "from is the cursor that was said");
  fuzz::Expect(hello.name.size() <= feed::kNameMax, "names are short");
  fuzz::Expect(hello.window <= feed::kWindowMax, "windows are small");
  fuzz::Expect(hello.collections.size() <= feed::kCollectionsMax, "collections are few");
  for (const std::string& one : hello.collections)
    fuzz::Expect(!one.empty() && one.size() <= feed::kCollectionBytesMax, "and have short names");
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  std::string_view text = fuzz::Text(data, size);
  // The library takes a zero byte for the end of the text.
  bool has_zero = text.find('\0') != text.npos;
  Json line = has_zero ? Json(Json::value_t::discarded) : Json::parse(text, nullptr, false);
  feed::Command command = feed::ParseCommand(text);
  if (auto* refusal = std::get_if<feed::Refusal>(&command)) {
    CheckRefusal(*refusal, line);
    return 0;
  }
  fuzz::Expect(line.is_object() && DepthOf(line) <= kDepthMax + 1,
               "what is understood is an object");
  if (auto* hello = std::get_if<feed::Hello>(&command)) CheckHello(*hello, line);
  if (auto* ack = std::get_if<feed::Ack>(&command))
    fuzz::Expect(line["cursor"] == ack->cursor.ToString(), "an ack is for the cursor it names");
  if (auto* ping = std::get_if<feed::Ping>(&command))
    fuzz::Expect(line.value("id", "") == ping->id, "a ping keeps its id");
  return 0;
}
