#include "sidecar/poison.h"

#include <algorithm>

#include "sidecar/gap.h"
#include "sidecar/journal/skip.h"
#include "sidecar/log/log.h"

namespace syncflow {
namespace {

constexpr int kTimes = 3;

// Behind that commit and before any other: WAL records start at multiples of 8, and those of
// commits are longer than that.
replication::Lsn After(replication::Lsn commit_lsn) {
  return replication::Lsn(commit_lsn.bytes() + 8);
}

}  // namespace

bool Poison::Met(const replication::Begin& transaction) {
  if (transaction.commit_lsn != met_.commit_lsn) times_ = 0;
  met_ = transaction;
  return ++times_ >= kTimes;
}

bool Poison::MaySkip() const {
  return times_ > 0 && journal::AskedToSkip(folder_) == met_.commit_lsn;
}

void Poison::Skip(journal::Journal& journal, const std::string& reason) {
  skipped_ = met_.commit_lsn;
  if (journal.recorded() > met_.commit_lsn) return;  // the gap stands there already
  journal::Position end = journal.appended();
  journal::Position at{met_.commit_lsn,
                       end.commit_lsn == met_.commit_lsn ? end.index + 1 : uint64_t{0}};
  AppendGap(journal, at, "transaction_skipped", reason);
  journal.Flush(After(met_.commit_lsn));
  log::Error("poison", "a transaction was left out, as an operator asked",
             {{"xid", met_.xid}, {"commit_lsn", met_.commit_lsn.ToString()}});
}

replication::Lsn Poison::Behind(replication::Lsn confirmed) {
  if (!skipped_) return confirmed;
  if (confirmed > *skipped_) {
    journal::ForgetSkip(folder_);
    skipped_.reset();
    return confirmed;
  }
  return After(*skipped_);
}

std::string Poison::Advice() const {
  return "the transaction " + std::to_string(met_.xid) + " that commits at " +
         met_.commit_lsn.ToString() +
         " cannot be read, and those behind it wait: mend the cause; or drop the slot, then a new "
         "one is created and what is missing is taken from the table; or leave it out: "
         "syncflow-sidecar skip " +
         met_.commit_lsn.ToString() + " --config FILE";
}

}  // namespace syncflow
