#include "sidecar/journal/entry.h"

#include <isa-l/crc.h>

#include <algorithm>
#include <limits>

namespace syncflow::journal {
namespace {

constexpr size_t kChecked = kEntrySize - 4;

// One after another, lowest byte first.
class Writer {
 public:
  explicit Writer(EntryBytes& bytes) : at_(bytes.data()) {}
  void Put32(uint32_t value) { Put(value, 4); }
  void Put64(uint64_t value) { Put(value, 8); }
  void Put(const Position& position) {
    Put64(position.commit_lsn.bytes());
    Put64(position.index);
  }

 private:
  void Put(uint64_t value, int size) {
    for (int i = 0; i < size; ++i) *at_++ = static_cast<char>(value >> (8 * i));
  }
  char* at_;
};

class Reader {
 public:
  explicit Reader(std::string_view bytes) : at_(bytes.data()) {}
  uint32_t Get32() { return static_cast<uint32_t>(Get(4)); }
  uint64_t Get64() { return Get(8); }
  Position GetPosition() {
    replication::Lsn lsn(Get64());
    return {lsn, Get64()};
  }

 private:
  uint64_t Get(int size) {
    uint64_t value = 0;
    for (int i = 0; i < size; ++i)
      value |= static_cast<uint64_t>(static_cast<unsigned char>(*at_++)) << (8 * i);
    return value;
  }
  const char* at_;
};

bool IsKnown(EntryKind kind) {
  return kind == EntryKind::kBatch || kind == EntryKind::kMark || kind == EntryKind::kSeal;
}

}  // namespace

// isa-l's "iscsi" polynomial is CRC32C; it leaves the inversion at both ends to the caller and
// counts in int.
uint32_t Crc32c(std::string_view bytes) {
  uint32_t crc = ~0u;
  while (!bytes.empty()) {
    size_t piece = std::min<size_t>(bytes.size(), 1u << 30);
    auto* data = reinterpret_cast<unsigned char*>(const_cast<char*>(bytes.data()));
    crc = crc32_iscsi(data, static_cast<int>(piece), crc);
    bytes.remove_prefix(piece);
  }
  return ~crc;
}

EntryBytes EncodeEntry(const Entry& entry) {
  EntryBytes bytes{};
  Writer writer(bytes);
  writer.Put32(static_cast<uint32_t>(entry.kind));
  writer.Put32(entry.lines);
  writer.Put64(entry.offset);
  writer.Put64(entry.length);
  writer.Put(entry.first);
  writer.Put(entry.last);
  writer.Put64(entry.safe.bytes());
  writer.Put64(static_cast<uint64_t>(entry.appended_at));
  writer.Put32(entry.data_crc);
  writer.Put32(Crc32c({bytes.data(), kChecked}));
  return bytes;
}

std::optional<Entry> DecodeEntry(std::string_view bytes) {
  if (bytes.size() != kEntrySize) return std::nullopt;
  Reader reader(bytes);
  Entry entry;
  entry.kind = static_cast<EntryKind>(reader.Get32());
  entry.lines = reader.Get32();
  entry.offset = reader.Get64();
  entry.length = reader.Get64();
  entry.first = reader.GetPosition();
  entry.last = reader.GetPosition();
  entry.safe = replication::Lsn(reader.Get64());
  entry.appended_at = static_cast<int64_t>(reader.Get64());
  entry.data_crc = reader.Get32();
  if (reader.Get32() != Crc32c(bytes.substr(0, kChecked)) || !IsKnown(entry.kind))
    return std::nullopt;
  return entry;
}

}  // namespace syncflow::journal
