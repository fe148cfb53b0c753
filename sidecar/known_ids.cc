#include "sidecar/known_ids.h"

#include <malloc.h>
#include <xxhash.h>

#include <algorithm>
#include <charconv>
#include <string>

#include "adapter/operation.h"

namespace syncflow {
namespace {

constexpr uint64_t kPieceBytes = 1 << 20;

std::pair<uint64_t, uint64_t> HashOf(std::string_view quoted_id) {
  XXH128_hash_t hash = XXH3_128bits(quoted_id.data(), quoted_id.size());
  return {hash.high64, hash.low64};
}

// What follows the first `key`; lines are written by us, so the first one is the line's own.
std::string_view After(std::string_view line, std::string_view key) {
  size_t at = line.find(key);
  return at == line.npos ? std::string_view() : line.substr(at + key.size());
}

// A JSON string from its opening to its closing quote.
std::string_view QuotedText(std::string_view text) {
  size_t at = text.find_first_of("\"\\", 1);
  while (at != text.npos && text[at] == '\\') at = text.find_first_of("\"\\", at + 2);
  return text.substr(0, at == text.npos ? at : at + 1);
}

}  // namespace

KnownIds::KnownIds(const journal::Journal& journal, const std::function<void()>& beat) {
  uint64_t offset = journal.earliest().offset;
  for (;;) {
    beat();
    auto lines = journal::CopyLines(journal, offset, kPieceBytes);
    if (!lines) {
      offset = journal.earliest().offset;  // retention was faster
      continue;
    }
    if (lines->empty()) break;
    offset += lines->size();
    std::string_view rest = *lines;
    for (size_t end; (end = rest.find('\n')) != rest.npos; rest.remove_prefix(end + 1))
      Add(rest.substr(0, end));
  }
  std::sort(hashes_.begin(), hashes_.end());
}

// In many small pieces, which the allocator would keep for ever.
KnownIds::~KnownIds() {
  hashes_ = {};
  malloc_trim(0);
}

bool KnownIds::Contains(std::string_view id) const {
  std::string quoted;
  adapter::AppendJsonString(quoted, id);
  return std::binary_search(hashes_.begin(), hashes_.end(), HashOf(quoted));
}

void KnownIds::Add(std::string_view line) {
  std::string_view id = After(line, "\"op\":{\"id\":");
  if (id.empty()) return;  // a gap
  id = QuotedText(id);
  if (hashes_.empty()) NoteOldest(line, id);
  hashes_.push_back(HashOf(id));
}

void KnownIds::NoteOldest(std::string_view line, std::string_view quoted_id) {
  std::string_view xid = After(line, "\"xid\":");
  std::from_chars(xid.data(), xid.data() + xid.size(), oldest_.xid);
  line = line.substr(0, line.find("\"op\":"));
  if (After(line, "\"recovered\":true").empty()) return;
  std::string_view received_at = After(line, "\"committed_at\":\"");
  oldest_.recovered = received_at.substr(0, received_at.find('"'));
  oldest_.id = quoted_id;
}

}  // namespace syncflow
