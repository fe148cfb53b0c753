#include "replication/stream.h"

#include <algorithm>
#include <condition_variable>
#include <cstdio>
#include <cstdlib>
#include <utility>

namespace syncflow::replication {
namespace {

constexpr std::chrono::seconds kSilence{5};
constexpr uint64_t kProgressBytes = 16ull << 20;  // confirm at once when this much became durable

int64_t Now() {
  auto now = std::chrono::system_clock::now().time_since_epoch();
  return std::chrono::duration_cast<std::chrono::microseconds>(now).count();
}

// The one promise whose breach PostgreSQL would not notice: it believes any position it is told.
void Assert(bool holds, const char* promise) {
  if (holds) return;
  std::fprintf(stderr, "replication: broken promise: %s\n", promise);
  std::abort();
}

std::string StartCommand(const adapter::Connection& connection, const StreamOptions& options) {
  return "START_REPLICATION SLOT " + connection.QuoteIdentifier(options.slot) + " LOGICAL " +
         options.start.ToString() + " " + options.plugin_options;
}

}  // namespace

Stream::Stream(adapter::Connection connection, const StreamOptions& options, Probe& probe)
    : connection_(std::move(connection)),
      status_interval_(options.status_interval),
      give_up_(options.give_up),
      probe_(probe),
      received_(options.start) {
  connection_.StartCopyBoth(StartCommand(connection_, options));
  next_status_ = adapter::Clock::now() + status_interval_;
  keeper_ = std::jthread([this](const std::stop_token& stop) { KeepAlive(stop); });
}

std::optional<WalMessage> Stream::Receive() {
  std::lock_guard held(mutex_);
  auto bytes = connection_.GetCopyData();
  if (!bytes) {
    if (connection_.copy_ended())
      throw adapter::Error("the server ended the replication stream", "57P01");
    return std::nullopt;
  }
  hears_ = true;
  probe_.messages.fetch_add(1, std::memory_order_relaxed);
  probe_.received_bytes.fetch_add(bytes->size(), std::memory_order_relaxed);
  WalMessage message = ParseWalMessage(*bytes);
  std::visit([this](const auto& kind) { Note(kind); }, message);
  return message;
}

void Stream::Note(const XLogData& data) {
  received_ = std::max({received_, data.start, data.wal_end});
  probe_.server_wal_end.store(received_.bytes(), std::memory_order_relaxed);
}

void Stream::Note(const Keepalive& keepalive) {
  received_ = std::max(received_, keepalive.wal_end);
  probe_.server_wal_end.store(received_.bytes(), std::memory_order_relaxed);
  if (!keepalive.reply_requested) return;
  reply_requested_ = true;
  server_waits_ = true;
}

bool Stream::Fill() {
  std::lock_guard held(mutex_);
  if (std::exchange(hears_, false)) {
    heard_ = adapter::Clock::now();
    probe_.last_message.store(Now(), std::memory_order_relaxed);
  }
  connection_.ConsumeInput();
  return connection_.Wait(adapter::Clock::time_point::min());
}

void Stream::Wait(adapter::Clock::time_point deadline, int wake_fd) {
  std::lock_guard held(mutex_);
  bool queued = !connection_.FlushOutput();
  connection_.Wait(deadline, queued, wake_fd);
}

void Stream::Confirm(Lsn durable) {
  std::lock_guard held(mutex_);
  Assert(durable >= durable_, "the durable position never falls");
  Assert(durable <= received_, "nothing is confirmed that was not received");
  durable_ = durable;
}

void Stream::SendStatusIfDue() {
  std::lock_guard held(mutex_);
  bool due = adapter::Clock::now() >= next_status_;
  bool progress =
      durable_.bytes() - confirmed_sent_.bytes() >= kProgressBytes && !confirmed_sent_.IsZero();
  bool answered = server_waits_ && durable_ > confirmed_sent_;
  if (!due && !reply_requested_ && !progress && !answered) return;
  auto& cause = due                ? probe_.status_by_timer
                : reply_requested_ ? probe_.status_by_request
                                   : probe_.status_by_progress;
  cause.fetch_add(1, std::memory_order_relaxed);
  SendStatusNow();
}

void Stream::SendStatus() {
  std::lock_guard held(mutex_);
  SendStatusNow();
}

void Stream::SendStatusNow() {
  // A slot that was confirmed further by an earlier connection is not taken back: PostgreSQL
  // ignores lower values.
  StatusUpdate update{received_, durable_, durable_, std::chrono::system_clock::now()};
  update.reply_requested = adapter::Clock::now() - heard_ > kSilence;
  connection_.PutCopyData(EncodeStatusUpdate(update));
  confirmed_sent_ = durable_;
  reply_requested_ = false;
  if (confirmed_sent_ >= received_) server_waits_ = false;
  next_status_ = adapter::Clock::now() + status_interval_;
}

void Stream::End() noexcept {
  std::lock_guard held(mutex_);
  connection_.EndCopy();
}

// Waits for nobody: where the lock is taken, the ingest thread is here and looks after the timer
// itself.
void Stream::KeepAlive(const std::stop_token& stop) {
  std::mutex sleeping;
  std::condition_variable_any wake;
  std::unique_lock asleep(sleeping);
  while (!wake.wait_for(asleep, stop, status_interval_ / 4, [] { return false; }) &&
         !stop.stop_requested()) {
    if (give_up_ && give_up_()) return connection_.Abandon();
    std::unique_lock held(mutex_, std::try_to_lock);
    if (!held || adapter::Clock::now() < next_status_) continue;
    try {
      SendStatusNow();
      probe_.status_by_keeper.fetch_add(1, std::memory_order_relaxed);
    } catch (const adapter::Error&) {
      return;  // the ingest thread meets it as well
    }
  }
}

adapter::Clock::time_point Stream::next_status() const {
  std::lock_guard held(mutex_);
  return next_status_;
}

bool Stream::server_waits() const {
  std::lock_guard held(mutex_);
  return server_waits_ && confirmed_sent_ < received_;
}

adapter::Clock::duration Stream::silence() const {
  std::lock_guard held(mutex_);
  return adapter::Clock::now() - heard_;
}

Lsn Stream::confirmed() const {
  std::lock_guard held(mutex_);
  return confirmed_sent_;
}

}  // namespace syncflow::replication
