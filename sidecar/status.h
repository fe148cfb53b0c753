// What an operator asks first, as one JSON object for /status. Any thread; never asks PostgreSQL.
#pragma once

#include <string>

#include "sidecar/feed/feed.h"
#include "sidecar/journal/journal.h"
#include "sidecar/notify/probe.h"
#include "sidecar/pipeline_probe.h"
#include "sidecar/slot_probe.h"

namespace syncflow {

struct StatusSources {
  const PipelineProbe& pipeline;
  const SlotProbe& slot_watch;
  const journal::Journal& journal;
  const feed::Feed& feed;
  const notify::Probe* notify;  // null: NOTIFY is not watched
  std::string slot;
};

std::string StatusJson(const StatusSources& sources);

}  // namespace syncflow
