#include "sidecar/slot_watch.h"

#include <poll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <utility>

#include "replication/lsn.h"
#include "sidecar/log/log.h"

namespace syncflow {
namespace {

using Clock = std::chrono::steady_clock;

// Each costs the server a commit record and, before 17, a transaction number.
constexpr std::chrono::seconds kHeartbeatInterval{10};
constexpr std::chrono::seconds kHeartbeatMax{5};

SlotWatchOptions WithStop(SlotWatchOptions options, int stop_fd) {
  options.connect.stop_fd = stop_fd;
  return options;
}

int64_t NumberOr(const adapter::Result& result, int column, int64_t otherwise) {
  return result.IsNull(0, column) ? otherwise
                                  : std::atoll(std::string(result.Get(0, column)).c_str());
}

WalStatus StatusOf(std::string_view name) {
  auto found = std::find(kWalStatuses.begin(), kWalStatuses.end(), name);
  return found == kWalStatuses.end() ? WalStatus::kUnknown
                                     : static_cast<WalStatus>(found - kWalStatuses.begin());
}

}  // namespace

SlotWatch::SlotWatch(SlotWatchOptions options, std::function<void(const Sight&)> tell)
    : wake_fd_(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)),
      options_(WithStop(std::move(options), wake_fd_)),
      tell_(std::move(tell)) {}

SlotWatch::~SlotWatch() {
  Stop();
  close(wake_fd_);
}

void SlotWatch::Start() {
  thread_ = std::thread([this] { Run(); });
}

void SlotWatch::Stop() {
  stopping_ = true;
  eventfd_write(wake_fd_, 1);
  if (thread_.joinable()) thread_.join();
}

// PostgreSQL being away is the stream's to tell.
void SlotWatch::Run() {
  std::optional<adapter::Connection> connection;
  do {
    ++probe_.looks;
    try {
      if (!connection) Prepare(connection.emplace(options_.connect));
      Look(*connection);
      SendHeartbeat(*connection);
    } catch (const adapter::Error&) {
      ++probe_.looks_failed;
      Forget();
      connection.reset();
    }
  } while (Sleep());
}

// What is not known any more is not told as if it were; the danger stays until it is seen to be
// over.
void SlotWatch::Forget() {
  probe_.wal_status = WalStatus::kUnknown;
  probe_.held_bytes = probe_.left_bytes = probe_.spilled_bytes = probe_.xmin_age = -1;
  probe_.restart_position = 0;
}

// A heartbeat that waited for an absent synchronous standby would be an open transaction that
// every new slot waits for, even after this process is gone.
void SlotWatch::Prepare(adapter::Connection& connection) {
  connection.Execute("SET synchronous_commit = local");
}

bool SlotWatch::Sleep() {
  pollfd wake{wake_fd_, POLLIN, 0};
  poll(&wake, 1, static_cast<int>(options_.interval.count()));
  return !stopping_;
}

void SlotWatch::Look(adapter::Connection& connection) {
  auto began = adapter::Clock::now();
  LookAtSlot(connection);
  probe_.look_nanoseconds = static_cast<uint64_t>((adapter::Clock::now() - began).count());
  tell_({began, reader_, replication::TableVersion(connection, options_.streamed)});
}

void SlotWatch::LookAtSlot(adapter::Connection& connection) {
  adapter::Result found = connection.Query(
      "SELECT s.active, pg_catalog.pg_current_wal_lsn() - s.restart_lsn, s.safe_wal_size, "
      "s.wal_status IN ('unreserved', 'lost') OR s.safe_wal_size < (SELECT setting::bigint * "
      "524288 FROM pg_catalog.pg_settings WHERE name = 'max_slot_wal_keep_size'), t.spill_bytes, "
      "s.wal_status, pg_catalog.age(s.catalog_xmin), pg_catalog.pg_current_wal_lsn(), "
      "s.active_pid, s.restart_lsn, t.spill_txns, t.total_bytes FROM "
      "pg_catalog.pg_replication_slots s LEFT JOIN "
      "pg_catalog.pg_stat_replication_slots t "
      "USING (slot_name) WHERE s.slot_name = $1",
      {options_.streamed.slot});
  reader_.reset();
  if (found.rows() == 0) {
    Forget();
    probe_.wal_status = WalStatus::kAbsent;
    probe_.active = false;
    return Endangered(false);
  }
  if (!found.IsNull(0, 8)) reader_ = static_cast<int>(NumberOr(found, 8, 0));
  probe_.active = found.Get(0, 0) == "t";
  probe_.held_bytes = NumberOr(found, 1, -1);
  probe_.left_bytes = NumberOr(found, 2, -1);
  probe_.spilled_bytes = NumberOr(found, 4, -1);
  probe_.spilled_transactions = NumberOr(found, 10, 0);
  probe_.decoded_bytes = NumberOr(found, 11, 0);
  auto restart = replication::Lsn::Parse(found.Get(0, 9));
  probe_.restart_position = restart ? restart->bytes() : 0;
  probe_.wal_status = StatusOf(found.Get(0, 5));
  probe_.xmin_age = NumberOr(found, 6, -1);
  if (auto end = replication::Lsn::Parse(found.Get(0, 7))) probe_.server_position = end->bytes();
  Endangered(found.Get(0, 3) == "t");
}

void SlotWatch::Endangered(bool endangered) {
  if (probe_.endangered.exchange(endangered) == endangered) return;
  if (!endangered) return log::Info("slot", "the slot is out of danger");
  log::Error("slot",
             "PostgreSQL is about to give the slot up, since it holds back more than half of "
             "max_slot_wal_keep_size: find out why it does not advance, or raise the limit",
             {{"held_bytes", probe_.held_bytes.load()}, {"left_bytes", probe_.left_bytes.load()}});
}

// A server that refuses (one that only reads) is not asked less often: it may change.
void SlotWatch::SendHeartbeat(adapter::Connection& connection) {
  auto sent = Clock::now();
  if (sent < heartbeat_due_ || !options_.received()) return;
  heartbeat_due_ = sent + kHeartbeatInterval;
  try {
    adapter::Result written = connection.Query(
        "SELECT pg_catalog.pg_logical_emit_message(true, 'syncflow_sidecar', '')", {});
    if (auto position = replication::Lsn::Parse(written.Get(0, 0)))
      AwaitHeartbeat(position->bytes(), sent);
  } catch (const adapter::Error& error) {
    if (error.NeedsReconnect()) throw;
    ++probe_.heartbeats_refused;
  }
}

void SlotWatch::AwaitHeartbeat(uint64_t position, Clock::time_point sent) {
  auto seen = [&] { return options_.received().value_or(0) >= position; };
  while (!seen() && !stopping_ && Clock::now() < sent + kHeartbeatMax)
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  if (stopping_) return;
  if (!seen()) ++probe_.heartbeats_unseen;
  probe_.heartbeat_roundtrip.Observe(Clock::now() - sent);
}

}  // namespace syncflow
