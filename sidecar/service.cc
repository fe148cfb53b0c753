#include "sidecar/service.h"

#include <algorithm>
#include <vector>

#include "sidecar/compaction_page.h"
#include "sidecar/consumers_page.h"
#include "sidecar/documents_reader.h"
#include "sidecar/feed/close_reason.h"
#include "sidecar/log/log.h"
#include "sidecar/metrics/exporter.h"
#include "sidecar/status.h"
#include "sidecar/version.h"

namespace syncflow {
namespace {

using std::chrono::seconds;

// Longer than connecting to a server that answers each of a dozen questions at the last moment:
// only a loop that hangs is dead.
constexpr seconds kLoopSilenceMax{180};
constexpr seconds kIngestStopMax{5};
constexpr seconds kFeedStopMax{2};

std::unique_ptr<notify::Watch> MakeWatch(const ServiceOptions& options) {
  if (!options.watch_notify) return nullptr;
  notify::Watch::Options watch;
  watch.listener.connect = options.pipeline.upstream.connect;
  return std::make_unique<notify::Watch>(watch);
}

replication::Streamed StreamedOf(const UpstreamOptions& upstream) {
  return {upstream.schema, kTable, upstream.slot, upstream.publication};
}

SlotWatchOptions SlotWatchOptionsOf(const UpstreamOptions& upstream, const PipelineProbe& probe) {
  SlotWatchOptions options;
  options.connect = upstream.connect;
  options.streamed = StreamedOf(upstream);
  options.received = [&probe]() -> std::optional<uint64_t> {
    if (probe.state != PipelineState::kStreaming) return std::nullopt;
    return probe.received_position.load();
  };
  return options;
}

feed::Options FeedOptionsOf(const ServiceOptions& options, const journal::Journal& journal) {
  const UpstreamOptions& upstream = options.pipeline.upstream;
  DocumentsReaderOptions reader{upstream.connect, upstream.schema, upstream.slot};
  feed::Options feed = options.feed;
  feed.read_documents = [reader, &journal](feed::DocumentSink& sink, int stop_fd) {
    ReadDocuments(reader, journal, sink, stop_fd);
  };
  return feed;
}

sync_api::Options SyncOptionsOf(const ServiceOptions& options) {
  sync_api::Options sync;
  sync.listen = options.sync_listen;
  sync.connect = options.pipeline.upstream.connect;
  sync.schema = options.pipeline.upstream.schema;
  sync.pool_max = options.pool_max;
  sync.token_file = options.http_token_file;
  return sync;
}

// Where they stand in the history that the journal tells now; one of another history, or that lost
// its place, stands at its beginning.
std::vector<metrics::NamedConsumer> NamedConsumers(const journal::Journal& journal) {
  auto epoch = journal.epoch();
  uint64_t head = journal.head().position.commit_lsn.bytes();
  journal::Position earliest = journal.earliest().base;
  std::vector<metrics::NamedConsumer> consumers;
  for (const auto& consumer : journal.consumers().List()) {
    // One that is being told a snapshot stands before everything, and misses nothing.
    bool snapshot = consumer.acknowledged.position == journal::Position{};
    bool known = consumer.acknowledged.epoch == epoch && consumer.acknowledged.position >= earliest;
    journal::Position position = known ? consumer.acknowledged.position : earliest;
    uint64_t acknowledged = std::min(position.commit_lsn.bytes(), head);
    consumers.push_back({consumer.name, consumer.connected, acknowledged, head - acknowledged,
                         consumer.seen_at, epoch && !known && !snapshot});
  }
  return consumers;
}

compaction::SchedulerOptions SchedulerOptionsOf(const ServiceOptions& options) {
  compaction::SchedulerOptions scheduler;
  scheduler.connect = options.pipeline.upstream.connect;
  scheduler.schema = options.pipeline.upstream.schema;
  scheduler.folder = options.journal.directory;
  scheduler.jobs = options.jobs;
  return scheduler;
}

http::Response Plain(int status, const std::string& sentence) {
  return {status, "text/plain; charset=utf-8", sentence + "\n", {}};
}

}  // namespace

Service::Service(const ServiceOptions& options)
    : options_(options),
      lag_history_(probe_),
      journal_(options.journal),
      feed_(FeedOptionsOf(options, journal_), journal_),
      watch_(MakeWatch(options)),
      pipeline_(options.pipeline, journal_, feed_, watch_.get(), probe_),
      slot_watch_(SlotWatchOptionsOf(options.pipeline.upstream, probe_),
                  [this](const Sight& sight) { pipeline_.Saw(sight); }),
      fence_(journal_, probe_, StreamedOf(options.pipeline.upstream), options.journal.pin_age),
      scheduler_(SchedulerOptionsOf(options), fence_) {
  journal_.OnAnnounce([this] { feed_.Announce(); });
  if (!options.sync_listen.empty())
    sync_api_.emplace(SyncOptionsOf(options), CompactForClients(options));
  if (options.http_listen.empty()) return;
  http::Options http;
  http.listen = options.http_listen;
  http.token_file = options.http_token_file;
  http_.emplace(http, http::AdminRoutes(Handlers()));
}

Service::~Service() {
  Stop();
}

void Service::Start(std::function<void()> ended) {
  log::Info("service", "serving",
            {{"version", kVersion},
             {"feed_port", feed_.port()},
             {"http_port", http_ ? http_->port() : 0},
             {"sync_port", sync_api_ ? sync_api_->port() : 0}});
  feed_.Start();
  if (watch_) watch_->Start();
  slot_watch_.Start();
  scheduler_.Start();
  ingest_ = std::async(std::launch::async, [this, ended = std::move(ended)] {
    try {
      pipeline_.Run();
    } catch (...) {
      ended();
      throw;
    }
  });
}

void Service::Stop() {
  scheduler_.Stop();
  auto drained = std::async(std::launch::async, [this] {
    if (sync_api_) sync_api_->Stop();
  });
  pipeline_.Stop();
  if (ingest_.valid() && ingest_.wait_for(kIngestStopMax) != std::future_status::ready) {
    log::Warning(
        "service",
        "PostgreSQL does not answer; the last positions stay unconfirmed and will be sent again");
  }
  feed_.Stop(kFeedStopMax);
  slot_watch_.Stop();
  if (watch_) watch_->Stop();
  drained.wait();
  if (http_) http_->Stop();
}

void Service::RethrowFailure() {
  bool ended = ingest_.valid() && ingest_.wait_for(seconds(0)) == std::future_status::ready;
  if (ended) ingest_.get();
}

http::Handlers Service::Handlers() {
  http::Handlers handlers;
  handlers.metrics = [this] { return Metrics(); };
  handlers.livez = [this] { return Live(); };
  handlers.readyz = [this] { return Ready(); };
  handlers.startupz = [] { return Plain(200, "started"); };
  handlers.consumers = [this](const http::Request& request) {
    return AnswerConsumers(journal_, request);
  };
  handlers.compact = Compact();
  handlers.status = [this] { return Status(); };
  handlers.history = [this] {
    return http::Response{200, "application/json", lag_history_.Json(), {}};
  };
  return handlers;
}

http::Handler Service::Compact() {
  return [this](const http::Request& request) { return AnswerCompact(scheduler_, request); };
}

// A proxy on this machine makes everybody's requests look like this machine's.
http::Handler Service::CompactForClients(const ServiceOptions& options) {
  if (!options.http_token_file.empty()) return Compact();
  return [](const http::Request&) {
    return http::Refuse(403, "needs the token of http.token_file, or is asked at http.listen");
  };
}

http::Response Service::Status() {
  StatusSources sources{.pipeline = probe_,
                        .slot_watch = slot_watch_.probe(),
                        .journal = journal_,
                        .feed = feed_,
                        .lag = lag_history_,
                        .notify = watch_ ? &watch_->probe() : nullptr,
                        .sync_api = sync_api_ ? &*sync_api_ : nullptr,
                        .compaction = scheduler_,
                        .slot = options_.pipeline.upstream.slot,
                        .started = started_};
  return {200, "application/json", StatusJson(sources), {}};
}

http::Response Service::Metrics() const {
  metrics::Snapshot snapshot{kVersion,
                             options_.pipeline.upstream.slot,
                             probe_,
                             slot_watch_.probe(),
                             journal_.probe(),
                             feed_.probe(),
                             feed::kCloseReasons,
                             watch_ ? &watch_->probe() : nullptr,
                             sync_api_ ? &sync_api_->probe() : nullptr,
                             NamedConsumers(journal_),
                             scheduler_.probe(),
                             metrics::ReadProcess()};
  return {200, std::string(metrics::kContentType), metrics::Scrape(snapshot), {}};
}

// Lag, a lost slot, a disk that is full or hangs are alerts, not reasons to restart: a restart
// cures none of them, and would take from consumers what is still served.
http::Response Service::Live() const {
  if (probe_.SinceBeat() < kLoopSilenceMax) return Plain(200, "alive");
  if (journal_.stall() >= kLoopSilenceMax) return Plain(200, "alive; the journal's disk hangs");
  return Plain(503, "the ingest loop has not turned for three minutes");
}

// Ready to serve consumers from the journal. PostgreSQL being away must not take an application's
// pod out of service.
http::Response Service::Ready() const {
  if (journal_.epoch()) return Plain(200, "ready");
  return Plain(503,
               "no history yet: PostgreSQL has not been reached since the journal was created");
}

}  // namespace syncflow
