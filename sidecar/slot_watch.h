// Looks at the slot and the table from beside the stream, every few seconds: how much WAL the slot
// holds back, how much is left before PostgreSQL gives it up, and whether the table is still the
// one that is streamed. A stream cannot see any of this: for a table that was renamed PostgreSQL
// sends nothing, without an error. While the route streams it also writes a heartbeat, an empty
// message in the WAL, and measures how long it takes to come through: the only latency that needs
// no two clocks.
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
#include "replication/table_version.h"
#include "sidecar/slot_probe.h"

namespace syncflow {

struct SlotWatchOptions {
  adapter::ConnectOptions connect;
  replication::Streamed streamed;
  // WAL received from the stream so far, LSN as bytes; nullopt while it does not run.
  std::function<std::optional<uint64_t>()> received;
  std::chrono::milliseconds interval{5000};
};

// What only somebody beside the stream can see.
struct Sight {
  adapter::Clock::time_point at;  // nothing of it is older
  std::optional<int> reader;      // process of the walsender that reads the slot
  std::string table_version;      // see replication/table_version.h
};

class SlotWatch {
 public:
  // `tell` gets what was seen, after every look, on the watch's thread.
  SlotWatch(SlotWatchOptions options, std::function<void(const Sight&)> tell);
  ~SlotWatch();

  void Start();
  void Stop();  // idempotent
  const SlotProbe& probe() const { return probe_; }

 private:
  void Run();
  void Look(adapter::Connection& connection);
  void Forget();
  void LookAtSlot(adapter::Connection& connection);
  void Endangered(bool endangered);
  void SendHeartbeat(adapter::Connection& connection);
  void AwaitHeartbeat(uint64_t position, std::chrono::steady_clock::time_point sent);
  static void Prepare(adapter::Connection& connection);
  bool Sleep();  // false when stopped

  const int wake_fd_;
  SlotWatchOptions options_;
  std::function<void(const Sight&)> tell_;
  SlotProbe probe_;
  std::optional<int> reader_;  // at the last look
  std::chrono::steady_clock::time_point heartbeat_due_;
  std::atomic<bool> stopping_{false};
  std::thread thread_;
};

}  // namespace syncflow
