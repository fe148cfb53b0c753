// What the client hears, against a JSON document of the same line; what it says, as the feed
// understands it.
//
// The first line of an input is heard. Those behind it are of a hello: request, token, name, from,
// snapshot, and the collections with commas between.
#include <nlohmann/json.hpp>

#include "sidecar/client/lines.h"
#include "sidecar/feed/protocol.h"
#include "tests/fuzz/expect.h"
#include "tests/fuzz/json.h"

using namespace syncflow;
using Json = nlohmann::json;

namespace {

// A document whose keys stand once and whose texts are written as they are; else discarded.
Json ParsePlain(std::string_view text) {
  if (text.find_first_of(std::string_view("\\\0", 2)) != text.npos) return Json::value_t::discarded;
  return fuzz::ParseWithKeysOnce(text);
}

void CheckAck(std::string_view cursor) {
  std::string said = client::AckLine(cursor);
  fuzz::Expect(said.find('\n') == said.size() - 1, "an ack is one line");
  feed::Command heard = feed::ParseCommand(said);
  auto* ack = std::get_if<feed::Ack>(&heard);
  fuzz::Expect((ack != nullptr) == journal::Cursor::Parse(cursor).has_value(),
               "an ack is understood when it names a cursor");
  if (ack == nullptr) return;
  fuzz::Expect(ack->cursor.ToString() == cursor, "and names the one that was heard");
}

void CheckHeard(std::string_view text) {
  auto cursor = client::CursorOfChange(text);
  auto head = client::HeadOfDocument(text);
  fuzz::Expect(!cursor || !head, "a line is of one kind");
  if (cursor) CheckAck(*cursor);
  Json line = ParsePlain(text);
  if (!line.is_object()) return;
  if (cursor)
    fuzz::Expect(client::Text(line, "type") == "change" && client::Text(line, "cursor") == *cursor,
                 "a change's cursor is read as it stands");
  if (head && line["number"].is_number_integer())
    fuzz::Expect(client::Text(line, "type") == "document" &&
                     client::Text(line, "snapshot") == head->snapshot &&
                     line["number"] == head->number,
                 "a document's head is read as it stands");
}

bool IsUtf8(std::string_view text) {
  try {
    Json(text).dump();
    return true;
  } catch (const Json::type_error&) {
    return false;
  }
}

void CheckHello(const std::vector<std::string_view>& words) {
  client::Options options;
  auto word = [&](size_t at) { return at < words.size() ? words[at] : std::string_view(); };
  options.name = word(3);
  client::Place place{std::string(word(4)), std::string(word(5)), words.size()};
  for (std::string_view one : fuzz::Split(word(6), ","))
    if (!one.empty()) options.collections.emplace_back(one);
  std::string said = client::HelloLine(options, word(1), word(2), place);
  fuzz::Expect(said.find('\n') == said.size() - 1, "a hello is one line");
  feed::Command heard = feed::ParseCommand(said);
  auto* refusal = std::get_if<feed::Refusal>(&heard);
  fuzz::Expect(refusal == nullptr || refusal->code != "bad_json", "a hello is JSON");
  auto* hello = std::get_if<feed::Hello>(&heard);
  for (std::string_view one : words)
    if (!IsUtf8(one)) return;  // what is no text is said in other letters
  if (hello == nullptr) return;
  fuzz::Expect(hello->request == word(1) && hello->token == word(2) && hello->name == word(3),
               "the feed hears what was said");
  bool snapshot = place.from == "snapshot";
  fuzz::Expect((hello->from == feed::From::kSnapshot) == snapshot, "and where to begin");
  fuzz::Expect(hello->snapshot == (snapshot ? place.snapshot : ""), "in which snapshot");
  fuzz::Expect(hello->number == (snapshot && !place.snapshot.empty() ? place.number : 0), "where");
  if (hello->from == feed::From::kCursor)
    fuzz::Expect(hello->cursor.ToString() == place.from, "or behind which cursor");
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  auto pieces = fuzz::Split(fuzz::Text(data, size), "\n");
  CheckHeard(pieces[0]);
  CheckHello(pieces);
  return 0;
}
