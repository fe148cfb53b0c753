#include "sidecar/journal/recovery.h"

#include <algorithm>
#include <map>
#include <utility>

namespace syncflow::journal {
namespace {

namespace fs = std::filesystem;

struct Pair {
  bool lines = false;  // the .ndjson is there
  bool index = false;  // the .idx is there
  bool whole() const { return lines && index; }
};

std::map<Cursor, Pair> ListPairs(const fs::path& folder, Epoch epoch) {
  std::map<Cursor, Pair> pairs;
  for (const fs::directory_entry& file : fs::directory_iterator(folder)) {
    fs::path extension = file.path().extension();
    if (extension != ".ndjson" && extension != ".idx") continue;
    auto base = Cursor::Parse(file.path().stem().string());
    if (!base || base->epoch != epoch) {
      throw Error(Error::Kind::kForeign,
                  file.path().string() + " belongs to another history: move it away");
    }
    (extension == ".idx" ? pairs[*base].index : pairs[*base].lines) = true;
  }
  return pairs;
}

[[noreturn]] void Damaged(const std::string& what) {
  throw Error(Error::Kind::kDamaged,
              what +
                  ": restore it from a backup, or move the journal's content away to begin a "
                  "new history");
}

constexpr uint64_t kPieceBytes = 1 << 20;

// What one pair of files holds.
struct Examined {
  SegmentContent content;
  replication::Lsn safe;
  bool sealed = false;
  uint64_t data_bytes = 0;   // as found
  uint64_t index_bytes = 0;  // as found
};

class Examiner {
 public:
  Examiner(const fs::path& folder, Cursor base)
      : base_(base),
        data_(File::Open(Segment::DataPath(folder, base))),
        index_(File::Open(Segment::IndexPath(folder, base))) {
    found_.content.last = base.position;
    found_.data_bytes = data_.Size();
    found_.index_bytes = index_.Size();
  }

  Examined Examine() {
    std::string entries = index_.ReadAt(0, found_.index_bytes);
    bool trusted = EndsWithSeal(entries);
    std::string_view rest = entries;
    while (rest.size() >= kEntrySize && Take(rest.substr(0, kEntrySize), trusted))
      rest.remove_prefix(kEntrySize);
    bool whole = found_.sealed && rest.empty() && found_.content.bytes == found_.data_bytes;
    if (trusted && !whole)
      Damaged("segment " + base_.ToString() + " was complete and is not any more");
    return found_;
  }

  // Cuts what is not good, and the seal; makes the rest durable.
  uint64_t Cut() {
    uint64_t cut = found_.data_bytes - std::min(found_.data_bytes, found_.content.bytes);
    data_.Truncate(found_.content.bytes);
    index_.Truncate(found_.content.entries * kEntrySize);
    WriteAgain(data_, found_.content.bytes);
    WriteAgain(index_, found_.content.entries * kEntrySize);
    data_.Sync();
    index_.Sync();
    return cut;
  }

 private:
  // After a failed fdatasync the kernel holds pages that are not on disk but count as clean: they
  // read well, and another fdatasync would write nothing. Written again, they are synced.
  static void WriteAgain(File& file, uint64_t bytes) {
    for (uint64_t at = 0; at < bytes; at += kPieceBytes)
      file.WriteAt(at, file.ReadAt(at, std::min(kPieceBytes, bytes - at)));
  }

  static bool EndsWithSeal(std::string_view entries) {
    if (entries.empty() || entries.size() % kEntrySize != 0) return false;
    auto last = DecodeEntry(entries.substr(entries.size() - kEntrySize));
    return last && last->kind == EntryKind::kSeal;
  }

  // False when the entry does not follow what is before it, or its batch is not what was written.
  bool Take(std::string_view bytes, bool trusted) {
    auto entry = DecodeEntry(bytes);
    if (!entry || found_.sealed || entry->offset != found_.content.bytes) return false;
    if (entry->kind == EntryKind::kBatch && !TakeBatch(*entry, trusted)) return false;
    found_.sealed = entry->kind == EntryKind::kSeal;
    found_.safe = std::max(found_.safe, entry->safe);
    found_.content.newest = entry->appended_at;
    // The seal is not counted: readers look at batches and marks, and a writer would continue after
    // them.
    if (!found_.sealed) ++found_.content.entries;
    return true;
  }

  bool TakeBatch(const Entry& entry, bool trusted) {
    if (entry.first <= found_.content.last || entry.last < entry.first) return false;
    if (entry.end() > found_.data_bytes) return false;
    if (!trusted && Crc32c(data_.ReadAt(entry.offset, entry.length)) != entry.data_crc)
      return false;
    if (found_.content.oldest == 0) found_.content.oldest = entry.appended_at;
    found_.content.bytes = entry.end();
    found_.content.last = entry.last;
    return true;
  }

  Cursor base_;
  File data_;
  File index_;
  Examined found_;
};

uint64_t SizeOf(const fs::path& path) {
  std::error_code ignored;
  auto size = fs::file_size(path, ignored);
  return ignored ? 0 : size;
}

// Takes the segments in order.
class Recovery {
 public:
  explicit Recovery(const fs::path& folder) : folder_(folder) {}

  void Take(Cursor base, const Pair& pair, bool is_last) {
    bool first = out_.segments.empty();
    if (first && !pair.lines && !is_last) return Remove(base);
    bool follows = (first || base.position == out_.last) && (pair.whole() || is_last);
    if (!follows && (first || sealed_)) {
      Damaged("the journal is missing a file " + std::string(first ? "of" : "before") +
              " segment " + base.ToString());
    }
    broken_ = broken_ || !follows;
    broken_ ? Drop(base) : Keep(base, is_last);
  }

  Recovered Finish() && { return std::move(out_); }

 private:
  void Keep(Cursor base, bool is_last) {
    Examiner examiner(folder_, base);
    Examined found = examiner.Examine();
    // The last one will be written on, so it loses its seal.
    if (!found.sealed || is_last) out_.cut_bytes += examiner.Cut();
    if (!out_.segments.empty() && !sealed_) out_.unsealed.push_back(out_.segments.back());
    uint64_t start = out_.segments.empty() ? 0 : out_.segments.back()->end();
    out_.segments.push_back(std::make_shared<Segment>(folder_, base, start, found.content));
    out_.last = found.content.last;
    out_.safe = std::max(out_.safe, found.safe);
    sealed_ = found.sealed;
  }

  void Drop(Cursor base) {
    out_.cut_bytes += SizeOf(Segment::DataPath(folder_, base));
    Remove(base);
  }

  void Remove(Cursor base) {
    if (!Segment::Remove(folder_, base)) {
      throw Error(Error::Kind::kUnusable, "cannot remove segment " + base.ToString() + " from " +
                                              folder_.string() +
                                              ": let the sidecar's user write to the folder");
    }
  }

  const fs::path& folder_;
  Recovered out_;
  bool sealed_ = false;  // the last of out_.segments
  bool broken_ = false;  // nothing after it can be kept
};

}  // namespace

Recovered Recover(const fs::path& folder, Epoch epoch) {
  Recovery recovery(folder);
  auto pairs = ListPairs(folder, epoch);
  for (const auto& [base, pair] : pairs) recovery.Take(base, pair, base == pairs.rbegin()->first);
  SyncFolder(folder);
  return std::move(recovery).Finish();
}

}  // namespace syncflow::journal
