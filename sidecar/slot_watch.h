// Looks at the slot and the table from beside the stream, every few seconds: how much WAL the slot
// holds back, how much is left before PostgreSQL gives it up, and whether the table is still the
// one that is streamed. A stream cannot see any of this: for a table that was renamed PostgreSQL
// sends nothing, without an error.
//
// A thread and a connection of its own. probe() may be read by any.
#pragma once

#include <atomic>
#include <chrono>
#include <functional>
#include <optional>
#include <string>
#include <thread>

#include "adapter/connection.h"
#include "sidecar/slot_probe.h"

namespace syncflow {

struct SlotWatchOptions {
  adapter::ConnectOptions connect;
  std::string slot;
  std::string schema;
  std::string table;
  std::string publication;  // looked at while pgoutput reads it
  std::chrono::milliseconds interval{5000};
};

class SlotWatch {
 public:
  // `other_table` gets a sentence, on the watch's thread, when the table is no longer the one that
  // was there at the first look.
  SlotWatch(SlotWatchOptions options, std::function<void(const std::string&)> other_table);
  ~SlotWatch();

  void Start();
  void Stop();  // idempotent
  const SlotProbe& probe() const { return probe_; }

 private:
  void Run();
  void Look(adapter::Connection& connection);
  void LookAtSlot(adapter::Connection& connection);
  void LookAtTable(adapter::Connection& connection);
  void LookAtPublication(adapter::Connection& connection);
  void Endangered(bool endangered);
  bool Sleep();  // false when stopped

  const int wake_fd_;
  SlotWatchOptions options_;
  std::function<void(const std::string&)> other_table_;
  SlotProbe probe_;
  std::optional<std::string> table_;        // what identifies it
  std::optional<std::string> publication_;  // likewise
  std::atomic<bool> stopping_{false};
  std::thread thread_;
};

}  // namespace syncflow
