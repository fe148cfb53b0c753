// getChanges: what a client has not seen yet.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "adapter/connection.h"
#include "adapter/operation.h"

namespace syncflow::adapter {

struct ChangesRequest {
  int64_t since = 0;      // milliseconds; the greatest timestamp the client has seen
  int limit = 100;        // 1 to 10 000
  std::string client_id;  // who asks; "" if unknown
  // The greatest counter the client has seen of each client: with it, operations that arrived late,
  // with a timestamp up to `since`, are found as well. Fast with ExtraIndex::kOperationClock;
  // without it, every operation up to `since` is read.
  std::optional<VectorClock> vector_clock;
};

// Late operations first, each behind those that its clock covers; then those after `since`, by
// timestamp and id; all as of one moment. At most `limit` together, but a group of equal timestamps
// is always complete, since the next call begins after it.
//
// While there are more pages of newer operations, late ones beyond the clocks of this page wait for
// theirs.
//
// While there are more late ones than `limit`, they come alone: the client's clock rises with them
// and never past one that it was not given, and `since` stays. A clock that names nobody but the
// client itself while that many are late is taken for one that is not kept: then they are left out,
// or the client would be told the same page for ever.
//
// Throws std::invalid_argument for a limit out of range; Error otherwise, also when a row's vector
// clock is none.
std::vector<Operation> GetChanges(Connection& connection, const std::string& schema,
                                  const ChangesRequest& request);

}  // namespace syncflow::adapter
