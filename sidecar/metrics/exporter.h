// Turns the probes of all rooms into the page that Prometheus scrapes. Keeps no state of its own.
#pragma once

#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "sidecar/compaction/probe.h"
#include "sidecar/feed/probe.h"
#include "sidecar/http/probe.h"
#include "sidecar/journal/probe.h"
#include "sidecar/metrics/process.h"
#include "sidecar/notify/probe.h"
#include "sidecar/pipeline_probe.h"
#include "sidecar/slot_probe.h"

namespace syncflow::metrics {

// Prometheus 3 refuses a page without the version.
inline constexpr std::string_view kContentType = "text/plain; version=0.0.4; charset=utf-8";

// One that the feed keeps a position for. Its name is a label, chosen by whoever connects.
struct NamedConsumer {
  std::string name;
  bool connected = false;
  uint64_t acknowledged = 0;  // LSN as bytes
  uint64_t lag_bytes = 0;     // of WAL, to the journal's head
  int64_t seen_at = 0;        // microseconds since 1970: when it was last connected
  bool history_lost = false;  // the journal cannot go on from its position
};
// So many get metrics of their own, the first by name; all are counted.
inline constexpr size_t kNamedConsumersMax = 50;

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
  const http::Probe* sync_api = nullptr;  // null: it is off, its metrics are absent
  std::vector<NamedConsumer> consumers;   // in the order of their names
  const compaction::Probe& compaction;
  Process process;
};

// Text format 0.0.4. Any thread.
std::string Scrape(const Snapshot& snapshot);

}  // namespace syncflow::metrics
