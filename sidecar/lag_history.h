// How far the route is behind, now and during the past ten minutes. A thread of its own takes a
// sample every two seconds, so that the status page shows what was before somebody looked.
#pragma once

#include <condition_variable>
#include <cstdint>
#include <deque>
#include <mutex>
#include <string>
#include <thread>

#include "sidecar/pipeline_probe.h"

namespace syncflow {

struct Lag {
  uint64_t bytes = 0;  // of the server's WAL, as last heard, beyond what is confirmed
  double seconds = 0;  // since the commit of what was stored last, while there is more to store
};

// Any thread.
class LagHistory {
 public:
  explicit LagHistory(const PipelineProbe& probe);

  Lag Now();
  // {"samples":[[milliseconds since 1970,seconds,bytes,changes],…]}, oldest first
  std::string Json();

 private:
  struct Sample {
    int64_t at;  // milliseconds since 1970
    Lag lag;
    uint64_t changes;
  };
  Lag Measure(int64_t now);  // with the lock
  void Run(const std::stop_token& stop);

  const PipelineProbe& probe_;
  std::mutex mutex_;
  std::condition_variable_any stopped_;
  int64_t level_at_;  // milliseconds: when everything the server had told of was last stored
  std::deque<Sample> samples_;
  std::jthread sampler_;  // last: it uses the others
};

}  // namespace syncflow
