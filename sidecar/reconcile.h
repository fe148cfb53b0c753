// Where the stream has lost history, the table has it: SyncFlow's `operations` is itself a log.
// What it holds and the journal does not is appended to the journal, marked "recovered", in the
// order of received_at and id, in front of everything that the new slot will send.
//
// Before, at a first start, the journal is empty and this is how the operations that are already
// there come into the feed.
//
// Can be cut off at any step and begun again with another slot: what is in the journal by then is
// found there. Nothing of it is announced before all of it is durable, since PostgreSQL would not
// repeat it under the same cursor.
//
// Used on the ingest thread.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <utility>

#include "adapter/connection.h"
#include "replication/slot.h"
#include "sidecar/journal/journal.h"

namespace syncflow {

// Where the history of a journal starts that begins with the table. Not 1: the position before
// that, zero, is that of a name that was promised a snapshot.
inline constexpr replication::Lsn kBeginning(2);

struct ReconcileOptions {
  adapter::ConnectOptions connect;
  std::string schema = "public";
  uint64_t line_bytes_max = 8ull << 20;
  std::function<void()> beat;  // called at least for every thousand rows
  // Why history was lost; stands in the feed as a gap before what was recovered, since operations
  // that were deleted meanwhile are not in the table any more. "" at a first start.
  std::string gap;
  bool gap_only_if_missing = false;  // the gap is a suspicion, which nothing missing refutes
};

struct Reconciled {
  uint64_t operations = 0;  // appended
  bool gap = false;         // stands before them
};

// The journal's disk is full; recovering begins again when there is room.
struct JournalIsFull : adapter::Error {
  explicit JournalIsFull(std::string message)
      : Error(std::move(message), "53100",
              "free space or lower journal.retain_size; recovering begins again then") {}
};

// The journal's recorded position is the slot's start
// afterwards. Where retention has removed lines, rows of transactions that began before the one of
// the oldest line are taken for removed, and that one as complete; where that line was recovered
// itself, only rows that came before it in the order of recovering. Throws adapter::Error when it
// has to be begun again (JournalIsFull among them), journal::Error when the journal cannot
// be used any more.
Reconciled Reconcile(const ReconcileOptions& options, const replication::NewSlot& slot,
                     journal::Journal& journal);

}  // namespace syncflow
