#include "sidecar/reconcile.h"

#include <poll.h>

#include <charconv>
#include <chrono>
#include <optional>
#include <utility>

#include "sidecar/feed/encode.h"
#include "sidecar/gap.h"
#include "sidecar/known_ids.h"

namespace syncflow {
namespace {

constexpr std::chrono::hours kTableTimeout{24};  // the first rows come once all are sorted
// Limits of the role would end every attempt at the same place.
constexpr const char* kPatience =
    "SELECT pg_catalog.set_config(name, '0', false) FROM pg_catalog.pg_settings WHERE name IN "
    "('statement_timeout', 'lock_timeout', 'idle_in_transaction_session_timeout', "
    "'transaction_timeout')";

template <typename T>
T Number(std::string_view text) {
  T value{};
  std::from_chars(text.data(), text.data() + text.size(), value);
  return value;
}

class Reconciliation {
 public:
  Reconciliation(const ReconcileOptions& options, const replication::NewSlot& slot,
                 journal::Journal& journal)
      : options_(options),
        slot_(slot),
        journal_(journal),
        encoder_(*journal.epoch(), options.line_bytes_max),
        connection_(options.connect) {}

  Reconciled Run() {
    Begin();
    KnownIds known(journal_, options_.beat);
    Open();
    if (!options_.gap_only_if_missing) TellGap();
    // One by one, since a few may be large.
    connection_.ForEachRow(Rows(known.oldest()), [&](const adapter::Result& row) {
      options_.beat();
      if (!known.Contains(row.Get(0, 0))) Append(row);
    });
    journal_.Flush(slot_.start);
    AwaitDurable();
    journal_.Release();
    return done_;
  }

 private:
  // What an earlier run has left is part of the journal, and may be seen.
  void Begin() {
    journal_.Flush(journal_.recorded());
    AwaitDurable();
    journal_.Release();
    journal_.HoldBack();
  }

  void AwaitDurable() {
    journal_.SyncSoon();
    while (!journal_.all_durable()) {
      if (auto failure = journal_.sync_failure())
        throw journal::Error(journal::Error::Kind::kIo, *failure);
      options_.beat();
      poll(nullptr, 0, 2);
    }
  }

  void Open() {
    connection_.set_timeout(kTableTimeout);
    connection_.Execute(kPatience);
    connection_.Execute("SET row_security = off");  // an error where policies would hide rows
    connection_.Execute("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY");
    connection_.Execute("SET TRANSACTION SNAPSHOT " + connection_.QuoteLiteral(slot_.snapshot));
  }

  // Transaction numbers have 32 bits in a row; they are told apart by their distance to the next.
  std::string Rows(const KnownIds::Oldest& oldest) const {
    bool trimmed = journal_.earliest().base.commit_lsn > kBeginning && oldest.xid != 0;
    return "SELECT id, type, collection, doc_id, data, timestamp, "
           "client_id, synced, vector_clock, xmin, (extract(epoch FROM coalesce(received_at, "
           "localtimestamp)) * 1000000)::bigint FROM " +
           connection_.QuoteIdentifier(options_.schema) +
           ".operations, (SELECT pg_snapshot_xmax(pg_current_snapshot())::text::bigint AS next) s" +
           (trimmed ? " WHERE NOT " + Removed(oldest) : "") +
           " ORDER BY received_at, id COLLATE \"C\"";
  }

  // By retention, so far as anybody can tell.
  std::string Removed(const KnownIds::Oldest& oldest) const {
    auto distance = [](const std::string& xid) { return "((next - " + xid + ") & 4294967295)"; };
    std::string before =
        distance("xmin::text::bigint") + " >= " + distance(std::to_string(oldest.xid) + "::bigint");
    if (oldest.recovered.empty()) return "(" + before + ")";
    return "(" + before + " AND (coalesce(received_at, localtimestamp), id COLLATE \"C\") < (" +
           connection_.QuoteLiteral(oldest.recovered) + "::timestamp, " +
           connection_.QuoteLiteral(oldest.id) + "::jsonb #>> '{}'))";
  }

  // Before the slot's first transaction, behind everything the journal has.
  replication::Change NextPlace() {
    replication::Change change;
    change.commit_lsn = replication::Lsn(slot_.start.bytes() - 2);
    change.index = index_++;
    change.recovered = true;
    return change;
  }

  void TellGap() {
    if (options_.gap.empty() || std::exchange(done_.gap, true)) return;
    replication::Change place = NextPlace();
    AppendGap(journal_, {place.commit_lsn, place.index}, "history_recovered", options_.gap);
  }

  void Append(const adapter::Result& row) {
    TellGap();
    auto text = [&](int column) { return row.Get(0, column); };
    replication::Change change = NextPlace();
    adapter::OperationView& operation = change.operation;
    operation.id = text(0);
    operation.type = text(1);
    operation.collection = text(2);
    operation.doc_id = text(3);
    if (!row.IsNull(0, 4)) operation.data = text(4);
    operation.timestamp = Number<int64_t>(text(5));
    operation.client_id = text(6);
    operation.synced = text(7) == "t";
    operation.vector_clock = text(8);
    change.xid = Number<uint32_t>(text(9));
    change.commit_time = Number<int64_t>(text(10));
    encoder_.Encode(change);
    journal_.Append(encoder_.position(), encoder_.Finish(true));
    ++done_.operations;
  }

  const ReconcileOptions& options_;
  const replication::NewSlot& slot_;
  journal::Journal& journal_;
  feed::Encoder encoder_;
  adapter::Connection connection_;
  uint64_t index_ = 0;
  Reconciled done_;
};

}  // namespace

Reconciled Reconcile(const ReconcileOptions& options, const replication::NewSlot& slot,
                     journal::Journal& journal) {
  try {
    return Reconciliation(options, slot, journal).Run();
  } catch (const journal::Error& error) {
    if (error.kind() != journal::Error::Kind::kDiskFull) throw;
    throw JournalIsFull(error.what());
  }
}

}  // namespace syncflow
