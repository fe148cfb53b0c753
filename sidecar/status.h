// What an operator asks first, as one JSON object for /status. Any thread; never asks PostgreSQL.
#pragma once

#include <chrono>
#include <string>

#include "sidecar/compaction/scheduler.h"
#include "sidecar/feed/feed.h"
#include "sidecar/journal/journal.h"
#include "sidecar/lag_history.h"
#include "sidecar/notify/probe.h"
#include "sidecar/pipeline_probe.h"
#include "sidecar/slot_probe.h"
#include "sidecar/sync_api/sync_api.h"

namespace syncflow {

struct StatusSources {
  const PipelineProbe& pipeline;
  const SlotProbe& slot_watch;
  const journal::Journal& journal;
  const feed::Feed& feed;
  LagHistory& lag;
  const notify::Probe* notify;        // null: NOTIFY is not watched
  const sync_api::SyncApi* sync_api;  // null: it is off
  const compaction::Scheduler& compaction;
  std::string slot;
  std::chrono::system_clock::time_point started;
};

std::string StatusJson(const StatusSources& sources);

}  // namespace syncflow
