#include "sidecar/journal/segment.h"

#include <algorithm>
#include <chrono>

#include "sidecar/now.h"

namespace syncflow::journal {

Segment::Segment(const std::filesystem::path& folder, Cursor base, uint64_t start,
                 const SegmentContent& content)
    : base_(base),
      start_(start),
      data_(File::Open(DataPath(folder, base))),
      index_(File::Open(IndexPath(folder, base))),
      bytes_(content.bytes),
      entries_(content.entries),
      oldest_(content.oldest),
      newest_(content.newest) {}

std::filesystem::path Segment::DataPath(const std::filesystem::path& folder, Cursor base) {
  return folder / (base.ToString() + ".ndjson");
}

std::filesystem::path Segment::IndexPath(const std::filesystem::path& folder, Cursor base) {
  return folder / (base.ToString() + ".idx");
}

// The lines first: an index without lines is a removal that was interrupted.
bool Segment::Remove(const std::filesystem::path& folder, Cursor base) {
  std::error_code error;
  std::filesystem::remove(DataPath(folder, base), error);
  if (!error) std::filesystem::remove(IndexPath(folder, base), error);
  SyncFolder(folder);
  return !error;
}

void Segment::Write(std::string_view batch, Entry entry) {
  uint64_t offset = bytes_.load(std::memory_order_relaxed);
  uint64_t number = entries_.load(std::memory_order_relaxed);
  entry.offset = offset;
  entry.length = batch.size();
  entry.data_crc = Crc32c(batch);
  entry.appended_at = MicrosecondsNow();
  if (!batch.empty()) data_.WriteAt(offset, batch);
  EntryBytes bytes = EncodeEntry(entry);
  index_.WriteAt(number * kEntrySize, {bytes.data(), bytes.size()});
  if (offset == 0 && !batch.empty()) oldest_.store(entry.appended_at, std::memory_order_relaxed);
  newest_.store(entry.appended_at, std::memory_order_relaxed);
  // Index first: whoever sees the bytes must find their entry.
  entries_.store(number + 1, std::memory_order_release);
  bytes_.store(offset + batch.size(), std::memory_order_release);
}

void Segment::Sync() {
  data_.Sync();
  index_.Sync();
}

bool Segment::Seal() {
  uint64_t number = entries_.load(std::memory_order_acquire);
  Entry seal = number == 0 ? Entry{} : EntryAt(number - 1);
  seal.kind = EntryKind::kSeal;
  seal.lines = 0;
  seal.first = seal.last;
  seal.offset = bytes();
  seal.length = 0;
  seal.data_crc = Crc32c("");
  EntryBytes bytes = EncodeEntry(seal);
  try {
    index_.WriteAt(number * kEntrySize, {bytes.data(), bytes.size()});
  } catch (const Error& error) {
    if (error.kind() != Error::Kind::kDiskFull) throw;
    return false;
  }
  index_.Sync();
  return true;
}

Entry Segment::EntryAt(uint64_t number) const {
  std::string bytes = index_.ReadAt(number * kEntrySize, kEntrySize);
  auto entry = DecodeEntry(bytes);
  if (!entry) {
    throw Error(Error::Kind::kDamaged,
                "the index of segment " + base_.ToString() +
                    " is damaged: restore the file, or move the journal's content away");
  }
  return *entry;
}

template <typename Predicate>
uint64_t Segment::FirstEntry(Predicate holds) const {
  uint64_t low = 0;
  uint64_t high = entries_.load(std::memory_order_acquire);
  while (low < high) {
    uint64_t middle = low + (high - low) / 2;
    if (holds(EntryAt(middle))) {
      high = middle;
    } else {
      low = middle + 1;
    }
  }
  return low;
}

uint64_t Segment::Find(Position position) const {
  uint64_t end = bytes();
  uint64_t entries = entries_.load(std::memory_order_acquire);
  uint64_t number = FirstEntry([&](const Entry& entry) { return entry.last > position; });
  if (number >= entries) return end;
  Entry entry = EntryAt(number);
  std::string batch = data_.ReadAt(entry.offset, entry.length);
  std::string_view rest = batch;
  while (!rest.empty()) {
    auto cursor = CursorOfLine(rest);
    if (!cursor)
      throw Error(Error::Kind::kDamaged,
                  "segment " + base_.ToString() + " holds a line that is no change");
    if (cursor->position > position) break;
    rest.remove_prefix(rest.find('\n') + 1);
  }
  return entry.end() - rest.size();
}

Slice Segment::Read(const std::shared_ptr<const Segment>& self, uint64_t offset, uint64_t announced,
                    uint64_t max_bytes) const {
  uint64_t limit = offset + std::min(max_bytes, announced - offset);
  uint64_t number = FirstEntry([&](const Entry& entry) { return entry.end() > offset; });
  Entry last = EntryAt(number);
  // The last entry that still fits; entries follow each other without a gap.
  uint64_t beyond = FirstEntry([&](const Entry& entry) { return entry.end() > limit; });
  if (beyond > number + 1) last = EntryAt(beyond - 1);
  return {self, data_.fd(), offset, last.end() - offset, last.last};
}

}  // namespace syncflow::journal
