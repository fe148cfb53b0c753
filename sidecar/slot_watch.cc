#include "sidecar/slot_watch.h"

#include <poll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <utility>

#include "sidecar/log/log.h"

namespace syncflow {
namespace {

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

SlotWatch::SlotWatch(SlotWatchOptions options, std::function<void(const std::string&)> other_table)
    : wake_fd_(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)),
      options_(WithStop(std::move(options), wake_fd_)),
      other_table_(std::move(other_table)) {}

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
    try {
      if (!connection) connection.emplace(options_.connect);
      Look(*connection);
    } catch (const adapter::Error&) {
      probe_.wal_status = WalStatus::kUnknown;
      connection.reset();
    }
  } while (Sleep());
}

bool SlotWatch::Sleep() {
  pollfd wake{wake_fd_, POLLIN, 0};
  poll(&wake, 1, static_cast<int>(options_.interval.count()));
  return !stopping_;
}

void SlotWatch::Look(adapter::Connection& connection) {
  LookAtSlot(connection);
  LookAtTable(connection);
  LookAtPublication(connection);
}

void SlotWatch::LookAtSlot(adapter::Connection& connection) {
  adapter::Result found = connection.Query(
      "SELECT s.active, pg_catalog.pg_current_wal_lsn() - s.restart_lsn, s.safe_wal_size, "
      "s.wal_status IN ('unreserved', 'lost') OR s.safe_wal_size < (SELECT setting::bigint * "
      "524288 FROM pg_catalog.pg_settings WHERE name = 'max_slot_wal_keep_size'), t.spill_bytes, "
      "s.wal_status "
      "FROM pg_catalog.pg_replication_slots s LEFT JOIN pg_catalog.pg_stat_replication_slots t "
      "USING (slot_name) WHERE s.slot_name = $1",
      {options_.slot});
  if (found.rows() == 0) {
    probe_.wal_status = WalStatus::kAbsent;
    probe_.active = false;
    probe_.held_bytes = probe_.left_bytes = probe_.spilled_bytes = -1;
    return Endangered(false);
  }
  probe_.active = found.Get(0, 0) == "t";
  probe_.held_bytes = NumberOr(found, 1, -1);
  probe_.left_bytes = NumberOr(found, 2, -1);
  probe_.spilled_bytes = NumberOr(found, 4, -1);
  probe_.wal_status = StatusOf(found.Get(0, 5));
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

void SlotWatch::LookAtTable(adapter::Connection& connection) {
  adapter::Result found = connection.Query(
      "SELECT c.oid, c.relkind, c.relpersistence FROM pg_catalog.pg_class c JOIN "
      "pg_catalog.pg_namespace n ON n.oid = c.relnamespace WHERE n.nspname = $1 AND c.relname = $2",
      {options_.schema, options_.table});
  std::string now;
  for (int column = 0; found.rows() > 0 && column < 3; ++column)
    now += std::string(found.Get(0, column)) + " ";
  if (!table_ && now.empty()) return;  // nobody has created it yet
  if (!table_) table_ = now;
  if (*std::exchange(table_, now) == now) return;
  std::string name = options_.schema + "." + options_.table;
  other_table_("the table " + name +
               (now.empty() ? " is gone: dropped or renamed"
                            : " is another one than before: "
                              "replaced, renamed, or made "
                              "unlogged or logged"));
}

void SlotWatch::LookAtPublication(adapter::Connection& connection) {
  adapter::Result found = connection.Query(
      "SELECT p.oid, p.xmin, r.oid, r.xmin FROM pg_catalog.pg_replication_slots s LEFT JOIN "
      "pg_catalog.pg_publication p ON p.pubname = $2 LEFT JOIN pg_catalog.pg_publication_rel r ON "
      "r.prpubid = p.oid AND r.prrelid = pg_catalog.to_regclass(pg_catalog.format('%I.%I', "
      "$3::text, $4::text)) WHERE s.slot_name = $1 AND s.plugin = 'pgoutput'",
      {options_.slot, options_.publication, options_.schema, options_.table});
  if (found.rows() == 0) return publication_.reset();
  std::string now;
  for (int column = 0; column < 4; ++column) now += std::string(found.Get(0, column)) + " ";
  if (std::exchange(publication_, now).value_or(now) == now) return;
  other_table_("the publication " + options_.publication + " has changed");
}

}  // namespace syncflow
