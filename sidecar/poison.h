// A transaction that makes every stream fail at the same place: PostgreSQL cannot decode it, or
// what it sends for it cannot be understood. After some attempts it is called poison; an operator
// may then have exactly it left out, and a gap stands in its place.
//
// Used on the ingest thread.
#pragma once

#include <filesystem>
#include <optional>
#include <string>

#include "replication/decoder.h"
#include "sidecar/journal/journal.h"

namespace syncflow {

class Poison {
 public:
  // `folder` is the journal's.
  explicit Poison(std::filesystem::path folder) : folder_(std::move(folder)) {}

  // A stream failed inside `transaction`. True when it has done so often enough.
  bool Met(const replication::Begin& transaction);
  // An operator asks to leave out the transaction that was met last.
  bool MaySkip() const;
  // Puts the gap in the place of that transaction, or of what was not yet told of it. Throws
  // journal::Error. Can be cut off and done again.
  void Skip(journal::Journal& journal, const std::string& reason);
  // Where a stream must begin at least: behind the skipped transaction, until the slot is.
  replication::Lsn Behind(replication::Lsn confirmed);

  // What to do about it.
  std::string Advice() const;

 private:
  std::filesystem::path folder_;
  replication::Begin met_;
  int times_ = 0;
  std::optional<replication::Lsn> skipped_;  // commit LSN
};

}  // namespace syncflow
