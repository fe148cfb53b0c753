#include "sidecar/status.h"

#include <nlohmann/json.hpp>

#include "sidecar/version.h"

namespace syncflow {
namespace {

using Json = nlohmann::ordered_json;

std::string Text(uint64_t lsn) {
  return replication::Lsn(lsn).ToString();
}

Json Positions(const PipelineProbe& probe) {
  uint64_t server = probe.stream.server_wal_end;
  uint64_t confirmed = probe.confirmed_position;
  return {{"server", Text(server)},
          {"received", Text(probe.received_position)},
          {"appended", Text(probe.appended_position)},
          {"durable", Text(probe.durable_position)},
          {"confirmed", Text(confirmed)},
          {"lag_bytes", server > confirmed ? server - confirmed : 0}};
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

}  // namespace

std::string StatusJson(const StatusSources& sources) {
  const PipelineProbe& pipeline = sources.pipeline;
  Json out = {{"version", kVersion},
              {"state", kPipelineStates[static_cast<size_t>(pipeline.state.load())]},
              {"slot", SlotOf(sources.slot, sources.slot_watch)},
              {"changes", pipeline.changes.load()},
              {"transactions", pipeline.transactions.load()},
              {"history_losses", pipeline.losses.load()},
              {"recovered", pipeline.recovered.load()},
              {"skipped", pipeline.skipped.load()},
              {"positions", Positions(pipeline)},
              {"journal", JournalOf(sources.journal)},
              {"feed", FeedOf(sources.feed)},
              {"notify", NotifyOf(sources.notify)}};
  bool streaming = pipeline.state == PipelineState::kStreaming;
  out["last_error"] = streaming ? "" : pipeline.last_error.Get();
  return out.dump(2, ' ', false, Json::error_handler_t::replace) + "\n";
}

}  // namespace syncflow
