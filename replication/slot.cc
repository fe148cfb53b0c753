#include "replication/slot.h"

#include <algorithm>
#include <charconv>

#include "replication/server_version.h"

namespace syncflow::replication {
namespace {

Lsn ToLsn(std::string_view text) {
  return Lsn::Parse(text).value_or(Lsn());
}

uint32_t ToTimeline(std::string_view text) {
  uint32_t value = 0;
  std::from_chars(text.data(), text.data() + text.size(), value);
  return value;
}

std::string DropHint(const Slot& slot) {
  return "choose another replication.slot, or drop this one if nothing else needs it: SELECT "
         "pg_drop_replication_slot('" +
         slot.name + "')";
}

}  // namespace

SystemIdentity IdentifySystem(adapter::Connection& connection) {
  adapter::Result result = connection.Execute("IDENTIFY_SYSTEM");
  return {std::string(result.Get(0, 0)), ToTimeline(result.Get(0, 1)), ToLsn(result.Get(0, 2)),
          std::string(result.Get(0, 3))};
}

std::optional<Lsn> FindSwitchPoint(adapter::Connection& connection, uint32_t timeline,
                                   uint32_t ancestor) {
  adapter::Result result = connection.Execute("TIMELINE_HISTORY " + std::to_string(timeline));
  return SwitchPointIn(result.Get(0, 1), ancestor);
}

std::optional<Lsn> SwitchPointIn(std::string_view history, uint32_t ancestor) {
  while (!history.empty()) {
    std::string_view line = history.substr(0, history.find('\n'));
    history.remove_prefix(std::min(history.size(), line.size() + 1));
    size_t number_end = line.find('\t');
    if (number_end == line.npos || ToTimeline(line.substr(0, number_end)) != ancestor) continue;
    line.remove_prefix(number_end + 1);
    return Lsn::Parse(line.substr(0, line.find('\t')));
  }
  return std::nullopt;
}

std::optional<Slot> FindSlot(adapter::Connection& connection, const std::string& name) {
  adapter::Result result = connection.Execute(
      "SELECT plugin, database, temporary, active_pid, restart_lsn, confirmed_flush_lsn, "
      "wal_status "
      "FROM pg_catalog.pg_replication_slots WHERE slot_name = " +
      connection.QuoteLiteral(name));
  if (result.rows() == 0) return std::nullopt;
  Slot slot;
  slot.name = name;
  slot.plugin = result.Get(0, 0);
  slot.database = result.Get(0, 1);
  slot.temporary = result.Get(0, 2) == "t";
  if (!result.IsNull(0, 3)) slot.active_pid = std::stoi(std::string(result.Get(0, 3)));
  slot.restart = ToLsn(result.Get(0, 4));
  slot.confirmed_flush = ToLsn(result.Get(0, 5));
  slot.wal_status = result.Get(0, 6);
  return slot;
}

std::vector<std::string> RunningTransactions(adapter::Connection& connection) {
  adapter::Result found = connection.Execute(
      "SELECT what || ', since ' || date_trunc('second', began) || ')' FROM (SELECT 'process ' || "
      "pid || ' (' || coalesce(application_name, '') AS what, xact_start AS began FROM "
      "pg_catalog.pg_stat_activity WHERE backend_xid IS NOT NULL AND pid <> "
      "pg_catalog.pg_backend_pid() UNION ALL SELECT 'prepared (' || gid, prepared FROM "
      "pg_catalog.pg_prepared_xacts) t ORDER BY began LIMIT 5");
  std::vector<std::string> transactions;
  for (int row = 0; row < found.rows(); ++row) transactions.emplace_back(found.Get(row, 0));
  return transactions;
}

NewSlot CreateSlot(adapter::Connection& connection, const std::string& name,
                   const std::string& plugin, SlotLife life) {
  std::string command = "CREATE_REPLICATION_SLOT " + connection.QuoteIdentifier(name) +
                        (life == SlotLife::kTemporary ? " TEMPORARY" : "") + " LOGICAL " +
                        connection.QuoteIdentifier(plugin) +
                        ExportSnapshot(connection.server_version());
  try {
    adapter::Result result = connection.Execute(command);
    return {ToLsn(result.Get(0, 1)), std::string(result.Get(0, 2))};
  } catch (const adapter::Error& error) {
    if (!error.sqlstate().empty()) throw;
    // It waits for every transaction that was running, and the protocol has no limit of its own.
    throw adapter::Error(
        "the replication slot '" + name + "' could not be created in time: " + error.what(), "",
        "end old transactions: SELECT pid, xact_start, query FROM pg_stat_activity WHERE "
        "backend_xid IS NOT NULL ORDER BY xact_start; SELECT * FROM pg_prepared_xacts");
  }
}

void CheckSlot(const Slot& slot, const std::string& plugin, const std::string& database) {
  // 55000, object_not_in_prerequisite_state, is what PostgreSQL itself answers in these cases.
  if (slot.plugin != plugin) {
    throw adapter::Error(
        "the replication slot '" + slot.name + "' belongs to " +
            (slot.plugin.empty() ? "physical replication" : "the plugin " + slot.plugin) +
            ", not to " + plugin,
        "55000", DropHint(slot));
  }
  if (slot.database != database) {
    throw adapter::Error("the replication slot '" + slot.name + "' belongs to the database '" +
                             slot.database + "', but postgres.url names '" + database + "'",
                         "55000", DropHint(slot));
  }
  if (slot.temporary) {
    throw adapter::Error(
        "the replication slot '" + slot.name + "' is temporary and would forget its position",
        "55000", DropHint(slot));
  }
}

void CopySlot(adapter::Connection& connection, const std::string& from, const std::string& to,
              const std::string& plugin) {
  connection.Execute("SELECT pg_catalog.pg_copy_logical_replication_slot(" +
                     connection.QuoteLiteral(from) + ", " + connection.QuoteLiteral(to) +
                     ", false, " + connection.QuoteLiteral(plugin) + ")");
  if (!HasFailoverSlots(connection.server_version())) return;
  connection.Execute("ALTER_REPLICATION_SLOT " + connection.QuoteIdentifier(to) +
                     " (FAILOVER true)");
}

void DropSlot(adapter::Connection& connection, const std::string& name) {
  connection.Execute("DROP_REPLICATION_SLOT " + connection.QuoteIdentifier(name));
}

bool IsInvalidated(const Slot& slot) {
  return slot.wal_status == "lost" || slot.restart.IsZero();
}

bool IsSlotName(const std::string& name) {
  return !name.empty() && name.size() <= 63 && std::all_of(name.begin(), name.end(), [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '_';
  });
}

}  // namespace syncflow::replication
