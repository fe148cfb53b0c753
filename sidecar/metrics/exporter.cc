#include "sidecar/metrics/exporter.h"

#include <prometheus/metric_family.h>
#include <prometheus/text_serializer.h>

#include <algorithm>
#include <chrono>
#include <iterator>
#include <limits>
#include <utility>
#include <vector>

#include "sidecar/log/log.h"
#include "sidecar/now.h"

namespace syncflow::metrics {
namespace {

using prometheus::ClientMetric;
using prometheus::MetricFamily;
using prometheus::MetricType;
using Labels = std::vector<ClientMetric::Label>;

struct Sample {
  Labels labels;
  double value;
};

double Seconds(int64_t microseconds) {
  return static_cast<double>(microseconds) / 1e6;
}

template <typename Number>
double Plain(Number number) {
  return static_cast<double>(number);
}

// One sample for each name; `value_of(i)` is the value of names[i].
template <typename ValueOf>
std::vector<Sample> OneEach(const char* label, std::span<const std::string_view> names,
                            ValueOf value_of) {
  std::vector<Sample> samples;
  for (size_t i = 0; i < names.size(); ++i) {
    samples.push_back({{{label, std::string(names[i])}}, Plain(value_of(i))});
  }
  return samples;
}

class Page {
 public:
  void Counter(const char* name, const char* help, const std::vector<Sample>& samples) {
    MetricFamily& family = Add(name, help, MetricType::Counter);
    for (const Sample& sample : samples) {
      ClientMetric& metric = family.metric.emplace_back();
      metric.label = sample.labels;
      metric.counter.value = sample.value;
    }
  }
  void Gauge(const char* name, const char* help, const std::vector<Sample>& samples) {
    MetricFamily& family = Add(name, help, MetricType::Gauge);
    for (const Sample& sample : samples) {
      ClientMetric& metric = family.metric.emplace_back();
      metric.label = sample.labels;
      metric.gauge.value = sample.value;
    }
  }
  void Histogram(const char* name, const char* help, const Latencies& latencies) {
    ClientMetric& metric = Add(name, help, MetricType::Histogram).metric.emplace_back();
    uint64_t count = 0;
    for (size_t i = 0; i < Latencies::kBounds.size(); ++i) {
      count += latencies.count(i);
      metric.histogram.bucket.push_back({count, Latencies::kBounds[i]});
    }
    metric.histogram.sample_count = count + latencies.count(Latencies::kBounds.size());
    metric.histogram.sample_sum = latencies.seconds();
  }
  // One that Value makes for each of `count`.
  template <typename ValueOf>
  void Histogram(const char* name, const char* help, size_t count, ValueOf value_of) {
    MetricFamily& family = Add(name, help, MetricType::Histogram);
    for (size_t i = 0; i < count; ++i) family.metric.push_back(value_of(i));
  }
  template <typename Number>
  void Counter(const char* name, const char* help, Number value) {
    Counter(name, help, std::vector<Sample>{{{}, Plain(value)}});
  }
  template <typename Number>
  void Gauge(const char* name, const char* help, Number value) {
    Gauge(name, help, std::vector<Sample>{{{}, Plain(value)}});
  }
  std::string Text() const { return prometheus::TextSerializer().Serialize(families_); }

 private:
  MetricFamily& Add(const char* name, const char* help, MetricType type) {
    return families_.emplace_back(MetricFamily{name, help, type, {}});
  }
  std::vector<MetricFamily> families_;
};

void AddBuild(Page& page, const Snapshot& snapshot) {
  page.Gauge("syncflow_build_info", "Build information, always 1.",
             std::vector<Sample>{{{{"version", snapshot.version}, {"compiler", __VERSION__}}, 1}});
}

void AddState(Page& page, const PipelineProbe& probe) {
  auto current = static_cast<size_t>(probe.state.load());
  page.Gauge("syncflow_state", "1 for the current state of the route, 0 for the others.",
             OneEach("state", kPipelineStates, [&](size_t i) { return i == current; }));
  auto age = std::chrono::duration_cast<std::chrono::microseconds>(probe.SinceBeat());
  page.Gauge(
      "syncflow_loop_heartbeat_timestamp_seconds", "Last turn of each long-lived loop.",
      std::vector<Sample>{{{{"thread", "ingest"}}, Seconds(MicrosecondsNow() - age.count())}});
}

void AddSource(Page& page, const PipelineProbe& probe, const Labels& slot) {
  const replication::Probe& stream = probe.stream;
  page.Gauge("syncflow_source_streaming", "1 while START_REPLICATION is running.",
             std::vector<Sample>{{slot, Plain(probe.state == PipelineState::kStreaming)}});
  page.Counter("syncflow_source_connects_total", "Attempts to open the replication connection.",
               std::vector<Sample>{{{{"result", "ok"}}, Plain(probe.connects_ok.load())},
                                   {{{"result", "failed"}}, Plain(probe.connects_failed.load())}});
  page.Counter(
      "syncflow_source_reconnects_total", "Streams given up, by reason.",
      OneEach("reason", kReconnectReasons, [&](size_t i) { return probe.reconnects[i].load(); }));
  page.Counter("syncflow_source_history_losses_total",
               "Times the stream lost history and what was missing was taken from the table.",
               probe.losses.load());
  page.Counter("syncflow_source_recovered_operations_total",
               "Operations taken from the table, those of a first start included.",
               probe.recovered.load());
  page.Counter("syncflow_source_transactions_skipped_total",
               "Transactions an operator had left out because they could not be read.",
               probe.skipped.load());
  page.Counter("syncflow_source_messages_total", "Replication messages received.",
               stream.messages.load());
  page.Counter("syncflow_source_received_bytes_total", "Bytes of CopyData received.",
               stream.received_bytes.load());
  page.Gauge("syncflow_source_last_message_timestamp_seconds",
             "When the last replication message came, 0 before the first.",
             Seconds(stream.last_message));
  page.Gauge("syncflow_source_last_commit_timestamp_seconds",
             "Commit time, by the server's clock, of the last transaction processed, 0 before the "
             "first.",
             Seconds(probe.last_commit_time));
  page.Counter(
      "syncflow_source_feedback_total", "Standby status updates sent, by cause.",
      std::vector<Sample>{{{{"cause", "timer"}}, Plain(stream.status_by_timer.load())},
                          {{{"cause", "requested"}}, Plain(stream.status_by_request.load())},
                          {{{"cause", "progress"}}, Plain(stream.status_by_progress.load())},
                          {{{"cause", "busy"}}, Plain(stream.status_by_keeper.load())}});
}

void AddDecode(Page& page, const PipelineProbe& probe) {
  page.Counter("syncflow_changes_total", "Changes appended to the journal.", probe.changes.load());
  page.Histogram(
      "syncflow_commit_to_append_seconds",
      "From a commit, by the server's clock, to its last line being appended; holds what "
      "the two clocks differ by.",
      probe.commit_to_append);
  page.Counter("syncflow_transactions_total", "Transactions with changes appended to the journal.",
               probe.transactions.load());
  page.Counter("syncflow_decode_errors_total", "Replication messages that could not be decoded.",
               probe.decode_errors.load());
}

// What is not known is left out.
void AddSlot(Page& page, const SlotProbe& probe, const Labels& slot) {
  auto status = static_cast<size_t>(probe.wal_status.load());
  page.Gauge("syncflow_slot_wal_status", "1 for the slot's wal_status, 0 for the others.",
             OneEach("status", kWalStatuses, [&](size_t i) { return i == status; }));
  if (probe.wal_status != WalStatus::kUnknown) {
    page.Gauge("syncflow_slot_active", "1 while a walsender reads the slot.",
               std::vector<Sample>{{slot, Plain(probe.active.load())}});
  }
  auto size = [&](const char* name, const char* help, int64_t bytes) {
    if (bytes >= 0) page.Gauge(name, help, std::vector<Sample>{{slot, Plain(bytes)}});
  };
  if (probe.restart_position != 0) {
    page.Gauge("syncflow_slot_restart_position_bytes",
               "WAL position from which the server keeps WAL for the slot.",
               std::vector<Sample>{{slot, Plain(probe.restart_position.load())}});
  }
  size("syncflow_slot_retained_wal_bytes", "WAL that the server keeps for the slot.",
       probe.held_bytes);
  size("syncflow_slot_safe_wal_bytes", "WAL that may still be written before the slot is lost.",
       probe.left_bytes);
  page.Gauge("syncflow_slot_endangered",
             "1 while more than half of max_slot_wal_keep_size is used up.",
             std::vector<Sample>{{slot, Plain(probe.endangered.load())}});
  if (probe.xmin_age >= 0) {
    page.Gauge(
        "syncflow_slot_catalog_xmin_age_transactions",
        "How many transactions ago the slot's catalog_xmin was: what VACUUM must keep of the "
        "catalogs.",
        std::vector<Sample>{{slot, Plain(probe.xmin_age.load())}});
  }
  page.Counter("syncflow_slot_looks_total", "Times the slot was looked at, by result.",
               std::vector<Sample>{
                   {{{"result", "ok"}}, Plain(probe.looks.load() - probe.looks_failed.load())},
                   {{{"result", "failed"}}, Plain(probe.looks_failed.load())}});
  page.Gauge("syncflow_slot_look_duration_seconds", "How long the last look at the slot took.",
             Plain(probe.look_nanoseconds.load()) / 1e9);
  if (probe.spilled_bytes < 0) return;
  auto counted = [&](const char* name, const char* help, int64_t value) {
    page.Counter(name, help, std::vector<Sample>{{slot, Plain(value)}});
  };
  counted("syncflow_slot_spilled_bytes_total",
          "Written to the server's disk by transactions beyond logical_decoding_work_mem.",
          probe.spilled_bytes);
  counted("syncflow_slot_spilled_transactions_total",
          "Transactions beyond logical_decoding_work_mem.", probe.spilled_transactions);
  counted("syncflow_slot_decoded_bytes_total", "Of transactions that the server decoded.",
          probe.decoded_bytes);
}

void AddHeartbeat(Page& page, const SlotProbe& probe) {
  page.Histogram("syncflow_heartbeat_roundtrip_seconds",
                 "From before the commit of an empty message to its arrival in the stream, on one "
                 "clock; 5 s is as long as it is waited for.",
                 probe.heartbeat_roundtrip);
  page.Counter("syncflow_heartbeats_unseen_total", "Heartbeats that took longer than 5 s.",
               probe.heartbeats_unseen.load());
  page.Counter("syncflow_heartbeats_refused_total",
               "Heartbeats that the server would not write, as one that only reads.",
               probe.heartbeats_refused.load());
}

void AddPositions(Page& page, const PipelineProbe& probe, const SlotProbe& watch,
                  const Labels& slot) {
  auto position = [&](const char* name, const char* help, uint64_t bytes) {
    page.Gauge(name, help, std::vector<Sample>{{slot, Plain(bytes)}});
  };
  uint64_t server = std::max(probe.stream.server_wal_end.load(), watch.server_position.load());
  uint64_t confirmed = probe.confirmed_position;
  position("syncflow_server_wal_position_bytes", "End of the server's WAL as last heard.", server);
  position("syncflow_received_position_bytes", "WAL position received.", probe.received_position);
  position("syncflow_appended_position_bytes", "WAL position appended to the journal.",
           probe.appended_position);
  position("syncflow_durable_position_bytes", "WAL position that is on disk.",
           probe.durable_position);
  position("syncflow_confirmed_position_bytes", "WAL position confirmed to the slot.", confirmed);
  bool known = confirmed != 0 && server > confirmed;
  position("syncflow_slot_lag_bytes", "Server WAL end minus confirmed position.",
           known ? server - confirmed : 0);
}

void AddJournal(Page& page, const journal::Probe& probe) {
  page.Counter("syncflow_journal_appended_lines_total", "Lines appended.", probe.appended_lines);
  page.Counter("syncflow_journal_appended_bytes_total", "Bytes appended.", probe.appended_bytes);
  page.Counter("syncflow_journal_syncs_total", "Calls of fdatasync.", probe.syncs);
  page.Counter("syncflow_journal_sync_seconds_total", "Time spent in fdatasync.",
               Plain(probe.sync_nanoseconds) / 1e9);
  page.Histogram("syncflow_journal_sync_duration_seconds", "Durations of fdatasync.",
                 probe.sync_latencies);
  page.Gauge("syncflow_journal_last_sync_duration_seconds", "Duration of the last fdatasync.",
             Plain(probe.last_sync_nanoseconds) / 1e9);
  page.Counter("syncflow_journal_errors_total", "Writes to the journal that failed.",
               probe.write_errors);
  page.Counter("syncflow_journal_truncated_bytes_total", "Torn bytes cut off at the last open.",
               probe.recovered_cut_bytes);
  page.Gauge("syncflow_journal_recovery_duration_seconds",
             "How long opening the journal took, its damage mended.",
             Plain(probe.recovery_nanoseconds) / 1e9);
  page.Gauge("syncflow_journal_segments", "Segment files on disk.", probe.segments);
  page.Gauge("syncflow_journal_size_bytes", "Bytes of all segment files.", probe.size_bytes);
  page.Gauge("syncflow_journal_retain_bytes",
             "How large it becomes for everybody: journal.retain_size.", probe.retain_bytes);
  page.Gauge("syncflow_journal_pin_max_bytes",
             "How large it becomes for named consumers that are behind: journal.pin_size_max.",
             probe.pin_bytes);
  page.Gauge("syncflow_journal_volume_size_bytes",
             "Of the journal's file system, 0 when it cannot be told.", probe.volume_bytes);
  page.Gauge("syncflow_journal_volume_available_bytes",
             "What the journal's file system still has, 0 when it cannot be told.",
             probe.volume_available_bytes);
  auto oldest =
      std::chrono::duration_cast<std::chrono::microseconds>(probe.oldest.time_since_epoch());
  page.Gauge("syncflow_journal_oldest_entry_timestamp_seconds",
             "When the oldest retained line was appended, 0 when there is none.",
             Seconds(oldest.count()));
}

void AddFeed(Page& page, const feed::Probe& probe, std::span<const std::string_view> reasons) {
  page.Gauge("syncflow_consumers", "Consumers connected now.", probe.consumers.load());
  page.Counter("syncflow_feed_connections_total", "Connections accepted.", probe.accepted.load());
  page.Counter("syncflow_feed_connections_refused_total",
               "Accepted connections turned away at once.", probe.refused.load());
  page.Counter("syncflow_feed_delivered_bytes_total", "Bytes handed to consumers' sockets.",
               probe.delivered_bytes.load());
  page.Counter("syncflow_feed_journal_read_bytes_total",
               "Of the delivered bytes, those that came from segment files.",
               probe.journal_bytes.load());
  page.Counter("syncflow_feed_sends_total", "Socket writes that moved bytes.", probe.sends.load());
  page.Counter("syncflow_feed_errors_total", "Error lines sent to consumers.", probe.errors.load());
  page.Counter("syncflow_feed_closed_total", "Connections closed, by reason.",
               OneEach("reason", reasons, [&](size_t i) { return probe.closed[i].load(); }));
}

void AddConsumers(Page& page, std::span<const NamedConsumer> consumers) {
  auto connected = std::count_if(consumers.begin(), consumers.end(),
                                 [](const NamedConsumer& one) { return one.connected; });
  auto all = static_cast<ptrdiff_t>(consumers.size());
  page.Gauge("syncflow_named_consumers", "Consumers whose position the feed keeps, by state.",
             std::vector<Sample>{{{{"state", "connected"}}, Plain(connected)},
                                 {{{"state", "away"}}, Plain(all - connected)}});
  uint64_t furthest = 0;
  for (const NamedConsumer& one : consumers) furthest = std::max(furthest, one.lag_bytes);
  page.Gauge("syncflow_named_consumers_lag_max_bytes",
             "WAL between the journal's head and the named consumer that is furthest behind.",
             furthest);
  page.Gauge("syncflow_named_consumers_history_lost",
             "Named consumers that the journal can no longer serve from where they stand.",
             std::count_if(consumers.begin(), consumers.end(),
                           [](const NamedConsumer& one) { return one.history_lost; }));
  consumers = consumers.first(std::min(consumers.size(), kNamedConsumersMax));
  auto each = [&](const char* name, const char* help, auto value_of) {
    std::vector<Sample> samples;
    for (const NamedConsumer& one : consumers)
      samples.push_back({{{"consumer", one.name}}, Plain(value_of(one))});
    page.Gauge(name, help, samples);
  };
  each("syncflow_consumer_connected", "1 while the named consumer is connected.",
       [](const NamedConsumer& one) { return one.connected; });
  each("syncflow_consumer_acknowledged_position_bytes",
       "WAL position up to which the named consumer has acknowledged.",
       [](const NamedConsumer& one) { return one.acknowledged; });
  each("syncflow_consumer_lag_bytes",
       "WAL between the journal's head and what the named consumer has acknowledged.",
       [](const NamedConsumer& one) { return one.lag_bytes; });
  each("syncflow_consumer_history_lost",
       "1 when the journal no longer holds what follows the named consumer's position, or it is "
       "one of another history.",
       [](const NamedConsumer& one) { return one.history_lost; });
  each("syncflow_consumer_seen_timestamp_seconds", "When the named consumer was last connected.",
       [](const NamedConsumer& one) { return Seconds(one.seen_at); });
}

void AddNotify(Page& page, const notify::Probe& probe) {
  page.Gauge("syncflow_notify_connected", "1 while LISTEN is in force.", probe.connected.load());
  page.Gauge("syncflow_notify_last_timestamp_seconds",
             "When the last operation was announced by NOTIFY, 0 before the first.",
             Seconds(probe.last_announced.load()));
  page.Counter("syncflow_notify_gaps_total", "Times the LISTEN connection was lost.",
               probe.gaps.load());
  page.Counter("syncflow_notify_gap_seconds_total", "Time without LISTEN, of gaps that ended.",
               Plain(probe.gap_milliseconds.load()) / 1e3);
  page.Counter("syncflow_notify_announced_operations_total", "Operations announced by NOTIFY.",
               probe.announced.load());
  page.Counter("syncflow_notify_delivered_operations_total",
               "Operations the slot delivered while NOTIFY was watched.", probe.delivered.load());
  page.Counter("syncflow_notify_recovered_operations_total",
               "Operations the slot delivered and NOTIFY did not announce.",
               probe.recovered.load());
  page.Counter("syncflow_notify_unjudged_operations_total",
               "Delivered operations too many to be compared.", probe.unjudged.load());
  page.Counter("syncflow_notify_foreign_payloads_total",
               "Notifications on the channel that are no operation notice.",
               probe.foreign_payloads.load());
}

ClientMetric DurationsOf(const http::HandlerProbe& handler) {
  ClientMetric metric;
  metric.label = {{"handler", handler.name}};
  uint64_t count = 0;
  for (size_t i = 0; i < std::size(handler.buckets); ++i) {
    count += handler.buckets[i];
    bool last = i == http::kDurationSeconds.size();
    metric.histogram.bucket.push_back(
        {count, last ? std::numeric_limits<double>::infinity() : http::kDurationSeconds[i]});
  }
  metric.histogram.sample_count = count;
  metric.histogram.sample_sum = Plain(handler.nanoseconds.load()) / 1e9;
  return metric;
}

void AddSyncApi(Page& page, const http::Probe& probe) {
  std::vector<Sample> requests;
  for (const http::HandlerProbe& handler : probe.handlers) {
    for (size_t i = 0; i < http::kCodes.size(); ++i) {
      std::string code = http::kCodes[i] == 0 ? "other" : std::to_string(http::kCodes[i]);
      requests.push_back(
          {{{"handler", handler.name}, {"code", code}}, Plain(handler.codes[i].load())});
    }
  }
  page.Counter("syncflow_http_requests_total", "Requests to the sync API that were answered.",
               requests);
  page.Histogram("syncflow_http_request_duration_seconds",
                 "From a request's head to the end of its answer, sync API.", probe.handlers.size(),
                 [&](size_t i) { return DurationsOf(probe.handlers[i]); });
  page.Gauge("syncflow_http_connections", "Connections to the sync API that have a thread.",
             probe.connections.load());
}

void AddCompaction(Page& page, const compaction::Probe& probe) {
  std::vector<Sample> runs, done;
  for (const compaction::JobProbe& job : probe.jobs) {
    for (size_t i = 1; i < compaction::kOutcomes.size(); ++i) {  // 0: it has not ended
      runs.push_back(
          {{{"compaction_job", job.name}, {"outcome", std::string(compaction::kOutcomes[i])}},
           Plain(job.runs[i].load())});
    }
    done.push_back({{{"compaction_job", job.name}}, Seconds(job.last_done)});
  }
  page.Counter("syncflow_compaction_runs_total", "Runs of each compaction job, by outcome.", runs);
  page.Counter("syncflow_compaction_deleted_operations_total",
               "Operations that compaction has deleted.", probe.deleted.load());
  page.Counter("syncflow_compaction_run_seconds_total", "Time that runs took.",
               Plain(probe.milliseconds.load()) / 1e3);
  page.Gauge("syncflow_compaction_running", "1 while a job runs.", probe.running.load());
  page.Gauge("syncflow_compaction_last_done_timestamp_seconds",
             "When each job's last run ended that was done, 0 before the first.", done);
}

void AddLog(Page& page) {
  static constexpr std::string_view kLevels[] = {"debug", "info", "warning", "error"};
  page.Counter(
      "syncflow_log_messages_total", "Log lines written, by level.",
      OneEach("level", kLevels, [](size_t i) { return log::Written(static_cast<log::Level>(i)); }));
}

void AddProcess(Page& page, const Process& process) {
  page.Counter("process_cpu_seconds_total", "User and system CPU time.", process.cpu_seconds);
  page.Gauge("process_start_time_seconds", "Start of the process since 1970.", process.start_time);
  page.Gauge("process_resident_memory_bytes", "Resident memory.", process.resident_bytes);
  page.Gauge("process_virtual_memory_bytes", "Virtual memory.", process.virtual_bytes);
  page.Gauge("process_open_fds", "Open file descriptors.", process.open_fds);
  page.Gauge("process_max_fds", "Limit of open file descriptors.", process.max_fds);
  page.Gauge("process_threads", "Threads of the process.", process.threads);
}

}  // namespace

std::string Scrape(const Snapshot& snapshot) {
  const Labels slot = {{"slot", snapshot.slot}};
  Page page;
  AddBuild(page, snapshot);
  AddState(page, snapshot.pipeline);
  AddSource(page, snapshot.pipeline, slot);
  AddDecode(page, snapshot.pipeline);
  AddPositions(page, snapshot.pipeline, snapshot.slot_watch, slot);
  AddSlot(page, snapshot.slot_watch, slot);
  AddHeartbeat(page, snapshot.slot_watch);
  AddJournal(page, snapshot.journal);
  AddFeed(page, snapshot.feed, snapshot.close_reasons);
  AddConsumers(page, snapshot.consumers);
  if (snapshot.notify != nullptr) AddNotify(page, *snapshot.notify);
  if (snapshot.sync_api != nullptr) AddSyncApi(page, *snapshot.sync_api);
  AddCompaction(page, snapshot.compaction);
  AddLog(page);
  AddProcess(page, snapshot.process);
  return page.Text();
}

}  // namespace syncflow::metrics
