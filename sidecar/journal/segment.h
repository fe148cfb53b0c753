// One pair of files: lines (.ndjson) and their index (.idx). The ingest thread writes; any thread
// reads what has been announced. Both files stay open while the segment is held, so removing their
// names disturbs no reader.
#pragma once

#include <atomic>
#include <filesystem>
#include <memory>
#include <optional>

#include "sidecar/journal/cursor.h"
#include "sidecar/journal/entry.h"
#include "sidecar/journal/file.h"
#include "sidecar/journal/journal.h"

namespace syncflow::journal {

// What recovery found to be good.
struct SegmentContent {
  uint64_t bytes = 0;
  uint64_t entries = 0;
  Position last;  // base when there are no lines
  // Microseconds since 1970; 0 when there are none.
  int64_t oldest = 0;  // when the first lines were written
  int64_t newest = 0;  // when the last entry was written
};

class Segment {
 public:
  // `base`: its lines come after it. `start`: offset of its first byte in the journal's stream.
  Segment(const std::filesystem::path& folder, Cursor base, uint64_t start,
          const SegmentContent& content);

  static std::filesystem::path DataPath(const std::filesystem::path& folder, Cursor base);
  static std::filesystem::path IndexPath(const std::filesystem::path& folder, Cursor base);
  // Removes both names, durably: otherwise a power cut could bring an older segment back and not
  // its successor. False when the folder does not let it.
  static bool Remove(const std::filesystem::path& folder, Cursor base);

  // ---- ingest thread ----

  // Writes the batch and its entry; offset, length, checksum and time are filled in. Not announced
  // yet. When it throws, the same call may be repeated.
  void Write(std::string_view batch, Entry entry);

  // ---- sync thread ----

  void Sync();
  // Declares the segment complete. Only after the last Write, and after Sync. False when the disk
  // is full: try again later, a segment without a seal is only slower to open.
  bool Seal();

  // ---- any thread ----

  Position base() const { return base_.position; }
  Cursor base_cursor() const { return base_; }
  uint64_t start() const { return start_; }
  uint64_t end() const { return start_ + bytes(); }
  uint64_t bytes() const { return bytes_.load(std::memory_order_acquire); }
  uint64_t size_on_disk() const {
    return bytes() + entries_.load(std::memory_order_acquire) * kEntrySize;
  }
  int64_t oldest() const { return oldest_.load(std::memory_order_relaxed); }
  int64_t newest() const { return newest_.load(std::memory_order_relaxed); }

  // Offset in the file of the first line after `position`; the end when there is none.
  uint64_t Find(Position position) const;
  // Whole batches from `offset` to at most `announced` (both in the file): at least one, at most
  // `max_bytes` otherwise.
  Slice Read(const std::shared_ptr<const Segment>& self, uint64_t offset, uint64_t announced,
             uint64_t max_bytes) const;

 private:
  Entry EntryAt(uint64_t number) const;
  // The first entry for which `holds`, of those announced; their count when there is none.
  template <typename Predicate>
  uint64_t FirstEntry(Predicate holds) const;

  Cursor base_;
  uint64_t start_;
  File data_;
  File index_;
  std::atomic<uint64_t> bytes_;
  std::atomic<uint64_t> entries_;
  std::atomic<int64_t> oldest_;
  std::atomic<int64_t> newest_;
};

}  // namespace syncflow::journal
