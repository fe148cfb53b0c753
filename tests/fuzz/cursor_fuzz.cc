// Whatever is taken for a cursor is exactly the text that cursor has, and the other way round.
#include "sidecar/journal/cursor.h"

#include <cstring>

#include "tests/fuzz/expect.h"

using namespace syncflow;

namespace {

void ReadAsText(std::string_view text) {
  if (auto cursor = journal::Cursor::Parse(text))
    fuzz::Expect(cursor->ToString() == text, "a cursor has one spelling");
}

void ReadAsNumbers(const uint8_t* data) {
  uint32_t epoch;
  uint64_t lsn, index;
  std::memcpy(&epoch, data, sizeof epoch);
  std::memcpy(&lsn, data + 4, sizeof lsn);
  std::memcpy(&index, data + 12, sizeof index);
  journal::Cursor cursor{journal::Epoch{epoch}, {replication::Lsn(lsn), index}};
  fuzz::Expect(journal::Cursor::Parse(cursor.ToString()) == cursor, "a cursor reads itself");
  std::string line = "{\"type\":\"change\",\"cursor\":\"" + cursor.ToString() + "\",\"x\":1}\n";
  fuzz::Expect(journal::CursorOfLine(line) == cursor, "a line's cursor is found");
}

void ReadAsLine(std::string_view text) {
  auto cursor = journal::CursorOfLine(text);
  if (!cursor) return;
  std::string quoted = '"' + cursor->ToString();
  size_t at = text.find(quoted);
  fuzz::Expect(at != text.npos, "a line's cursor stands in it");
  size_t end = at + quoted.size();
  fuzz::Expect(end == text.size() || text[end] == '"', "a line's cursor ends where its text does");
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  ReadAsText(fuzz::Text(data, size));
  ReadAsLine(fuzz::Text(data, size));
  if (size == 20) ReadAsNumbers(data);
  return 0;
}
