// Opens the stream: connects, checks what must hold, finds or creates the slot, binds the journal
// to its history. Used only on the ingest thread.
#pragma once

#include <memory>
#include <set>
#include <string>

#include "adapter/connection.h"
#include "adapter/schema.h"
#include "replication/decoder.h"
#include "replication/slot.h"
#include "replication/stream.h"
#include "sidecar/journal/journal.h"

namespace syncflow {

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
  adapter::NotifyMode notify = adapter::NotifyMode::kTrigger;
};

class Upstream {
 public:
  Upstream(UpstreamOptions options, journal::Journal& journal)
      : options_(std::move(options)), journal_(journal) {}

  // The stream begins where the slot stands, at or before the journal's end; see Continuity for
  // what PostgreSQL repeats. Throws adapter::Error when PostgreSQL cannot be streamed from (its
  // NeedsOperator() tells whether waiting helps), journal::Error{kForeign} when the journal belongs
  // to another history.
  replication::Stream Open(replication::Probe& probe);
  // The journal and PostgreSQL do not tell the same history: notes it in the journal, so that
  // nothing is read until an operator has looked, and throws.
  [[noreturn]] void Forked(const std::string& sentence);
  // For the stream last opened.
  std::unique_ptr<replication::Decoder> MakeDecoder() const;

 private:
  void Initialize();
  std::string PluginOptions() const;
  void Require(adapter::Connection& connection, const replication::Slot& slot,
               const std::string& database);
  replication::Lsn CreateSlot(adapter::Connection& connection);
  replication::Lsn CreateSlot(adapter::Connection& connection, const std::string& plugin);
  void Warn(const std::string& sentence);
  replication::Lsn BindToSlot(adapter::Connection& connection,
                              const replication::SystemIdentity& system);
  void CheckTimeline(const journal::Identity& held,
                     const replication::SystemIdentity& system) const;
  void CheckAgainstJournal(const replication::Slot& slot,
                           const replication::SystemIdentity& system);

  UpstreamOptions options_;
  journal::Journal& journal_;
  bool initialized_ = false;
  std::string plugin_;            // of the slot, once it was found or created
  std::set<std::string> warned_;  // each sentence once per process
};

}  // namespace syncflow
