#include "sidecar/service.h"

#include "sidecar/consumers_page.h"
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

SlotWatchOptions SlotWatchOptionsOf(const UpstreamOptions& upstream) {
  SlotWatchOptions options;
  options.connect = upstream.connect;
  options.slot = upstream.slot;
  options.schema = upstream.schema;
  options.table = kTable;
  options.publication = upstream.publication;
  return options;
}

http::Response Plain(int status, const std::string& sentence) {
  return {status, "text/plain; charset=utf-8", sentence + "\n"};
}

}  // namespace

Service::Service(const ServiceOptions& options)
    : options_(options),
      journal_(options.journal),
      feed_(options.feed, journal_),
      watch_(MakeWatch(options)),
      pipeline_(options.pipeline, journal_, feed_, watch_.get(), probe_),
      slot_watch_(SlotWatchOptionsOf(options.pipeline.upstream),
                  [this](const std::string& sentence) { pipeline_.TableChanged(sentence); }) {
  journal_.OnAnnounce([this] { feed_.Announce(); });
  if (!options.http_listen.empty()) http_.emplace(http::Options{options.http_listen}, Handlers());
}

Service::~Service() {
  Stop();
}

void Service::Start(std::function<void()> ended) {
  log::Info("service", "serving",
            {{"version", kVersion},
             {"feed_port", feed_.port()},
             {"http_port", http_ ? http_->port() : 0}});
  feed_.Start();
  if (watch_) watch_->Start();
  slot_watch_.Start();
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
  pipeline_.Stop();
  if (ingest_.valid() && ingest_.wait_for(kIngestStopMax) != std::future_status::ready) {
    log::Warning(
        "service",
        "PostgreSQL does not answer; the last positions stay unconfirmed and will be sent again");
  }
  feed_.Stop(kFeedStopMax);
  slot_watch_.Stop();
  if (watch_) watch_->Stop();
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
  handlers.status = [this] {
    const notify::Probe* notify = watch_ ? &watch_->probe() : nullptr;
    return http::Response{200, "application/json",
                          StatusJson({probe_, slot_watch_.probe(), journal_, feed_, notify,
                                      options_.pipeline.upstream.slot})};
  };
  return handlers;
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
                             metrics::ReadProcess()};
  return {200, std::string(metrics::kContentType), metrics::Scrape(snapshot)};
}

// Lag, a lost slot or a full disk are alerts, not reasons to restart: a restart cures none of them.
http::Response Service::Live() const {
  if (probe_.SinceBeat() < kLoopSilenceMax) return Plain(200, "alive");
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
