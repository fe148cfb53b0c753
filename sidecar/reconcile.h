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

#include "adapter/connection.h"
#include "replication/slot.h"
#include "sidecar/journal/journal.h"

namespace syncflow {

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

// The journal's recorded position is the slot's start
// afterwards. Where retention has removed lines, rows of transactions that began before the one of
// the oldest line are taken for removed, and that one as complete. Throws adapter::Error when it
// has to be begun again (53100: the journal's disk is full), journal::Error when the journal cannot
// be used any more.
Reconciled Reconcile(const ReconcileOptions& options, const replication::NewSlot& slot,
                     journal::Journal& journal);

}  // namespace syncflow
