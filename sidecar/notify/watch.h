// Measures NOTIFY against the slot: how long LISTEN was away, and which operations only the slot
// delivered. NOTIFY is a hint and never a source; nothing depends on this room.
//
// Delivered and FlushDelivered belong to the ingest thread, Start and Stop to the owner's, probe()
// to any.
#pragma once

#include <chrono>
#include <memory>
#include <string_view>

#include "adapter/listener.h"
#include "sidecar/notify/probe.h"

namespace syncflow::notify {

class Watch {
 public:
  struct Options {
    adapter::ListenerOptions listener;
    // How long NOTIFY may lag behind the slot before an operation counts as recovered. Too short
    // counts late announcements as losses; longer only delays the verdict.
    std::chrono::milliseconds settle{5'000};
  };

  explicit Watch(Options options);
  ~Watch();
  Watch(const Watch&) = delete;
  Watch& operator=(const Watch&) = delete;

  void Start();
  // Returns when the thread has ended. Idempotent.
  void Stop();

  // The slot delivered this operation. No lock.
  void Delivered(std::string_view operation_id);
  // Hands over what was delivered since the last call, under a short lock. Once a batch.
  void FlushDelivered();

  const Probe& probe() const;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace syncflow::notify
