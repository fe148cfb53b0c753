// The index file: one entry of 80 bytes for every write to a segment, little-endian.
//
//    0  kind               4   'b' batch of lines, 'm' mark (a position without lines), 's' seal
//    (the segment is complete
//                              and durable; nothing follows)
//    4  lines              4
//    8  offset             8   of the batch in the .ndjson file
//   16  length             8
//   24  first commit LSN   8   \ position of the first line; for marks and seals that of the
//   32  first index        8   / last line before
//   40  last commit LSN    8   \ of the last line
//   48  last index         8   /
//   56  safe LSN           8   PostgreSQL may forget up to here once this entry is durable
//   64  appended at        8   microseconds since 1970
//   72  data checksum      4   CRC32C of the batch
//   76  entry checksum     4   CRC32C of the 76 bytes before
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string_view>

#include "replication/lsn.h"
#include "sidecar/journal/cursor.h"

namespace syncflow::journal {

inline constexpr size_t kEntrySize = 80;
using EntryBytes = std::array<char, kEntrySize>;

enum class EntryKind : uint32_t { kBatch = 'b', kMark = 'm', kSeal = 's' };

struct Entry {
  EntryKind kind = EntryKind::kBatch;
  uint32_t lines = 0;
  uint64_t offset = 0;
  uint64_t length = 0;
  Position first;
  Position last;
  replication::Lsn safe;
  int64_t appended_at = 0;
  uint32_t data_crc = 0;

  uint64_t end() const { return offset + length; }
};

uint32_t Crc32c(std::string_view bytes);

EntryBytes EncodeEntry(const Entry& entry);
// nullopt when the checksum or the kind is wrong.
std::optional<Entry> DecodeEntry(std::string_view bytes);

}  // namespace syncflow::journal
