#include "sidecar/metrics/exporter.h"

#include <prometheus/metric_family.h>
#include <prometheus/text_serializer.h>

#include <chrono>
#include <utility>
#include <vector>

#include "sidecar/log/log.h"

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
  auto now = std::chrono::duration_cast<std::chrono::microseconds>(
      std::chrono::system_clock::now().time_since_epoch());
  page.Gauge("syncflow_loop_heartbeat_timestamp_seconds", "Last turn of each long-lived loop.",
             std::vector<Sample>{{{{"thread", "ingest"}}, Seconds((now - age).count())}});
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
  page.Gauge("syncflow_slot_active", "1 while a walsender reads the slot.",
             std::vector<Sample>{{slot, Plain(probe.active.load())}});
  auto size = [&](const char* name, const char* help, int64_t bytes) {
    if (bytes >= 0) page.Gauge(name, help, std::vector<Sample>{{slot, Plain(bytes)}});
  };
  size("syncflow_slot_retained_wal_bytes", "WAL that the server keeps for the slot.",
       probe.held_bytes);
  size("syncflow_slot_safe_wal_bytes", "WAL that may still be written before the slot is lost.",
       probe.left_bytes);
  if (probe.spilled_bytes < 0) return;
  page.Counter("syncflow_slot_spilled_bytes_total",
               "Written to the server's disk by transactions beyond logical_decoding_work_mem.",
               std::vector<Sample>{{slot, Plain(probe.spilled_bytes.load())}});
}

void AddPositions(Page& page, const PipelineProbe& probe, const Labels& slot) {
  auto position = [&](const char* name, const char* help, uint64_t bytes) {
    page.Gauge(name, help, std::vector<Sample>{{slot, Plain(bytes)}});
  };
  uint64_t server = probe.stream.server_wal_end;
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
  page.Gauge("syncflow_journal_last_sync_duration_seconds", "Duration of the last fdatasync.",
             Plain(probe.last_sync_nanoseconds) / 1e9);
  page.Counter("syncflow_journal_errors_total", "Writes to the journal that failed.",
               probe.write_errors);
  page.Counter("syncflow_journal_truncated_bytes_total", "Torn bytes cut off at the last open.",
               probe.recovered_cut_bytes);
  page.Gauge("syncflow_journal_segments", "Segment files on disk.", probe.segments);
  page.Gauge("syncflow_journal_size_bytes", "Bytes of all segment files.", probe.size_bytes);
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

void AddNotify(Page& page, const notify::Probe& probe) {
  page.Gauge("syncflow_notify_connected", "1 while LISTEN is in force.", probe.connected.load());
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
  AddPositions(page, snapshot.pipeline, slot);
  AddSlot(page, snapshot.slot_watch, slot);
  AddJournal(page, snapshot.journal);
  AddFeed(page, snapshot.feed, snapshot.close_reasons);
  if (snapshot.notify != nullptr) AddNotify(page, *snapshot.notify);
  AddLog(page);
  AddProcess(page, snapshot.process);
  return page.Text();
}

}  // namespace syncflow::metrics
