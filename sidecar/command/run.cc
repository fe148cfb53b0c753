#include "sidecar/command/run.h"

#include <signal.h>
#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>

#include "config/settings.h"
#include "sidecar/command/config_commands.h"
#include "sidecar/command/job.h"
#include "sidecar/log/log.h"
#include "sidecar/service.h"
#include "sidecar/version.h"

namespace syncflow::command {
namespace {

constexpr int kFailed = 1;
constexpr int kConfiguration = 78;  // EX_CONFIG
constexpr unsigned kStopSecondsMax = 10;
constexpr uint64_t kOtherDescriptors = 80;   // 16 of them for consumers that are turned away
constexpr uint64_t kSyncDescriptors = 2200;  // connections served and waiting

ServiceOptions OptionsOf(const config::Settings& settings) {
  ServiceOptions options;
  options.journal.directory = settings.journal.directory;
  options.journal.segment_bytes = settings.journal.segment_size;
  options.journal.retain_bytes = settings.journal.retain_size;
  options.journal.retain_age = settings.journal.retain_age;
  options.journal.pin_bytes = settings.journal.pin_size_max;
  options.journal.pin_age = settings.journal.pin_age_max;
  options.journal.tail_bytes = settings.feed.tail_memory;
  options.feed.listen = settings.feed.listen;
  options.feed.hello_timeout = settings.feed.hello_timeout;
  options.feed.heartbeat = settings.feed.heartbeat;
  options.feed.connections_max = settings.feed.connections_max;
  options.feed.line_bytes_max = settings.feed.line_max;
  options.feed.allow_anonymous = settings.feed.allow_anonymous;
  options.feed.tokens_file = settings.feed.tokens_file;
  options.feed.tls = {settings.feed_tls.certificate, settings.feed_tls.key,
                      settings.feed_tls.client_ca};
  options.feed.server_name = std::string("syncflow-sidecar/") + kVersion;
  UpstreamOptions& upstream = options.pipeline.upstream;
  upstream.connect.url = settings.postgres.url.Reveal();
  upstream.connect.password_file = settings.postgres.password_file;
  upstream.schema = settings.postgres.schema;
  upstream.initialize = settings.postgres.initialize;
  upstream.slot = settings.replication.slot;
  upstream.plugin = static_cast<Plugin>(settings.replication.plugin);
  upstream.publication = settings.replication.publication;
  upstream.backfill = settings.replication.backfill;
  upstream.line_bytes_max = settings.feed.line_max;
  bool trigger = settings.notify.mode == config::NotifyMode::kTrigger;
  upstream.notify = trigger ? adapter::NotifyMode::kTrigger : adapter::NotifyMode::kOff;
  options.pipeline.line_bytes_max = settings.feed.line_max;
  for (const config::CompactionJob& job : settings.compaction.jobs)
    options.jobs.push_back(JobOf(job));
  options.http_listen = settings.http.listen;
  options.http_token_file = settings.http.token_file;
  options.sync_listen = settings.sync_api.listen;
  options.pool_max = static_cast<int>(settings.postgres.pool_max);
  options.watch_notify = settings.notify.watch && trigger;
  return options;
}

// Enumerations of both sides have the same order.
log::Level LevelOf(const config::Log& settings) {
  return static_cast<log::Level>(settings.level);
}
log::Format FormatOf(const config::Log& settings) {
  return static_cast<log::Format>(settings.format);
}

// Signals are taken by this thread alone; every other thread inherits the block.
class Signals {
 public:
  Signals() {
    sigemptyset(&set_);
    for (int number : {SIGINT, SIGTERM, SIGHUP, SIGUSR1}) sigaddset(&set_, number);
    pthread_sigmask(SIG_BLOCK, &set_, nullptr);
    signal(SIGPIPE, SIG_IGN);
  }
  int Wait() {
    int number = 0;
    sigwait(&set_, &number);
    return number;
  }
  // From any thread: Wait returns SIGUSR1.
  static void Interrupt() { kill(getpid(), SIGUSR1); }

 private:
  sigset_t set_;
};

// Every consumer and every journal segment holds descriptors; the soft limit is often 1024.
uint64_t RaiseDescriptorLimit() {
  rlimit limit{};
  getrlimit(RLIMIT_NOFILE, &limit);
  limit.rlim_cur = limit.rlim_max;
  setrlimit(RLIMIT_NOFILE, &limit);
  return limit.rlim_cur;
}

// The journal must find descriptors for its next segment, however many consumers come.
void LeaveRoomForTheJournal(uint64_t descriptors, ServiceOptions& options) {
  const journal::Options& journal = options.journal;
  uint64_t segments =
      journal.pin_bytes / journal.segment_bytes +
      static_cast<uint64_t>(std::max(journal.retain_age, journal.pin_age) / std::chrono::hours(1)) +
      2;
  uint64_t others = kOtherDescriptors + (options.sync_listen.empty() ? 0 : kSyncDescriptors);
  uint64_t left = descriptors - std::min(others + 2 * segments, descriptors / 2);
  if (options.feed.connections_max <= left) return;
  log::Warning("service",
               "this process may open " + std::to_string(descriptors) +
                   " files and keeps some for the journal: raise the limit (ulimit -n, "
                   "LimitNOFILE) or lower feed.connections_max",
               {{"connections_max", left}});
  options.feed.connections_max = static_cast<uint32_t>(left);
}

// Until a signal ends it; a failure of the pipeline is thrown.
void ServeOneHistory(const ServiceOptions& options, Signals& signals) {
  Service service(options);
  service.Start(Signals::Interrupt);
  int number = signals.Wait();
  while (number == SIGHUP) {
    log::Warning("service",
                 "no setting can be changed while running: restart to apply a changed file");
    number = signals.Wait();
  }
  alarm(kStopSecondsMax);  // whatever hangs, the process ends
  log::Info("service", "stopping");
  service.Stop();
  service.RethrowFailure();
  log::Info("service", "stopped");
}

// A server that was restored or failed over to an older state goes on with another history; so do
// we, in the same process: the journal sets the old one aside when it is opened again.
void Serve(const ServiceOptions& options, Signals& signals) {
  for (;;) {
    try {
      return ServeOneHistory(options, signals);
    } catch (const journal::Error& error) {
      if (error.kind() != journal::Error::Kind::kForked) throw;
      log::Error("journal", std::string("history has forked: ") + error.what() +
                                "; a new one begins with what the table holds, the old one is set "
                                "aside in journal.directory");
      alarm(0);
    }
  }
}

int ExitCodeOf(const journal::Error& error) {
  switch (error.kind()) {
    case journal::Error::Kind::kUnusable:
    case journal::Error::Kind::kForeign:
      return kConfiguration;
    default:
      return kFailed;
  }
}

}  // namespace

int Run(const std::string& config_path) {
  auto loaded = LoadOrReport(config_path);
  if (!loaded) return kConfiguration;
  log::Configure(LevelOf(loaded->log), FormatOf(loaded->log));
  Signals signals;
  ServiceOptions options = OptionsOf(*loaded);
  LeaveRoomForTheJournal(RaiseDescriptorLimit(), options);
  try {
    Serve(options, signals);
    return 0;
  } catch (const journal::Error& error) {
    log::Error("journal", error.what());
    return ExitCodeOf(error);
  } catch (const std::exception& error) {
    log::Error("service", error.what());
    return kFailed;
  }
}

}  // namespace syncflow::command
