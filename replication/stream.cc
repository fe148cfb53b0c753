#include "replication/stream.h"

#include <algorithm>
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
      probe_(probe),
      received_(options.start) {
  connection_.StartCopyBoth(StartCommand(connection_, options));
  next_status_ = adapter::Clock::now() + status_interval_;
}

std::optional<WalMessage> Stream::Receive() {
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
  if (std::exchange(hears_, false)) {
    heard_ = adapter::Clock::now();
    probe_.last_message.store(Now(), std::memory_order_relaxed);
  }
  connection_.ConsumeInput();
  return connection_.Wait(adapter::Clock::time_point::min());
}

void Stream::Wait(adapter::Clock::time_point deadline, int wake_fd) {
  bool queued = !connection_.FlushOutput();
  connection_.Wait(deadline, queued, wake_fd);
}

void Stream::Confirm(Lsn durable) {
  Assert(durable >= durable_, "the durable position never falls");
  Assert(durable <= received_, "nothing is confirmed that was not received");
  durable_ = durable;
}

void Stream::SendStatusIfDue() {
  bool due = adapter::Clock::now() >= next_status_;
  bool progress =
      durable_.bytes() - confirmed_sent_.bytes() >= kProgressBytes && !confirmed_sent_.IsZero();
  bool answered = server_waits_ && durable_ > confirmed_sent_;
  if (!due && !reply_requested_ && !progress && !answered) return;
  auto& cause = due                ? probe_.status_by_timer
                : reply_requested_ ? probe_.status_by_request
                                   : probe_.status_by_progress;
  cause.fetch_add(1, std::memory_order_relaxed);
  SendStatus();
}

void Stream::SendStatus() {
  // A slot that was confirmed further by an earlier connection is not taken back: PostgreSQL
  // ignores lower values.
  StatusUpdate update{received_, durable_, durable_, std::chrono::system_clock::now()};
  update.reply_requested = silence() > kSilence;
  connection_.PutCopyData(EncodeStatusUpdate(update));
  confirmed_sent_ = durable_;
  reply_requested_ = false;
  if (confirmed_sent_ >= received_) server_waits_ = false;
  next_status_ = adapter::Clock::now() + status_interval_;
}

void Stream::End() noexcept {
  connection_.EndCopy();
}

}  // namespace syncflow::replication
