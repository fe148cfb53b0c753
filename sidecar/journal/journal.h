// The journal: finished feed lines in commit order, in memory (the tail) and in segment files, as
// ONE stream of bytes. A reader's whole state is an offset into that stream: View() answers it from
// memory, Slice() from a segment file; the bytes are the same, so there is nothing to merge when a
// reader moves from one to the other.
//
// On disk, in Options::directory:
//   meta.json               identity of the history (see Identity), epoch, format version
//   <base cursor>.ndjson    lines after the base cursor, up to the next segment's base
//   <base cursor>.idx       one fixed-size entry per written batch, see entry.h
//   consumers.json          how far named consumers are, see consumers.h
//   history_lost.json       only after MarkLost, until LossTold
//   set-aside-<epoch>/      the history that MarkLost ended, for people; only the newest is kept
//   skip.json               what an operator wants left out, see skip.h
//   lock                    flock'ed while the journal is open
//
// Threads: one ingest thread calls Bind, Append and Flush; any thread calls the readers; the
// journal's own sync thread makes bytes durable. No lock is held across I/O on the readers' side.
//
// Offsets are valid within one process: they are counted anew at every open.
#pragma once

#include <chrono>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <variant>

#include "replication/lsn.h"
#include "sidecar/journal/consumers.h"
#include "sidecar/journal/cursor.h"
#include "sidecar/journal/error.h"
#include "sidecar/journal/probe.h"

namespace syncflow::journal {

struct Options {
  std::filesystem::path directory;
  // A segment is closed at this size, or when it is an hour old and not empty.
  uint64_t segment_bytes = 64ull << 20;
  // The oldest segments go when the journal is larger or older than this. The last segment always
  // stays.
  uint64_t retain_bytes = 4ull << 30;
  std::chrono::seconds retain_age = std::chrono::hours(24 * 7);
  // Segments that a named consumer has not acknowledged stay nevertheless, while the journal is no
  // larger than this and the consumer was connected within this time.
  uint64_t pin_bytes = 16ull << 30;
  std::chrono::seconds pin_age = std::chrono::hours(24 * 30);
  // Memory for the newest lines; readers that are further back read segment files.
  uint64_t tail_bytes = 8ull << 20;
  // fdatasync at the latest after this much time or this many bytes.
  std::chrono::milliseconds sync_interval{200};
  uint64_t sync_bytes = 4ull << 20;
  // Network, FUSE and overlay file systems are refused: their locks and syncs may not mean what
  // they say.
  bool allow_any_filesystem = false;
};

// What makes a history one history. Stored in meta.json; the epoch is derived from all but timeline
// and slot.
struct Identity {
  std::string system_identifier;  // of IDENTIFY_SYSTEM
  uint32_t timeline = 0;
  std::string database;
  std::string table;  // schema-qualified
  std::string slot;
};

// The newest announced byte, and the position of the line that ends there.
struct Head {
  uint64_t offset = 0;
  Position position;
};

// The oldest byte still held. Every change after `base` is here.
struct Earliest {
  uint64_t offset = 0;
  Position base;
};

// Bytes of whole lines in memory. `keep_alive` holds the memory; `bytes` is valid as long as it is.
struct View {
  std::shared_ptr<const void> keep_alive;
  std::string_view bytes;
};

// Bytes of whole lines in a segment file; the file stays readable as long as the slice lives, even
// when retention removes its name.
struct Slice {
  std::shared_ptr<const void> keep_alive;
  int fd = -1;
  uint64_t file_offset = 0;
  uint64_t length = 0;
  Position last;  // of the last line in the slice
};

enum class Miss {
  kLost,   // older than Earliest: retention has removed it
  kAhead,  // beyond Head
};

class Journal {
 public:
  // Opens or creates the folder, takes the lock, cuts a torn end off. Throws Error (see error.h)
  // when the folder cannot be used: not writable, held by another process, damaged beyond its last
  // segment.
  explicit Journal(Options options);
  // Syncs what was flushed, ends the sync thread, releases the lock.
  ~Journal();
  Journal(const Journal&) = delete;
  Journal& operator=(const Journal&) = delete;

  const std::filesystem::path& directory() const;

  // ---- identity ----

  // The stored identity; nullopt for a journal that was never bound.
  std::optional<Identity> identity() const;
  // Binds an unbound journal to a history that starts at `start` (changes committed at or after it
  // belong to it); durable on return. For a bound one: throws Error{kForeign} naming what differs.
  // Returns the epoch. `loss`: what the new history cannot know; lost() gives it. Ingest thread.
  Epoch Bind(const Identity& identity, replication::Lsn start, const std::string& loss = "");
  // The history goes on, on another timeline of the same cluster; durable on return. Ingest thread.
  void FollowTimeline(uint32_t timeline);
  // What the streamed table was like when the history was last known to be whole; opaque, "" until
  // noted; durable on return. Ingest thread.
  void NoteTable(const std::string& version);
  std::string table_version() const;
  // nullopt until bound. Readers have nothing to read before that.
  std::optional<Epoch> epoch() const;
  // Notes durably that PostgreSQL's history is no longer this journal's. The next opening sets what
  // is held aside; the history that begins then has another epoch, and lost() gives the sentence
  // until LossTold. Ingest thread.
  void MarkLost(const std::string& sentence);
  std::optional<std::string> lost() const;
  void LossTold();

  // ---- ingest thread ----

  // Position of the last line appended (flushed or not); base position when empty. Changes at or
  // before it are repetitions.
  Position appended() const;
  // Adds one finished line (with its '\n') to the batch in memory; nobody sees it before Flush.
  // Writes the batch by itself when it exceeds 64 KiB. Positions rise strictly: asserted. Throws
  // like Flush; appended() tells then whether the line was taken in. While the disk is full it
  // takes in at most one block (256 KiB, or one larger line).
  void Append(Position position, std::string_view line);
  // Writes the batch to the segment, records `safe` beside it and announces it to readers. `safe`
  // is the LSN up to which PostgreSQL may forget once this batch is durable (end of the last whole
  // transaction, or a keepalive's end when none is open); it never falls. Without new lines it
  // writes a mark when `safe` has risen. Throws Error{kDiskFull} when the disk is full: nothing is
  // lost, call Flush again later; Error{kIo} otherwise.
  void Flush(replication::Lsn safe);
  // Wakes the sync thread now instead of after sync_interval.
  void SyncSoon();
  // While held back, what is flushed is kept like everything else, and readers do not see it. For
  // lines whose cursors PostgreSQL would not repeat: they must be durable before anybody has them.
  void HoldBack();
  // Announces what was held back.
  void Release();

  // Everything flushed is on disk. Any thread.
  bool all_durable() const;
  // The highest `safe` that is on disk. This, and nothing else, may be confirmed to PostgreSQL. Any
  // thread.
  replication::Lsn durable() const;
  // The `safe` last recorded by Flush (durable or not); after opening, the one found on disk. Any
  // thread.
  replication::Lsn recorded() const;
  // How long the disk has kept one write or sync waiting by now; zero while none is on its way. Any
  // thread.
  std::chrono::steady_clock::duration stall() const;
  // The sync thread met an error from fdatasync: nothing may be confirmed any more and the process
  // must end (a second fdatasync would lie). Any thread.
  std::optional<std::string> sync_failure() const;

  // Called after every announcement on the ingest thread. Set before the first Append.
  void OnAnnounce(std::function<void()> announce);

  // ---- readers, any thread ----

  Head head() const;
  Earliest earliest() const;
  // Offset of the first line after `position`.
  std::variant<uint64_t, Miss> Find(Position position) const;
  // Whole lines from `offset` (which must be a line start or inside a line already begun) that are
  // in memory, at most `max_bytes` unless one line is larger; nullopt: not in memory (any more),
  // use Read; empty: at the head.
  std::optional<View> Tail(uint64_t offset, uint64_t max_bytes) const;
  // The same from segment files, ending with a written batch. Throws Error when the file cannot be
  // read.
  std::variant<Slice, Miss> Read(uint64_t offset, uint64_t max_bytes) const;

  // Where named consumers stand. What they have not acknowledged is kept, see Options::pin_bytes.
  Consumers& consumers() const;

  Probe probe() const;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

// A copy of whole lines from `offset`, from memory or from a segment file; empty at the head,
// nullopt when retention has removed them. Any thread.
std::optional<std::string> CopyLines(const Journal& journal, uint64_t offset, uint64_t max_bytes);

// Epoch of an identity: CRC32C over system identifier, database, table, format version and
// generation. A history's generation is the timeline it began on, or more after a loss.
Epoch EpochOf(const Identity& identity, uint32_t generation);

}  // namespace syncflow::journal
