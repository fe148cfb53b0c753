// The route of a change, one verb a hop: Receive, Decode, Encode, Append, Announce, Sync, Confirm.
// (Deliver and Acknowledge are the feed's.) Runs on the ingest thread; Stop() from any.
#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <string>

#include "adapter/backoff.h"
#include "replication/decoder.h"
#include "replication/error.h"
#include "sidecar/continuity.h"
#include "sidecar/feed/encode.h"
#include "sidecar/feed/feed.h"
#include "sidecar/journal/journal.h"
#include "sidecar/notify/watch.h"
#include "sidecar/pipeline_probe.h"
#include "sidecar/slot_watch.h"
#include "sidecar/upstream.h"

namespace syncflow {

struct PipelineOptions {
  UpstreamOptions upstream;
  uint64_t line_bytes_max = 8ull << 20;
};

class Pipeline {
 public:
  // `watch` may be null. Everything must outlive the pipeline.
  Pipeline(PipelineOptions options, journal::Journal& journal, feed::Feed& feed,
           notify::Watch* watch, PipelineProbe& probe);
  ~Pipeline();

  // Streams, reconnects, streams … until Stop(). Throws journal::Error when the journal cannot be
  // used any more (it belongs to another history, or a write or sync failed): the process must end
  // then.
  void Run();
  void Stop();
  // What was seen from beside the stream. Any thread.
  void Saw(const Sight& sight);

 private:
  // What makes one connection end without being anybody's error.
  struct GaveUp {};

  void ThrowIfSyncFailed() const;
  void AwaitSpace();
  void AwaitDisk();
  bool DiskHangs();
  void TellOfStall();
  void Stream();
  void Pump(replication::Stream& stream);
  void LetABurstGather(bool more);
  void Take(const replication::WalMessage& message);
  void Take(const replication::XLogData& data);
  void Take(const replication::Keepalive& keepalive);
  void Take(const replication::Begin& begin);
  void Take(const replication::Change& change);
  void Take(const replication::Commit& commit);
  void Take(const replication::Other&) {}
  void RequireAgreement(const std::optional<std::string>& contradiction);
  void Progressed(replication::Lsn end);
  void AppendHeld(bool last);
  void Flush();
  bool FlushIsDue() const;
  bool MarkIsDue() const;
  void WaitForSpace(const journal::Error& error);
  bool TryFlush();
  void Confirm(replication::Stream& stream);
  bool SpeaksOfThisStream(const replication::Stream& stream) const;
  void NoteSilence(const replication::Stream& stream);
  Sight Sighted();
  void Consider(const Sight& sight, const replication::Stream& stream);
  void Finish(replication::Stream& stream);

  void Retreat(const adapter::Error& error);
  void Retreat(const replication::DecodeError& error);
  void RetreatFor(ReconnectReason reason, const std::string& sentence,
                  std::chrono::milliseconds delay);
  void StandBy(const std::string& sentence);
  void Stick(const std::string& sentence);
  // Ends early when stopped, or when `wakes` says so.
  void Pause(std::chrono::milliseconds delay, const std::function<bool()>& wakes = {});
  void ReportPositions(const replication::Stream& stream);

  const int wake_fd_;  // readable once Stop was called
  PipelineOptions options_;
  journal::Journal& journal_;
  feed::Feed& feed_;
  notify::Watch* watch_;
  PipelineProbe& probe_;
  Upstream upstream_;
  adapter::Backoff backoff_{std::chrono::milliseconds(100), std::chrono::seconds(10)};
  adapter::Backoff operator_backoff_{std::chrono::seconds(2), std::chrono::seconds(30)};

  // One connection's state. stream_ is null while there is none.
  replication::Stream* stream_ = nullptr;
  std::unique_ptr<replication::Decoder> decoder_;
  std::optional<feed::Encoder> encoder_;
  std::optional<Continuity> continuity_;
  adapter::Clock::time_point opened_at_;
  bool silent_ = false;
  std::optional<replication::Begin> open_;  // the transaction that is being received
  uint64_t received_before_ = 0;            // bytes, at the last turn
  uint64_t burst_bytes_ = 0;                // since the socket was found empty
  bool napped_ = false;                     // in the last turn, for there was little
  bool naps_gather_ = true;                 // since the last wait
  adapter::Clock::time_point busy_since_;   // the end of the last wait
  // Its length.
  adapter::Clock::duration awaited_ = adapter::Clock::duration::max();
  bool pending_ = false;  // lines were appended since the last Flush
  adapter::Clock::time_point pending_since_;
  adapter::Clock::time_point marked_at_;
  replication::Lsn resumed_;  // what the journal had recorded when the stream began
  replication::Lsn safe_;  // once all appended lines are durable, PostgreSQL may forget up to here

  replication::Lsn furthest_;  // that any connection has brought us to

  std::mutex sight_mutex_;
  Sight sight_;  // under sight_mutex_
  std::atomic<bool> sight_is_new_{false};

  std::atomic<bool> stopping_{false};
};

}  // namespace syncflow
