// Recognises whether PostgreSQL still tells the history that the journal holds. After a reconnect
// it repeats what was not confirmed; every repeated change must be the journal's next line. A
// server that was restored from an older state and written to again sends something else, under
// positions that look alike.
//
// Used on the ingest thread; one for each stream.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "replication/change.h"
#include "sidecar/journal/journal.h"

namespace syncflow {

class Continuity {
 public:
  // PostgreSQL repeats what commits at or after `start`. Nothing may be pending in the journal.
  Continuity(const journal::Journal& journal, replication::Lsn start);

  // A change the journal must hold. The sentence tells the contradiction.
  std::optional<std::string> Repeated(const replication::Change& change);
  // Every transaction that commits before `end` has been sent.
  std::optional<std::string> Passed(replication::Lsn end);

 private:
  std::string_view NextLine();
  void Load();
  bool awaits() const { return offset_ < end_; }

  const journal::Journal& journal_;
  journal::Position last_;     // the journal's end when the stream began
  uint64_t end_;               // and its offset
  journal::Position ignored_;  // up to here retention has removed the lines
  uint64_t offset_ = 0;        // of the next line that must be repeated
  std::string piece_;          // whole lines from offset_ on, those before `used_` are done
  size_t used_ = 0;
};

}  // namespace syncflow
