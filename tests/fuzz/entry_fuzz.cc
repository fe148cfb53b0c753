// Entries of the journal's index.
#include "sidecar/journal/entry.h"

#include <cstring>

#include "tests/fuzz/expect.h"

using namespace syncflow;

namespace {

std::string_view Text(const journal::EntryBytes& bytes) {
  return {bytes.data(), bytes.size()};
}

// An entry that is read is exactly the bytes it came from.
void CheckRead(std::string_view bytes) {
  if (auto entry = journal::DecodeEntry(bytes))
    fuzz::Expect(Text(journal::EncodeEntry(*entry)) == bytes, "an entry has one form");
}

// The fuzzer cannot guess a checksum: this one is set, then one bit of what it protects is turned.
void CheckProtected(const uint8_t* data, size_t size) {
  journal::EntryBytes bytes{};
  std::memcpy(bytes.data(), data, std::min(size, journal::kEntrySize - 4));
  bool known = bytes[0] == 'b' || bytes[0] == 'm' || bytes[0] == 's';
  known = known && bytes[1] == 0 && bytes[2] == 0 && bytes[3] == 0;
  uint32_t crc = journal::Crc32c(Text(bytes).substr(0, journal::kEntrySize - 4));
  for (size_t i = 0; i < 4; ++i)
    bytes[journal::kEntrySize - 4 + i] = static_cast<char>(crc >> (8 * i));
  fuzz::Expect(journal::DecodeEntry(Text(bytes)).has_value() == known, "the kind decides");
  CheckRead(Text(bytes));
  size_t bit = crc % (8 * journal::kEntrySize);
  bytes[bit / 8] = static_cast<char>(bytes[bit / 8] ^ (1 << bit % 8));
  fuzz::Expect(!journal::DecodeEntry(Text(bytes)), "a bit that has turned is noticed");
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  CheckRead(fuzz::Text(data, size));
  CheckProtected(data, size);
  return 0;
}
