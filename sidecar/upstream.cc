#include "sidecar/upstream.h"

#include <algorithm>

#include "replication/pgoutput.h"
#include "replication/preflight.h"
#include "replication/publication.h"
#include "replication/table_version.h"
#include "replication/wal2json.h"
#include "sidecar/log/log.h"
#include "sidecar/reconcile.h"

namespace syncflow {
namespace {

constexpr const char* kWal2Json = "wal2json";
constexpr const char* kPgOutput = "pgoutput";
constexpr std::chrono::milliseconds kStatusInterval{1000};

constexpr std::chrono::seconds kReaderSilenceMax{10};
// For servers that have no wal_sender_timeout.
constexpr std::chrono::seconds kFrozenTimeout{60};
// A new slot waits for open transactions; less than what liveness allows the ingest loop.
constexpr std::chrono::seconds kCreateTimeout{120};

constexpr const char* kSuspicion =
    "the table is another one than before: renamed, replaced, rewritten or altered, or its "
    "publication was; what was written while it had another name or was not logged, PostgreSQL "
    "leaves out";

std::string SpareName(const std::string& slot) {
  return slot.substr(0, 56) + "_switch";
}

// A quarter of the server's patience, so that three updates may be late before it gives up.
std::chrono::milliseconds StatusInterval(std::chrono::milliseconds wal_sender_timeout) {
  if (wal_sender_timeout.count() == 0) return kStatusInterval;
  return std::min(kStatusInterval, wal_sender_timeout / 4);
}

// A walsender that is told to end sends a last message, and waits for ever for a reader that is
// frozen; a checkpoint that invalidates the slot waits for that walsender, and so the whole server
// would stand still.
void EndWithFrozenReader(adapter::Connection& connection,
                         std::chrono::milliseconds wal_sender_timeout) {
  if (wal_sender_timeout.count() == 0) wal_sender_timeout = kFrozenTimeout;
  connection.Execute("SET tcp_user_timeout = " + std::to_string(wal_sender_timeout.count()));
}

}  // namespace

replication::Stream Upstream::Open(const std::function<bool()>& give_up) {
  Initialize();
  adapter::ConnectOptions connect = options_.connect;
  connect.replication = true;
  adapter::Connection connection(connect);
  RequireTable(connection);
  replication::Facts facts = replication::Preflight(connection, options_.schema, kTable);
  for (const std::string& sentence : facts.warnings) Warn(sentence);
  EndWithFrozenReader(connection, facts.wal_sender_timeout);
  LookAtTable(connection);
  suspicion_ = replication::IsSameTable(journal_.table_version(), table_version_) ||
                       journal_.table_version().empty()
                   ? ""
                   : kSuspicion;
  walsender_ = connection.backend_pid();
  replication::StreamOptions stream;
  stream.start = BindToSlot(connection, replication::IdentifySystem(connection));
  if (table_version_ != journal_.table_version()) journal_.NoteTable(table_version_);
  stream.slot = options_.slot;
  stream.plugin_options = PluginOptions();
  stream.status_interval = StatusInterval(facts.wal_sender_timeout);
  stream.give_up = give_up;
  return replication::Stream(std::move(connection), stream, probe_.stream);
}

// While the stream runs nobody else can move the slot.
void Upstream::RequireUnmoved() const {
  adapter::Connection connection(options_.connect);
  std::string loss = WhyLost(replication::FindSlot(connection, options_.slot));
  if (!loss.empty()) throw adapter::Error(loss);
}

void Upstream::Initialize() {
  if (initialized_ || !options_.initialize) return;
  adapter::Connection connection(options_.connect);
  try {
    adapter::CreateSchema(connection, options_.schema, options_.notify);
  } catch (const adapter::Error& error) {
    // A role that may only read is a good choice where somebody else created the tables.
    if (error.NeedsReconnect() || !adapter::HasSchema(connection, options_.schema)) throw;
    Warn("the tables are there but could not be brought up to date: " + error.Explain());
  }
  initialized_ = true;
}

void Upstream::Warn(const std::string& sentence) {
  if (warned_.insert(sentence).second) log::Warning("upstream", sentence);
}

// Returns where the stream begins.
replication::Lsn Upstream::BindToSlot(adapter::Connection& connection,
                                      const replication::SystemIdentity& system) {
  journal::Identity identity{system.system_identifier, system.timeline, system.database,
                             options_.schema + "." + kTable, options_.slot};
  auto held = journal_.identity();
  bool bound = held.has_value();
  if (bound) {
    FollowTimeline(connection, *held, system);
    journal_.Bind(identity, {});
  }
  if (bound && journal_.recorded() > system.flushed) {
    Forked("the server stands at " + system.flushed.ToString() + ", before the journal's end at " +
           journal_.recorded().ToString());
  }
  FinishSwitch(connection);
  auto slot = replication::FindSlot(connection, options_.slot);
  if (slot && slot->active_pid) RequireFree(connection, *slot);
  if (slot && IsSwitch(*slot)) slot = SwitchPlugin(connection, *slot);
  if (slot) Require(connection, *slot, system.database);
  std::string loss = bound ? WhyLost(slot) : journal_.lost().value_or("");
  if (loss.empty() && slot && (bound || !options_.backfill)) {
    if (!bound) {
      log::Warning("upstream",
                   "the slot is older than this journal: the feed begins at the slot's position",
                   {{"slot", slot->name}, {"position", slot->confirmed_flush.ToString()}});
      journal_.Bind(identity, slot->confirmed_flush);
    }
    return poison_.Behind(slot->confirmed_flush);
  }
  if (!loss.empty() || options_.backfill) RequireReadableTable(connection);
  if (slot) {
    if (!bound && loss.empty()) {
      loss = "the journal is new, and the slot '" + slot->name +
             "' was there before it: what has been deleted from the table since is in neither";
      journal_.Bind(identity, kBeginning, loss);
    }
    log::Warning("upstream", "the slot is dropped, and created anew with what the table holds",
                 {{"slot", slot->name}, {"reason", loss}});
    replication::DropSlot(connection, slot->name);
  }
  return BeginAnew(connection, identity, loss);
}

// PostgreSQL decodes by the table's name at the time, and says nothing of what it leaves out.
void Upstream::RequireTable(adapter::Connection& connection) {
  try {
    replication::RequireTable(connection, options_.schema, kTable);
  } catch (const adapter::Error& error) {
    if (error.sqlstate() == "55000" && journal_.identity()) NoteHole(error.what());
    throw;
  }
}

void Upstream::LookAtTable(adapter::Connection& connection) {
  table_version_ = replication::TableVersion(
      connection, {options_.schema, kTable, options_.slot, options_.publication});
}

// A slot has one reader. A sidecar that lives sends an update every second; one of which nothing
// new is heard for long is frozen, or its connection is half open, and is replaced. Its clock may
// be wrong, so only whether the time it sends changes counts.
void Upstream::RequireFree(adapter::Connection& connection, const replication::Slot& slot) {
  int pid = *slot.active_pid;
  adapter::Result found = connection.Execute(
      "SELECT application_name, usename, coalesce(client_addr::text, 'local'), reply_time FROM "
      "pg_catalog.pg_stat_replication WHERE pid = " +
      std::to_string(pid));
  bool known = found.rows() > 0;
  std::string heard = known ? std::string(found.Get(0, 3)) : "";
  auto now = adapter::Clock::now();
  if (reader_.pid != pid || reader_.heard != heard) reader_ = {pid, heard, now};
  bool ours = known && found.Get(0, 0) == options_.connect.application_name &&
              found.Get(0, 1) == connection.user();
  std::string who = known ? std::string(found.Get(0, 0)) + " from " + std::string(found.Get(0, 2))
                          : "not shown to this role";
  if (ours && now - reader_.since >= kReaderSilenceMax) {
    log::Warning("upstream", "the reader of the slot has not been heard of for 10 s and is ended",
                 {{"slot", slot.name}, {"pid", pid}, {"reader", who}});
    connection.Execute("SELECT pg_catalog.pg_terminate_backend(" + std::to_string(pid) + ")");
    reader_ = {};
  }
  throw adapter::Error("the slot '" + slot.name + "' is active for PID " + std::to_string(pid) +
                           " (" + who + "): standing by, ready to take over",
                       "55006");
}

// Asked before anything is dropped or created.
void Upstream::RequireReadableTable(adapter::Connection& connection) const {
  std::string table = connection.QuoteIdentifier(options_.schema) + "." + kTable;
  adapter::Result result = connection.Execute("SELECT pg_catalog.has_table_privilege(" +
                                              connection.QuoteLiteral(table) + ", 'SELECT')");
  if (result.Get(0, 0) == "t") return;
  throw adapter::Error("the role '" + connection.user() + "' may not read the table " + table +
                           ", so what the stream does not have cannot be taken from it",
                       "42501",
                       "GRANT SELECT ON " + table + " TO " +
                           connection.QuoteIdentifier(connection.user()) +
                           "; at a first start, replication.backfill: false goes without");
}

// Empty when the slot goes on where the journal ends, or before.
std::string Upstream::WhyLost(const std::optional<replication::Slot>& slot) const {
  if (!slot) return "the replication slot '" + options_.slot + "' is gone (a failover keeps none)";
  if (replication::IsInvalidated(*slot)) {
    return "the replication slot '" + slot->name +
           "' was invalidated: PostgreSQL has removed WAL that was not yet received; raise "
           "max_slot_wal_keep_size";
  }
  if (!hole_.empty()) return hole_;
  if (slot->confirmed_flush <= journal_.recorded()) return suspicion_;
  return "the slot '" + slot->name + "' stands at " + slot->confirmed_flush.ToString() +
         ", beyond the journal's end at " + journal_.recorded().ToString() +
         ": somebody else has consumed the changes between";
}

// The journal is bound to the beginning of time, so that a backfill that is cut off is found to be
// behind its slot, like every other loss.
replication::Lsn Upstream::BeginAnew(adapter::Connection& connection,
                                     const journal::Identity& identity, const std::string& loss) {
  bool reconciles = options_.backfill || !loss.empty();
  replication::NewSlot slot = CreateSlot(connection);
  log::Info("upstream", "created the replication slot",
            {{"slot", options_.slot}, {"plugin", plugin_}, {"from", slot.start.ToString()}});
  if (!journal_.identity()) journal_.Bind(identity, reconciles ? kBeginning : slot.start);
  // What it shows is whole from here on. `connection` must not be used before the snapshot is.
  adapter::Connection beside(options_.connect);
  LookAtTable(beside);
  if (!reconciles) return slot.start;
  if (!loss.empty() && loss != suspicion_) log::Error("upstream", "history was lost: " + loss);
  ReconcileOptions reconcile;
  reconcile.connect = options_.connect;
  reconcile.schema = options_.schema;
  reconcile.line_bytes_max = options_.line_bytes_max;
  reconcile.beat = [this] { probe_.Beat(); };
  // A first start that was cut off has nothing that anybody could miss.
  auto forked = journal_.lost();
  reconcile.gap = forked ? *forked : journal_.recorded() > kBeginning ? loss : "";
  reconcile.gap_only_if_missing = !forked && loss == suspicion_;
  probe_.state = PipelineState::kReconciling;
  Reconciled done = Reconcile(reconcile, slot, journal_);
  probe_.recovered += done.operations;
  if (done.gap) {
    ++probe_.losses;
    probe_.Tell("history_recovered", reconcile.gap);
  }
  journal_.LossTold();
  hole_.clear();
  suspicion_.clear();
  log::Info("upstream", "the operations that were missing are taken from the table",
            {{"operations", done.operations}, {"at", slot.start.ToString()}});
  return slot.start;
}

// ---- the plugin ----

std::unique_ptr<replication::Decoder> Upstream::MakeDecoder() const {
  if (plugin_ == kPgOutput) return std::make_unique<replication::PgOutput>(options_.schema, kTable);
  return std::make_unique<replication::Wal2Json>();
}

std::string Upstream::PluginOptions() const {
  if (plugin_ == kPgOutput) return replication::PgOutputOptions(options_.publication);
  return replication::Wal2JsonOptions(options_.schema, kTable);
}

// Throws when the slot cannot be read with the plugin that is asked for.
void Upstream::Require(adapter::Connection& connection, const replication::Slot& slot,
                       const std::string& database) {
  bool pgoutput = options_.plugin == Plugin::kPgOutput ||
                  (options_.plugin == Plugin::kAuto && slot.plugin == kPgOutput);
  plugin_ = pgoutput ? kPgOutput : kWal2Json;
  replication::CheckSlot(slot, plugin_, database);
  if (!pgoutput) return;
  replication::CheckPublication(connection, options_.publication, options_.schema, kTable);
  if (!ReadsPublication(connection)) {
    NoteHole("the publication '" + options_.publication +
             "' is younger than the position of the slot '" + slot.name +
             "', so it does not show what was written before");
  }
}

// The settings name the other one of the two plugins.
bool Upstream::IsSwitch(const replication::Slot& slot) const {
  return (slot.plugin == kWal2Json && options_.plugin == Plugin::kPgOutput) ||
         (slot.plugin == kPgOutput && options_.plugin == Plugin::kWal2Json);
}

// A slot keeps its plugin for life, so it is replaced by a copy at the same position. Cut off at
// any step, the copy under another name tells how far it came. Where there can be no such copy, the
// slot is dropped, and what it would have sent comes from the table.
std::optional<replication::Slot> Upstream::SwitchPlugin(adapter::Connection& connection,
                                                        const replication::Slot& slot) {
  std::string to = slot.plugin == kWal2Json ? kPgOutput : kWal2Json;
  log::Info("upstream", "the slot is replaced by one of the other plugin",
            {{"slot", slot.name}, {"plugin", to}});
  if (to == kPgOutput) RequirePublication(connection);
  if (!replication::IsInvalidated(slot) && (to == kWal2Json || ReadsPublication(connection)))
    replication::CopySlot(connection, slot.name, SpareName(slot.name), to);
  RequireReadableTable(connection);
  replication::DropSlot(connection, slot.name);
  FinishSwitch(connection);
  LookAtTable(connection);
  return replication::FindSlot(connection, slot.name);
}

// What was written before the publication became what it is, pgoutput leaves out.
bool Upstream::ReadsPublication(adapter::Connection& connection) {
  return replication::IsOlderThanSlot(connection, options_.publication, options_.schema, kTable,
                                      options_.slot);
}

void Upstream::FinishSwitch(adapter::Connection& connection) {
  auto spare = replication::FindSlot(connection, SpareName(options_.slot));
  if (!spare) return;
  if (!replication::FindSlot(connection, options_.slot))
    replication::CopySlot(connection, spare->name, options_.slot, spare->plugin);
  replication::DropSlot(connection, spare->name);
}

void Upstream::RequirePublication(adapter::Connection& connection) {
  if (options_.initialize)
    replication::CreatePublication(connection, options_.publication, options_.schema, kTable);
  replication::CheckPublication(connection, options_.publication, options_.schema, kTable);
}

replication::NewSlot Upstream::CreateSlot(adapter::Connection& connection) {
  if (options_.plugin == Plugin::kPgOutput) return CreateSlot(connection, kPgOutput);
  try {
    return CreateSlot(connection, kWal2Json);
  } catch (const adapter::Error& error) {
    // Not installed, or not allowed.
    bool missing = error.sqlstate() == "58P01" || error.sqlstate() == "42501";
    if (options_.plugin != Plugin::kAuto || !missing) throw;
    log::Info("upstream", "wal2json cannot be used, so the slot is created with pgoutput",
              {{"reason", error.what()}});
  }
  return CreateSlot(connection, kPgOutput);
}

replication::NewSlot Upstream::CreateSlot(adapter::Connection& connection,
                                          const std::string& plugin) {
  if (plugin == kPgOutput) RequirePublication(connection);
  std::string transactions;
  for (const std::string& one : replication::RunningTransactions(connection))
    transactions += (transactions.empty() ? "" : ", ") + one;
  if (!transactions.empty()) {
    log::Info("upstream", "the new slot waits for the transactions that are open now",
              {{"open", transactions}});
  }
  connection.set_timeout(kCreateTimeout);
  replication::NewSlot slot = replication::CreateSlot(connection, options_.slot, plugin);
  connection.set_timeout(options_.connect.timeout);
  plugin_ = plugin;
  return slot;
}

// ---- the history ----

// After a failover: what the old primary wrote before the switch, the new one has as well. Where
// the journal has more than that, it holds operations that the new one does not know. An older
// timeline is that of a primary that was replaced and came back.
void Upstream::FollowTimeline(adapter::Connection& connection, const journal::Identity& held,
                              const replication::SystemIdentity& system) {
  if (held.system_identifier != system.system_identifier || held.timeline == system.timeline)
    return;
  std::string switched = "the server is on timeline " + std::to_string(system.timeline) +
                         ", the journal on timeline " + std::to_string(held.timeline) +
                         ": a standby was promoted or a backup restored";
  if (system.timeline < held.timeline) {
    throw adapter::Error("the server is on timeline " + std::to_string(system.timeline) +
                             ", older than the journal's " + std::to_string(held.timeline) +
                             ": it was replaced by another primary",
                         "55000", "let postgres.url name the present primary");
  }
  auto at = replication::FindSwitchPoint(connection, system.timeline, held.timeline);
  if (!at) Forked(switched);
  if (journal_.recorded() > *at || journal_.appended().commit_lsn >= *at) {
    Forked(switched + " at " + at->ToString() + ", and the journal goes on to " +
           journal_.recorded().ToString());
  }
  log::Warning("upstream", switched + "; the journal ends before and goes on there",
               {{"switched_at", at->ToString()}});
  journal_.FollowTimeline(system.timeline);
}

// Later writes would carry such a server past the journal's end, and what it lost and wrote anew
// below that would be skipped in silence.
void Upstream::Forked(const std::string& sentence) {
  std::string whole = sentence + "; the journal holds changes that the server no longer has";
  journal_.MarkLost(whole);
  throw journal::Error(journal::Error::Kind::kForked, whole);
}

}  // namespace syncflow
