// Opens the stream: connects, checks what must hold, finds or creates the slot, binds the journal
// to its history. Used only on the ingest thread.
#pragma once

#include <set>
#include <string>

#include "adapter/connection.h"
#include "adapter/schema.h"
#include "replication/slot.h"
#include "replication/stream.h"
#include "sidecar/journal/journal.h"

namespace syncflow {

struct UpstreamOptions {
  adapter::ConnectOptions connect;
  std::string schema = "public";
  std::string slot = "syncflow_sidecar";
  bool initialize = true;  // create what is missing of SyncFlow's tables, once per process
  adapter::NotifyMode notify = adapter::NotifyMode::kTrigger;
};

class Upstream {
 public:
  Upstream(UpstreamOptions options, journal::Journal& journal)
      : options_(std::move(options)), journal_(journal) {}

  // Throws adapter::Error when PostgreSQL cannot be streamed from (its NeedsOperator() tells
  // whether waiting helps), journal::Error{kForeign} when the journal belongs to another history.
  replication::Stream Open(replication::Probe& probe);

 private:
  void Initialize();
  void Warn(const std::string& sentence);
  void BindToSlot(adapter::Connection& connection, const replication::SystemIdentity& system);
  void CheckTimeline(const journal::Identity& held,
                     const replication::SystemIdentity& system) const;
  void CheckAgainstJournal(const replication::Slot& slot,
                           const replication::SystemIdentity& system) const;

  UpstreamOptions options_;
  journal::Journal& journal_;
  bool initialized_ = false;
  std::set<std::string> warned_;  // each sentence once per process
};

}  // namespace syncflow
