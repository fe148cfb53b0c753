// The replication slot: PostgreSQL's own bookmark. All functions work on a replication connection.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "adapter/connection.h"
#include "replication/lsn.h"

namespace syncflow::replication {

// IDENTIFY_SYSTEM.
struct SystemIdentity {
  std::string system_identifier;
  uint32_t timeline = 0;
  Lsn flushed;  // the server's end of WAL
  std::string database;
};

struct Slot {
  std::string name;
  std::string plugin;
  std::string database;
  bool temporary = false;
  std::optional<int> active_pid;
  Lsn restart;             // oldest WAL it holds back; zero when invalidated
  Lsn confirmed_flush;     // the stream starts here at the earliest
  std::string wal_status;  // reserved | extended | unreserved | lost
};

SystemIdentity IdentifySystem(adapter::Connection& connection);

// Where `timeline` branched off from its ancestor (directly or over others): what the ancestor
// wrote before belongs to both. nullopt when it is none. TIMELINE_HISTORY.
std::optional<Lsn> FindSwitchPoint(adapter::Connection& connection, uint32_t timeline,
                                   uint32_t ancestor);
// The same from the history file's text: lines of "timeline <tab> LSN <tab> reason".
std::optional<Lsn> SwitchPointIn(std::string_view history, uint32_t ancestor);

std::optional<Slot> FindSlot(adapter::Connection& connection, const std::string& name);

struct NewSlot {
  // Its consistent point: every transaction that commits at or after it will be sent.
  Lsn start;
  // What was committed before it, for SET TRANSACTION SNAPSHOT, until `connection` is used again.
  std::string snapshot;
};

// Transactions that write now, oldest first, as far as this role may see them: "process 4711 (psql,
// since 2026-11-23 09:14:20)". At most five. Any connection.
std::vector<std::string> RunningTransactions(adapter::Connection& connection);

// Creates a slot; waits for the transactions that run now to end, at most the connection's timeout.
// A temporary one goes with its connection.
enum class SlotLife { kPermanent, kTemporary };
NewSlot CreateSlot(adapter::Connection& connection, const std::string& name,
                   const std::string& plugin, SlotLife life = SlotLife::kPermanent);

// Another slot at the same position, of another plugin perhaps: what `from` would send next, `to`
// sends as well.
void CopySlot(adapter::Connection& connection, const std::string& from, const std::string& to,
              const std::string& plugin);

// Fails with 55006 while somebody reads it.
void DropSlot(adapter::Connection& connection, const std::string& name);

// PostgreSQL has removed WAL that it had not sent.
bool IsInvalidated(const Slot& slot);

// Throws adapter::Error with the remedy when the slot is not one this sidecar can use: another
// plugin, another database, or temporary.
void CheckSlot(const Slot& slot, const std::string& plugin, const std::string& database);

// The slot lets PostgreSQL name [a-z0-9_]{1,63}.
bool IsSlotName(const std::string& name);

}  // namespace syncflow::replication
