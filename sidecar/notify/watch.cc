#include "sidecar/notify/watch.h"

#include <functional>
#include <mutex>
#include <thread>
#include <utility>
#include <vector>

#include "sidecar/log/log.h"
#include "sidecar/notify/ledger.h"
#include "sidecar/now.h"

namespace syncflow::notify {
namespace {

using std::chrono::milliseconds;
using Clock = std::chrono::steady_clock;

constexpr size_t kInboxMax = 65'536;
constexpr auto kComplainEvery = std::chrono::minutes(1);

uint64_t KeyOf(std::string_view operation_id) {
  return std::hash<std::string_view>{}(operation_id);
}

struct Batch {
  Clock::time_point at;
  std::vector<uint64_t> keys;
};

// Batches on their way from the ingest thread to the watch's.
class Inbox {
 public:
  // False when there is no room; the batch is dropped then.
  bool Put(Batch&& batch) {
    std::lock_guard lock(mutex_);
    if (entries_ + batch.keys.size() > kInboxMax) return false;
    entries_ += batch.keys.size();
    batches_.push_back(std::move(batch));
    return true;
  }
  std::vector<Batch> TakeAll() {
    std::lock_guard lock(mutex_);
    entries_ = 0;
    return std::exchange(batches_, {});
  }

 private:
  std::mutex mutex_;
  std::vector<Batch> batches_;
  size_t entries_ = 0;
};

}  // namespace

struct Watch::State {
  explicit State(Options options)
      : listener(std::move(options.listener)), ledger({.settle = options.settle}) {}

  void Run();

  // ---- on the watch's thread ----
  void OnNotice(const adapter::OperationNotice& notice);
  void OnGapBegin(const adapter::Error& error);
  void OnGapEnd(milliseconds away);
  void OnTick();
  void TakeDelivered();
  void Report(const Gap& gap) const;
  void ReportUnexplained(Clock::time_point now);

  Probe probe;
  Inbox inbox;
  adapter::Listener listener;

  // The watch's thread.
  Ledger ledger;
  bool ever_connected = false;
  uint64_t unexplained_reported = 0;
  Clock::time_point unexplained_reported_at{};

  // The ingest thread.
  std::vector<uint64_t> keys;
  size_t too_many = 0;  // not in `keys`, which is full
  uint64_t last_key = 0;

  std::thread thread;
};

void Watch::State::Run() {
  listener.Run({.notice = [this](const adapter::OperationNotice& notice) { OnNotice(notice); },
                .gap_begin = [this](const adapter::Error& error) { OnGapBegin(error); },
                .gap_end = [this](milliseconds away) { OnGapEnd(away); },
                .foreign = [this](std::string_view) { ++probe.foreign_payloads; },
                .tick = [this] { OnTick(); }});
  probe.connected = false;
}

void Watch::State::OnNotice(const adapter::OperationNotice& notice) {
  ++probe.announced;
  probe.last_announced = MicrosecondsNow();
  ledger.Announced(KeyOf(notice.id), Clock::now());
}

void Watch::State::OnGapBegin(const adapter::Error& error) {
  probe.connected = false;
  TakeDelivered();
  ledger.GapBegins(Clock::now());
  if (ever_connected) ++probe.gaps;
  log::Warning("notify", "LISTEN is not in force; the slot delivers all the same",
               {{"reason", error.Explain()}});
}

void Watch::State::OnGapEnd(milliseconds away) {
  TakeDelivered();
  ledger.GapEnds(Clock::now(), away);
  probe.gap_milliseconds += static_cast<uint64_t>(away.count());
  probe.connected = true;
  ever_connected = true;
  log::Info("notify", "LISTEN is in force", {{"away_ms", away.count()}});
}

void Watch::State::OnTick() {
  TakeDelivered();
  Clock::time_point now = Clock::now();
  for (const Gap& gap : ledger.Settle(now)) Report(gap);
  probe.recovered = ledger.recovered();
  ReportUnexplained(now);
}

void Watch::State::TakeDelivered() {
  uint64_t unjudged_before = ledger.unjudged();
  for (const Batch& batch : inbox.TakeAll()) {
    for (uint64_t key : batch.keys) ledger.Delivered(key, batch.at);
  }
  probe.unjudged += ledger.unjudged() - unjudged_before;
}

void Watch::State::Report(const Gap& gap) const {
  if (gap.at_start && gap.recovered == 0) return;
  log::Info("notify",
            gap.at_start ? "the slot delivered operations from before LISTEN was in force"
                         : "NOTIFY had a gap; the slot delivered what it missed",
            {{"gap_ms", gap.away.count()}, {"recovered", gap.recovered}});
}

void Watch::State::ReportUnexplained(Clock::time_point now) {
  if (ledger.unexplained() == unexplained_reported) return;
  bool due = unexplained_reported == 0 || now - unexplained_reported_at >= kComplainEvery;
  if (!due) return;
  log::Warning("notify",
               "operations came without NOTIFY although LISTEN was in force: they were written "
               "before the start, or the trigger operation_insert_trigger is missing or disabled",
               {{"operations", ledger.unexplained() - unexplained_reported}});
  unexplained_reported = ledger.unexplained();
  unexplained_reported_at = now;
}

Watch::Watch(Options options) : state_(std::make_unique<State>(std::move(options))) {}

Watch::~Watch() {
  Stop();
}

void Watch::Start() {
  state_->thread = std::thread([this] { state_->Run(); });
}

void Watch::Stop() {
  if (!state_->thread.joinable()) return;
  state_->listener.Stop();
  state_->thread.join();
}

void Watch::Delivered(std::string_view operation_id) {
  uint64_t key = KeyOf(operation_id);
  // A reconnect repeats the one operation that was decoded but not yet appended.
  if (key == state_->last_key) return;
  state_->last_key = key;
  if (state_->keys.size() < kInboxMax) {
    state_->keys.push_back(key);
  } else {
    ++state_->too_many;
  }
}

void Watch::FlushDelivered() {
  size_t count = state_->keys.size();
  size_t lost = std::exchange(state_->too_many, 0);
  if (count == 0) return;
  std::vector<uint64_t> next;
  next.reserve(count);
  bool taken = state_->inbox.Put({Clock::now(), std::exchange(state_->keys, std::move(next))});
  state_->probe.delivered += count + lost;
  state_->probe.unjudged += lost + (taken ? 0 : count);
}

const Probe& Watch::probe() const {
  return state_->probe;
}

}  // namespace syncflow::notify
