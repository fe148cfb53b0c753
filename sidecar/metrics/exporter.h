// Turns the probes of all rooms into the page that Prometheus scrapes. Keeps no state of its own.
#pragma once

#include <span>
#include <string>
#include <string_view>

#include "sidecar/feed/probe.h"
#include "sidecar/journal/probe.h"
#include "sidecar/metrics/process.h"
#include "sidecar/notify/probe.h"
#include "sidecar/pipeline_probe.h"
#include "sidecar/slot_probe.h"

namespace syncflow::metrics {

// Prometheus 3 refuses a page without the version.
inline constexpr std::string_view kContentType = "text/plain; version=0.0.4; charset=utf-8";

// The probes may go on counting meanwhile.
struct Snapshot {
  std::string version;  // of the program
  std::string slot;
  const PipelineProbe& pipeline;
  const SlotProbe& slot_watch;
  journal::Probe journal;
  const feed::Probe& feed;
  std::span<const std::string_view> close_reasons;  // names of feed::Probe::closed, in order
  const notify::Probe* notify = nullptr;  // null: NOTIFY is not watched, its metrics are absent
  Process process;
};

// Text format 0.0.4. Any thread.
std::string Scrape(const Snapshot& snapshot);

}  // namespace syncflow::metrics
