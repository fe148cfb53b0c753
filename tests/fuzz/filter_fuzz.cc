// Lines as the encoder writes them, and what a filter makes of them, against JSON documents.
//
// The first line of an input names the wanted collections with commas between; each line after it
// is an operation: id, type, collection, document, client and data with tabs between.
#include "sidecar/feed/filter.h"

#include <algorithm>
#include <nlohmann/json.hpp>

#include "sidecar/feed/encode.h"
#include "tests/fuzz/expect.h"

using namespace syncflow;
using Json = nlohmann::json;

namespace {

constexpr journal::Epoch kEpoch{0x9c41e07b};
constexpr uint64_t kBegin = 1000;  // of the stretch in the feed

// Texts of PostgreSQL are UTF-8.
std::string Utf8(std::string_view text) {
  std::string quoted = Json(text).dump(-1, ' ', false, Json::error_handler_t::replace);
  return Json::parse(quoted).get<std::string>();
}

// What is JSON is data as it is; what is not becomes a string. The library takes a zero byte for
// the end of the text.
std::string DataOf(std::string_view text) {
  return text.find('\0') == text.npos && Json::accept(text) ? std::string(text)
                                                            : Json(Utf8(text)).dump();
}

struct Fields {
  std::string id, type, collection, doc_id, client_id, data;

  explicit Fields(std::string_view line) {
    auto pieces = fuzz::Split(line, "\t");
    pieces.resize(std::max<size_t>(pieces.size(), 6));
    std::string* texts[] = {&id, &type, &collection, &doc_id, &client_id};
    for (size_t i = 0; i < std::size(texts); ++i) *texts[i] = Utf8(pieces[i]);
    data = DataOf(pieces[5]);
  }
};

struct Line {
  std::string text;
  bool passes = false;
  journal::Position position;
};

// As the line itself says.
bool Wants(const std::vector<std::string>& wanted, const Json& line) {
  if (wanted.empty() || line["type"] != "change") return true;
  if (line.contains("omitted") && line["omitted"].contains("collection")) return true;
  return std::ranges::find(wanted, line["op"]["collection"].get<std::string>()) != wanted.end();
}

void CheckEncoded(const Fields& fields, const Json& line) {
  auto same = [&](const char* name, const std::string& value) {
    bool omitted = line.contains("omitted") && line["omitted"].contains(name);
    fuzz::Expect(omitted || line["op"][name] == value, "the line holds what was committed");
  };
  same("id", fields.id);
  same("type", fields.type);
  same("collection", fields.collection);
  same("docId", fields.doc_id);
  same("clientId", fields.client_id);
  bool omitted = line.contains("omitted") && line["omitted"].contains("data");
  fuzz::Expect(omitted || line["op"]["data"] == Json::parse(fields.data), "and its data");
}

Line MakeLine(feed::Encoder& encoder, std::string_view text, uint64_t number,
              const std::vector<std::string>& wanted) {
  Fields fields(text);
  replication::Change change;
  change.operation = {fields.id,        fields.type, fields.collection,
                      fields.doc_id,    fields.data, 1,
                      fields.client_id, false,       "{}"};
  change.commit_lsn = replication::Lsn(8 * number + 8);
  change.commit_time = static_cast<int64_t>(number * 1'234'567'890'123);
  change.recovered = number % 3 == 2;
  encoder.Encode(change);
  Line line;
  line.text = encoder.Finish(number % 2 == 0);
  line.position = {change.commit_lsn, 0};
  Json parsed = Json::parse(line.text, nullptr, false);
  fuzz::Expect(parsed.is_object(), "a line is a JSON object");
  fuzz::Expect(line.text.find('\n') == line.text.size() - 1, "a line is one line");
  fuzz::Expect(parsed["cursor"] == journal::Cursor{kEpoch, line.position}.ToString(), "its cursor");
  fuzz::Expect(journal::CursorOfLine(line.text)->position == line.position, "is found again");
  CheckEncoded(fields, parsed);
  line.passes = Wants(wanted, parsed);
  return line;
}

void CheckPage(const feed::Filter& filter, const std::vector<Line>& lines) {
  std::string all, passed;
  for (const Line& line : lines) {
    all += line.text;
    if (line.passes) passed += line.text;
  }
  feed::Page page(filter, kBegin, all);
  fuzz::Expect(page.bytes == passed, "a page holds what passes");
  fuzz::Expect(page.end == kBegin + all.size() && page.last == lines.back().position, "all of it");
  uint64_t offset = kBegin;
  size_t index = 0;
  for (const Line& line : lines) {
    fuzz::Expect(page.LineAt(offset) == index, "a line is found at its offset");
    offset += line.text.size();
    if (!line.passes) continue;
    fuzz::Expect(page.lines[index].offset_end == offset, "and ends where it did");
    fuzz::Expect(page.PositionOf(index) == line.position, "and has its position");
    ++index;
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  auto pieces = fuzz::Split(fuzz::Text(data, size), "\n");
  std::vector<std::string> wanted;
  for (std::string_view one : fuzz::Split(pieces[0], ","))
    if (!one.empty()) wanted.push_back(Utf8(one));
  feed::Filter filter(wanted);
  feed::Encoder encoder(kEpoch, size % 3 == 0 ? 300 : 1 << 20);
  std::vector<Line> lines;
  for (size_t i = 1; i < pieces.size(); ++i) {
    lines.push_back(MakeLine(encoder, pieces[i], i, wanted));
    bool passes = filter.Passes(lines.back().text);
    fuzz::Expect(passes == lines.back().passes, "a filter passes what is wanted, and no more");
  }
  if (!lines.empty()) CheckPage(filter, lines);
  return 0;
}
