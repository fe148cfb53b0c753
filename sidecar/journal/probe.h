#pragma once

#include <chrono>
#include <cstdint>

#include "sidecar/latency.h"

namespace syncflow::journal {

// Plain numbers since the journal was opened; a copy, taken under the journal's lock.
struct Probe {
  uint64_t appended_lines = 0;
  uint64_t appended_bytes = 0;
  uint64_t syncs = 0;
  uint64_t sync_nanoseconds = 0;  // sum over all fdatasync calls
  uint64_t last_sync_nanoseconds = 0;
  Latencies sync_latencies;
  uint64_t write_errors = 0;
  uint64_t recovered_cut_bytes = 0;   // torn end cut off at open
  uint64_t recovery_nanoseconds = 0;  // that opening took
  uint64_t segments = 0;
  uint64_t size_bytes = 0;  // segments on disk
  // What Options say of its size, and what the file system still has for everybody.
  uint64_t retain_bytes = 0;
  uint64_t pin_bytes = 0;
  uint64_t volume_available_bytes = 0;
  uint64_t volume_bytes = 0;  // its size
  // When the oldest retained line was appended; the epoch when there is none.
  std::chrono::system_clock::time_point oldest;
};

}  // namespace syncflow::journal
