#include "sidecar/journal/recovery.h"

#include <algorithm>
#include <vector>

namespace syncflow::journal {
namespace {

namespace fs = std::filesystem;

// Bases of all segments in the folder, in order. A file without its partner is a segment that was
// being created or removed.
std::vector<Cursor> ListSegments(const fs::path& folder, Epoch epoch) {
  std::vector<Cursor> bases;
  for (const fs::directory_entry& file : fs::directory_iterator(folder)) {
    if (file.path().extension() != ".ndjson" && file.path().extension() != ".idx") continue;
    auto base = Cursor::Parse(file.path().stem().string());
    if (!base || base->epoch != epoch) {
      throw Error(Error::Kind::kForeign,
                  file.path().string() + " belongs to another history: move it away");
    }
    bases.push_back(*base);
  }
  std::sort(bases.begin(), bases.end());
  bases.erase(std::unique(bases.begin(), bases.end()), bases.end());
  return bases;
}

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
    if (trusted && !whole) {
      throw Error(Error::Kind::kDamaged,
                  "segment " + base_.ToString() +
                      " was complete and is not any more: restore it from a backup, or move the "
                      "journal's content away to begin a new history");
    }
    return found_;
  }

  // Cuts what is not good and makes the rest durable.
  uint64_t Cut() {
    uint64_t cut = found_.data_bytes - std::min(found_.data_bytes, found_.content.bytes);
    data_.Truncate(found_.content.bytes);
    index_.Truncate(found_.content.entries * kEntrySize);
    data_.Sync();
    index_.Sync();
    return cut;
  }

 private:
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
    found_.content.bytes = entry.end();
    found_.content.last = entry.last;
    return true;
  }

  Cursor base_;
  File data_;
  File index_;
  Examined found_;
};

void Remove(const fs::path& folder, Cursor base) {
  fs::remove(Segment::DataPath(folder, base));
  fs::remove(Segment::IndexPath(folder, base));
}

uint64_t SizeOf(const fs::path& path) {
  std::error_code ignored;
  auto size = fs::file_size(path, ignored);
  return ignored ? 0 : size;
}

}  // namespace

Recovered Recover(const fs::path& folder, Epoch epoch) {
  Recovered out;
  bool broken = false;
  for (Cursor base : ListSegments(folder, epoch)) {
    broken = broken || (!out.segments.empty() && base.position != out.last);
    if (broken) {
      out.cut_bytes += SizeOf(Segment::DataPath(folder, base));
      Remove(folder, base);
      continue;
    }
    Examiner examiner(folder, base);
    Examined found = examiner.Examine();
    if (!found.sealed) out.cut_bytes += examiner.Cut();
    uint64_t start = out.segments.empty() ? 0 : out.segments.back()->end();
    out.segments.push_back(std::make_shared<Segment>(folder, base, start, found.content));
    out.last = found.content.last;
    out.safe = std::max(out.safe, found.safe);
  }
  SyncFolder(folder);
  return out;
}

}  // namespace syncflow::journal
