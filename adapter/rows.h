// Rows of the table `operations`, read.
#pragma once

#include "adapter/connection.h"
#include "adapter/operation.h"

namespace syncflow::adapter {

// The columns ReadOperation reads, in its order; to be followed by others.
inline constexpr const char* kOperationColumns =
    "id, type, collection, doc_id, data, timestamp, client_id, synced, vector_clock";

// Throws Error, with the statement that mends it, when the row's vector clock is none.
Operation ReadOperation(const Result& result, int row, const std::string& quoted_schema);

}  // namespace syncflow::adapter
