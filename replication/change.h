// What the stream says, after decoding: the begin, the operations and the commit of one
// transaction.
#pragma once

#include <cstdint>

#include "adapter/operation.h"
#include "replication/lsn.h"

namespace syncflow::replication {

// Microseconds since 1970, UTC: the server's clock at commit.
using CommitTime = int64_t;

// One committed operation. `operation` borrows from the decoder and the payload it was given, and
// is valid until the next call.
struct Change {
  adapter::OperationView operation;
  Lsn commit_lsn;      // of the transaction's commit record: the same for every plugin
  uint64_t index = 0;  // counts the operations of one transaction from 0
  uint32_t xid = 0;
  CommitTime commit_time = 0;
  // Not from the stream but from the table, where the stream has lost it: `commit_lsn` is then the
  // place it was put at, `commit_time` the row's received_at.
  bool recovered = false;
};

}  // namespace syncflow::replication
