// Puts the rooms together and owns their threads: journal, feed, notify watch, compaction, admin
// HTTP, sync API, pipeline.
#pragma once

#include <chrono>
#include <functional>
#include <future>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "sidecar/compaction/scheduler.h"
#include "sidecar/feed/feed.h"
#include "sidecar/http/admin.h"
#include "sidecar/http/server.h"
#include "sidecar/journal/journal.h"
#include "sidecar/lag_history.h"
#include "sidecar/notify/watch.h"
#include "sidecar/pipeline.h"
#include "sidecar/pipeline_probe.h"
#include "sidecar/slot_watch.h"
#include "sidecar/sync_api/sync_api.h"

namespace syncflow {

struct ServiceOptions {
  journal::Options journal;
  feed::Options feed;
  PipelineOptions pipeline;
  std::vector<compaction::Job> jobs;
  std::string http_listen;  // empty: off
  std::string http_token_file;
  bool watch_notify = true;
  std::string sync_listen;  // empty: off
  int pool_max = 10;
};

class Service {
 public:
  // Opens the journal and the listeners. Throws journal::Error, http::Error or std::runtime_error,
  // each with a sentence.
  explicit Service(const ServiceOptions& options);
  ~Service();

  // Starts the threads. `ended` is called once, on the ingest thread, when the pipeline ends by
  // itself.
  void Start(std::function<void()> ended);
  // Stops in the order that delivers most: ingest, feed, the rest. Within about 8 seconds.
  void Stop();
  // After Stop: rethrows what ended the pipeline, or what it met at its end.
  void RethrowFailure();

 private:
  http::Handlers Handlers();
  http::Handler Compact();
  http::Handler CompactForClients(const ServiceOptions& options);
  http::Response Metrics() const;
  http::Response Status();
  http::Response Live() const;
  http::Response Ready() const;

  ServiceOptions options_;
  const std::chrono::system_clock::time_point started_ = std::chrono::system_clock::now();
  PipelineProbe probe_;
  LagHistory lag_history_;
  journal::Journal journal_;
  feed::Feed feed_;
  std::unique_ptr<notify::Watch> watch_;  // null: not watched
  Pipeline pipeline_;
  SlotWatch slot_watch_;
  compaction::Fence fence_;
  compaction::Scheduler scheduler_;
  std::optional<sync_api::SyncApi> sync_api_;
  std::optional<http::Server> http_;
  std::future<void> ingest_;
};

}  // namespace syncflow
