#include "sidecar/lag_history.h"

#include <algorithm>
#include <chrono>
#include <nlohmann/json.hpp>

#include "sidecar/now.h"

namespace syncflow {
namespace {

using namespace std::chrono_literals;

constexpr auto kEvery = 2s;
constexpr size_t kSamplesMax = 300;

int64_t NowMs() {
  return MicrosecondsNow() / 1000;
}

}  // namespace

LagHistory::LagHistory(const PipelineProbe& probe)
    : probe_(probe),
      level_at_(NowMs()),
      sampler_([this](const std::stop_token& stop) { Run(stop); }) {}

Lag LagHistory::Now() {
  std::lock_guard held(mutex_);
  return Measure(NowMs());
}

// A commit long ago is no lag where nothing was committed since: it counts from the moment when all
// was level at the earliest.
Lag LagHistory::Measure(int64_t now) {
  Lag lag;
  uint64_t server = probe_.stream.server_wal_end;
  uint64_t confirmed = probe_.confirmed_position;
  if (confirmed != 0 && server > confirmed) lag.bytes = server - confirmed;
  if (probe_.durable_position >= server) level_at_ = now;
  int64_t since = std::max(level_at_, probe_.last_commit_time / 1000);
  lag.seconds = static_cast<double>(std::max<int64_t>(0, now - since)) / 1000;
  return lag;
}

std::string LagHistory::Json() {
  nlohmann::json samples = nlohmann::json::array();
  std::lock_guard held(mutex_);
  for (const Sample& one : samples_)
    samples.push_back({one.at, one.lag.seconds, one.lag.bytes, one.changes});
  return nlohmann::json{{"samples", samples}}.dump() + "\n";
}

void LagHistory::Run(const std::stop_token& stop) {
  std::unique_lock held(mutex_);
  while (!stop.stop_requested()) {
    int64_t now = NowMs();
    samples_.push_back({now, Measure(now), probe_.changes});
    if (samples_.size() > kSamplesMax) samples_.pop_front();
    stopped_.wait_for(held, stop, kEvery, [] { return false; });
  }
}

}  // namespace syncflow
