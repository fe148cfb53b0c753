// Puts the rooms together and owns their threads: journal, feed, notify watch, admin HTTP,
// pipeline.
#pragma once

#include <chrono>
#include <functional>
#include <future>
#include <memory>
#include <optional>

#include "sidecar/feed/feed.h"
#include "sidecar/http/server.h"
#include "sidecar/journal/journal.h"
#include "sidecar/notify/watch.h"
#include "sidecar/pipeline.h"
#include "sidecar/pipeline_probe.h"
#include "sidecar/slot_watch.h"

namespace syncflow {

struct ServiceOptions {
  journal::Options journal;
  feed::Options feed;
  PipelineOptions pipeline;
  std::string http_listen;  // empty: off
  bool watch_notify = true;
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
  http::Response Metrics() const;
  http::Response Live() const;
  http::Response Ready() const;

  ServiceOptions options_;
  PipelineProbe probe_;
  journal::Journal journal_;
  feed::Feed feed_;
  std::unique_ptr<notify::Watch> watch_;  // null: not watched
  Pipeline pipeline_;
  SlotWatch slot_watch_;
  std::optional<http::Server> http_;
  std::future<void> ingest_;
};

}  // namespace syncflow
