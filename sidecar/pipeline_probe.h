// What the route can tell about itself: plain numbers, filled on the ingest thread, read by any.
#pragma once

#include <array>
#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <mutex>
#include <string>
#include <string_view>
#include <utility>

#include "replication/probe.h"
#include "sidecar/latency.h"
#include "sidecar/now.h"

namespace syncflow {

enum class PipelineState {
  kStarting,     // nothing has been tried yet
  kConnecting,   // to PostgreSQL, or waiting to try again
  kReconciling,  // what the stream lacks is being taken from the table
  kStandby,      // another sidecar reads the slot; this one takes over when it ends
  kStreaming,    // START_REPLICATION is running
  kSilent,       // the same, but nothing has been heard from the server for long
  kBlocked,      // the journal takes nothing (disk full); PostgreSQL keeps the changes
  kStuck,        // the same transaction has made several streams fail; an operator is needed
  kStopping,
};
inline constexpr std::array<std::string_view, 9> kPipelineStates = {
    "starting", "connecting", "reconciling", "standby", "streaming",
    "silent",   "blocked",    "stuck",       "stopping"};

// Why a running stream was given up and opened again.
enum class ReconnectReason {
  kLost,     // the connection broke
  kEnded,    // the server ended the stream in good order (it is shutting down)
  kRefused,  // the server reported an error
  kDecode,   // a message could not be understood
  kBlocked,  // the journal was blocked for too long, the server must be able to shut down
};
inline constexpr std::array<std::string_view, 5> kReconnectReasons = {"lost", "ended", "refused",
                                                                      "decode", "blocked"};

// A sentence one thread writes and others read.
class LastError {
 public:
  void Set(std::string sentence) {
    std::lock_guard lock(mutex_);
    sentence_ = std::move(sentence);
  }
  std::string Get() const {
    std::lock_guard lock(mutex_);
    return sentence_;
  }

 private:
  mutable std::mutex mutex_;
  std::string sentence_;
};

// What the feed lacks, told in a gap line.
struct ToldGap {
  int64_t at = 0;  // microseconds since 1970
  std::string code;
  std::string reason;
};

// The last gaps since the start, which one thread adds and others read.
class LastGaps {
 public:
  void Add(ToldGap gap) {
    std::lock_guard lock(mutex_);
    gaps_.push_front(std::move(gap));
    if (gaps_.size() > kMax) gaps_.pop_back();
  }
  // Newest first.
  std::deque<ToldGap> Get() const {
    std::lock_guard lock(mutex_);
    return gaps_;
  }

 private:
  static constexpr size_t kMax = 10;
  mutable std::mutex mutex_;
  std::deque<ToldGap> gaps_;
};

// Positions are LSNs as bytes. Times are microseconds since 1970, UTC; 0 is "never".
struct PipelineProbe {
  replication::Probe stream;  // counted by replication::Stream, over all connections

  std::atomic<PipelineState> state{PipelineState::kStarting};
  std::atomic<uint64_t> connects_ok{0};
  std::atomic<uint64_t> connects_failed{0};
  std::atomic<uint64_t> reconnects[kReconnectReasons.size()]{};
  std::atomic<uint64_t> changes{0};       // appended, repetitions left out
  std::atomic<uint64_t> transactions{0};  // committed, with at least one change
  std::atomic<uint64_t> decode_errors{0};
  // Times the stream lost history and the table had to heal it.
  std::atomic<uint64_t> losses{0};
  // Operations taken from the table, those of a first start too.
  std::atomic<uint64_t> recovered{0};
  std::atomic<uint64_t> skipped{0};  // transactions an operator had left out

  // received >= appended >= durable >= confirmed
  std::atomic<uint64_t> received_position{0};
  std::atomic<uint64_t> appended_position{0};
  std::atomic<uint64_t> durable_position{0};
  std::atomic<uint64_t> confirmed_position{0};

  // Of the last transaction processed, by the server's clock.
  std::atomic<int64_t> last_commit_time{0};
  // From there, by this machine's clock, to the transaction's last line being appended.
  Latencies commit_to_append;

  // The last turn of the ingest loop, as steady_clock's count: liveness must not hang on the wall
  // clock.
  std::atomic<std::chrono::steady_clock::rep> loop_heartbeat{0};

  LastError last_error;
  LastGaps last_gaps;

  void Count(ReconnectReason reason) { ++reconnects[static_cast<size_t>(reason)]; }
  void Beat() { loop_heartbeat = std::chrono::steady_clock::now().time_since_epoch().count(); }
  void Tell(std::string code, std::string reason) {
    last_gaps.Add({MicrosecondsNow(), std::move(code), std::move(reason)});
  }
  // Since the last Beat; zero before the first.
  std::chrono::steady_clock::duration SinceBeat() const {
    std::chrono::steady_clock::duration beat(loop_heartbeat.load());
    if (beat.count() == 0) return std::chrono::steady_clock::duration::zero();
    return std::chrono::steady_clock::now().time_since_epoch() - beat;
  }
};

}  // namespace syncflow
