// What a journal folder holds after whatever happened to it: the longest beginning that is whole.
#pragma once

#include <deque>
#include <filesystem>
#include <memory>

#include "replication/lsn.h"
#include "sidecar/journal/segment.h"

namespace syncflow::journal {

struct Recovered {
  std::deque<std::shared_ptr<Segment>> segments;  // in order; empty for a new history
  Position last;
  replication::Lsn safe;  // the greatest that survived
  uint64_t cut_bytes = 0;
};

// Cuts torn ends off, removes segments that no longer follow what is before them (they were never
// durable, so never confirmed: PostgreSQL sends them again), makes what is left durable. Throws
// Error{kDamaged} where a sealed segment contradicts itself: nobody knows then what is missing.
Recovered Recover(const std::filesystem::path& folder, Epoch epoch);

}  // namespace syncflow::journal
