// What an operation does to a document: SyncFlow's rules, without a database.
#pragma once

#include <cstdint>
#include <string>

#include "adapter/operation.h"

namespace syncflow::adapter {

// A row of `documents`; the defaults are those of a document that is not there.
struct DocumentState {
  bool exists = false;
  std::string data = "{}";  // JSON text
  int64_t rev = 0;
  bool deleted = true;
  VectorClock vector_clock;
  int64_t updated_at = 0;  // milliseconds since 1970, by the client's clock
  bool changed = false;    // by Apply

  bool operator==(const DocumentState&) const = default;
};

// False when the operation conflicts: its clock is before the document's, or concurrent. Otherwise
// the document becomes
//   new              as given (a delete leaves a tombstone without data), rev 1
//   after insert     the data as given, rev + 1, not deleted
//   after update     the top-level members merged, rev + 1, not deleted
//   after delete     deleted; data and rev stay
//   after batch      what it was: such an operation is only kept in the log
// and takes the operation's clock and timestamp.
bool Apply(const Operation& operation, DocumentState& document);

}  // namespace syncflow::adapter
