// The columns of `operations` that the feed carries, as bits, so that a missing one is noticed.
#pragma once

#include <string>
#include <string_view>

namespace syncflow::replication {

enum Column : unsigned {
  kId = 1,
  kType = 2,
  kCollection = 4,
  kDocId = 8,
  kData = 16,
  kTimestamp = 32,
  kClientId = 64,
  kSynced = 128,
  kVectorClock = 256,
  kAllColumns = 511,
};

// The column's bit; 0 for one the feed does not carry (received_at, or an application's own).
unsigned ColumnOf(std::string_view name);

// Throws DecodeError naming the first column that `seen` lacks.
void RequireAllColumns(unsigned seen);

}  // namespace syncflow::replication
