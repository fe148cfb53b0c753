// acceptOperations: a batch of operations from a client, checked against the documents and stored.
// Set-based: two round trips a batch, whatever its size.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

#include "adapter/connection.h"
#include "adapter/operation.h"

namespace syncflow::adapter {

struct Rejection {
  size_t index = 0;  // in the batch as given
  std::string id;    // "" where it has none
  std::string reason;
};

// Every operation of the batch is in exactly one of the three.
struct Acceptance {
  std::vector<std::string>
      accepted;  // ids in the batch's order; those already known are among them
  // The operation with the server's data and clock; its type is `delete` where the document is
  // deleted, and `insert` where a delete met a change.
  std::vector<Operation> conflicts;
  std::vector<Rejection> rejected;  // cannot be stored, now or later

  // {"accepted":[ids],"conflicts":[operations]}, as SyncFlow's clients expect it, and
  // "rejected":[{"index","id","reason"}] when there are any.
  std::string ToJson() const;
};

// Accepts the operations as if they had come one after another, each in a transaction of its own
// (see merge.h for what each does). At most 1000 operations or 4 MiB share a transaction; what
// another transaction holds up is tried four times. One that PostgreSQL refuses is found by halving
// and rejected alone. `connection` is outside a transaction before and after. Throws Error when
// PostgreSQL cannot be worked with; the same batch may then be sent again, since ids are accepted
// once.
Acceptance AcceptOperations(Connection& connection, const std::string& schema,
                            const std::vector<Operation>& operations);

// The same for a JSON array of operations; an element that is none is rejected. Throws
// std::invalid_argument when it is no array.
Acceptance AcceptOperationsJson(Connection& connection, const std::string& schema,
                                std::string_view array);

// Why PostgreSQL could not store it; empty when nothing speaks against it.
std::string ReasonToReject(const Operation& operation);

}  // namespace syncflow::adapter
