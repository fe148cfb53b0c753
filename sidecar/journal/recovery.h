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
  std::deque<std::shared_ptr<Segment>>
      unsealed;  // complete and durable, yet to be sealed; in order
  Position last;
  replication::Lsn safe;  // the greatest that survived
  uint64_t cut_bytes = 0;
};

// Finishes an interrupted removal, cuts torn ends off, makes what is left durable.
//
// What does not follow the segment before it depends on that one's seal. Without a seal it was the
// end when the journal was left: its successors were never durable, so never confirmed; they are
// removed, and PostgreSQL sends them again. With a seal the successor's files and names were on
// disk: something durable is gone, and Error{kDamaged} says so, as for a sealed segment that
// contradicts itself.
Recovered Recover(const std::filesystem::path& folder, Epoch epoch);

}  // namespace syncflow::journal
