#include "sidecar/status.h"

#include <nlohmann/json.hpp>

#include "sidecar/consumers_page.h"
#include "sidecar/feed/encode.h"
#include "sidecar/version.h"

namespace syncflow {
namespace {

using Json = nlohmann::ordered_json;

std::string Text(uint64_t lsn) {
  return replication::Lsn(lsn).ToString();
}

// Null for "never".
Json Time(int64_t microseconds) {
  return microseconds == 0 ? Json() : Json(feed::FormatTime(microseconds));
}
Json Time(std::chrono::system_clock::time_point time) {
  using std::chrono::microseconds;
  return Time(std::chrono::duration_cast<microseconds>(time.time_since_epoch()).count());
}

Json Positions(const PipelineProbe& probe, const Lag& lag) {
  return {{"server", Text(probe.stream.server_wal_end)},
          {"received", Text(probe.received_position)},
          {"appended", Text(probe.appended_position)},
          {"durable", Text(probe.durable_position)},
          {"confirmed", Text(probe.confirmed_position)},
          {"lag_bytes", lag.bytes},
          {"lag_seconds", lag.seconds},
          {"last_commit_at", Time(probe.last_commit_time)}};
}

Json SlotOf(const std::string& name, const SlotProbe& probe) {
  auto size = [](int64_t bytes) { return bytes < 0 ? Json() : Json(bytes); };
  return {{"name", name},
          {"active", probe.active.load()},
          {"wal_status", kWalStatuses[static_cast<size_t>(probe.wal_status.load())]},
          {"endangered", probe.endangered.load()},
          {"retained_bytes", size(probe.held_bytes)},
          {"safe_bytes", size(probe.left_bytes)},
          {"spilled_bytes", size(probe.spilled_bytes)}};
}

Json JournalOf(const journal::Journal& journal) {
  Json out = Json::object();
  if (auto epoch = journal.epoch()) {
    out["earliest"] = journal::Cursor{*epoch, journal.earliest().base}.ToString();
    out["head"] = journal::Cursor{*epoch, journal.head().position}.ToString();
  }
  journal::Probe probe = journal.probe();
  out["segments"] = probe.segments;
  out["size_bytes"] = probe.size_bytes;
  out["oldest_at"] = Time(probe.oldest);
  return out;
}

Json FeedOf(const feed::Feed& feed) {
  const feed::Probe& probe = feed.probe();
  return {{"port", feed.port()},
          {"consumers", probe.consumers.load()},
          {"delivered_bytes", probe.delivered_bytes.load()}};
}

Json NotifyOf(const notify::Probe* probe) {
  if (probe == nullptr) return {{"watched", false}};
  return {{"watched", true},
          {"connected", probe->connected.load()},
          {"gaps", probe->gaps.load()},
          {"gap_ms", probe->gap_milliseconds.load()},
          {"announced", probe->announced.load()},
          {"recovered", probe->recovered.load()}};
}

Json SyncApiOf(const sync_api::SyncApi* api) {
  if (api == nullptr) return {{"serves", false}};
  adapter::PoolProbe pool = api->pool_probe();
  return {{"serves", true},
          {"port", api->port()},
          {"connections", api->probe().connections.load()},
          {"pool", {{"idle", pool.idle}, {"in_use", pool.in_use}, {"waits", pool.waits}}}};
}

Json GapsOf(const LastGaps& gaps) {
  Json list = Json::array();
  for (const ToldGap& gap : gaps.Get())
    list.push_back({{"at", Time(gap.at)}, {"code", gap.code}, {"reason", gap.reason}});
  return list;
}

Json RunOf(const compaction::JobRun& run) {
  return {{"due", Time(run.due)},
          {"started", Time(run.started)},
          {"ended", Time(run.ended)},
          {"outcome", compaction::kOutcomes[static_cast<size_t>(run.outcome)]},
          {"reason", run.reason},
          {"eligible", run.eligible},
          {"deleted", run.deleted},
          {"limited", run.limited}};
}

// The newest run first.
Json CompactionOf(const compaction::Scheduler& scheduler) {
  compaction::Status status = scheduler.status();
  Json jobs = Json::array();
  for (const compaction::JobStatus& job : status.jobs) {
    Json runs = Json::array();
    for (auto run = job.runs.rbegin(); run != job.runs.rend(); ++run) runs.push_back(RunOf(*run));
    jobs.push_back(
        {{"name", job.name}, {"schedule", job.schedule}, {"next", Time(job.next)}, {"runs", runs}});
  }
  return {{"running", status.running ? Json(*status.running) : Json()},
          {"deleted", scheduler.probe().deleted.load()},
          {"jobs", jobs}};
}

}  // namespace

std::string StatusJson(const StatusSources& sources) {
  const PipelineProbe& pipeline = sources.pipeline;
  Json out = {{"version", kVersion},
              {"at", Time(std::chrono::system_clock::now())},
              {"started_at", Time(sources.started)},
              {"state", kPipelineStates[static_cast<size_t>(pipeline.state.load())]},
              {"slot", SlotOf(sources.slot, sources.slot_watch)},
              {"changes", pipeline.changes.load()},
              {"transactions", pipeline.transactions.load()},
              {"history_losses", pipeline.losses.load()},
              {"recovered", pipeline.recovered.load()},
              {"skipped", pipeline.skipped.load()},
              {"positions", Positions(pipeline, sources.lag.Now())},
              {"journal", JournalOf(sources.journal)},
              {"feed", FeedOf(sources.feed)},
              {"consumers", Json::parse(ConsumersJson(sources.journal))},
              {"notify", NotifyOf(sources.notify)},
              {"sync_api", SyncApiOf(sources.sync_api)},
              {"compaction", CompactionOf(sources.compaction)},
              {"gaps", GapsOf(pipeline.last_gaps)}};
  bool streaming = pipeline.state == PipelineState::kStreaming;
  out["last_error"] = streaming ? "" : pipeline.last_error.Get();
  return out.dump(2, ' ', false, Json::error_handler_t::replace) + "\n";
}

}  // namespace syncflow
