// Opens the stream: connects, checks what must hold, finds or creates the slot, binds the journal
// to its history. Used only on the ingest thread.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <set>
#include <string>

#include "adapter/connection.h"
#include "adapter/schema.h"
#include "replication/decoder.h"
#include "replication/slot.h"
#include "replication/stream.h"
#include "sidecar/journal/journal.h"
#include "sidecar/pipeline_probe.h"
#include "sidecar/poison.h"

namespace syncflow {

inline constexpr const char* kTable = "operations";

// The output plugin of the slot. kAuto: that of an existing slot; for a new one wal2json where the
// server has and allows it, else pgoutput.
enum class Plugin { kAuto, kWal2Json, kPgOutput };

struct UpstreamOptions {
  adapter::ConnectOptions connect;
  std::string schema = "public";
  std::string slot = "syncflow_sidecar";
  Plugin plugin = Plugin::kAuto;
  std::string publication = "syncflow_sidecar";  // for pgoutput
  bool initialize = true;  // create what is missing of SyncFlow's tables, once per process
  bool backfill = true;    // at a first start, the operations that are already there
  uint64_t line_bytes_max = 8ull << 20;  // of what is recovered
  adapter::NotifyMode notify = adapter::NotifyMode::kTrigger;
};

class Upstream {
 public:
  Upstream(UpstreamOptions options, journal::Journal& journal, PipelineProbe& probe)
      : options_(std::move(options)),
        journal_(journal),
        probe_(probe),
        poison_(journal.directory()) {}

  // The stream begins where the slot stands, at or before the journal's end; see Continuity for
  // what PostgreSQL repeats. Where no slot stands there, a new one is created and what the stream
  // has lost is taken from the table; see Reconcile. Throws adapter::Error when PostgreSQL cannot
  // be streamed from (its NeedsOperator() tells whether waiting helps), journal::Error{kForeign}
  // when the journal belongs to another cluster, database, table or slot, kForked as below.
  // `give_up`: see StreamOptions.
  replication::Stream Open(const std::function<bool()>& give_up);
  // After Open: where the slot was moved between the look at it and the start, PostgreSQL has begun
  // at its new place in silence. Throws adapter::Error then; the next Open takes what was passed
  // over from the table.
  void RequireUnmoved() const;
  // For the stream last opened: its process at the server, and what the table was like.
  int walsender() const { return walsender_; }
  const std::string& table_version() const { return table_version_; }
  // Something was written that the slot will never send (the table had another name, the
  // publication was missing): the next Open takes it from the table.
  void NoteHole(const std::string& sentence) { hole_ = sentence; }
  // What is known of transactions that cannot be read.
  Poison& poison() { return poison_; }
  // The journal and PostgreSQL do not tell the same history: notes it in the journal, which begins
  // a new one when it is opened again, and throws journal::Error{kForked}.
  [[noreturn]] void Forked(const std::string& sentence);
  // For the stream last opened.
  std::unique_ptr<replication::Decoder> MakeDecoder() const;

 private:
  // Who reads the slot, and since when nothing new was heard from it.
  struct Reader {
    int pid = 0;
    std::string heard;
    adapter::Clock::time_point since;
  };

  void Initialize();
  std::string PluginOptions() const;
  void RequireTable(adapter::Connection& connection);
  void LookAtTable(adapter::Connection& connection);
  bool IsSwitch(const replication::Slot& slot) const;
  void RequirePublication(adapter::Connection& connection);
  std::optional<replication::Slot> SwitchPlugin(adapter::Connection& connection,
                                                const replication::Slot& slot);
  bool ReadsPublication(adapter::Connection& connection);
  void FinishSwitch(adapter::Connection& connection);
  void RequireFree(adapter::Connection& connection, const replication::Slot& slot);
  void Require(adapter::Connection& connection, const replication::Slot& slot,
               const std::string& database);
  replication::NewSlot CreateSlot(adapter::Connection& connection);
  replication::NewSlot CreateSlot(adapter::Connection& connection, const std::string& plugin);
  void RequireReadableTable(adapter::Connection& connection) const;
  std::string WhyLost(const std::optional<replication::Slot>& slot) const;
  replication::Lsn BeginAnew(adapter::Connection& connection, const journal::Identity& identity,
                             const std::string& loss);
  void Warn(const std::string& sentence);
  replication::Lsn BindToSlot(adapter::Connection& connection,
                              const replication::SystemIdentity& system);
  void FollowTimeline(adapter::Connection& connection, const journal::Identity& held,
                      const replication::SystemIdentity& system);

  UpstreamOptions options_;
  journal::Journal& journal_;
  PipelineProbe& probe_;
  Poison poison_;
  int walsender_ = 0;
  std::string table_version_;  // see replication/table_version.h
  std::string suspicion_;      // a sentence, where the slot may have left something out
  std::string hole_;           // a sentence, until what was lost by it is healed
  Reader reader_;              // whom the slot was seen in use by
  bool initialized_ = false;
  std::string plugin_;            // of the slot, once it was found or created
  std::set<std::string> warned_;  // each sentence once per process
};

}  // namespace syncflow
