// What SlotWatch saw at its last look, read by any thread. Sizes in bytes; -1 = not known, or
// without limit.
#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <string_view>

#include "sidecar/latency.h"

namespace syncflow {

// pg_replication_slots.wal_status; kAbsent: there is no such slot.
enum class WalStatus { kUnknown, kAbsent, kReserved, kExtended, kUnreserved, kLost };
inline constexpr std::array<std::string_view, 6> kWalStatuses = {
    "unknown", "absent", "reserved", "extended", "unreserved", "lost"};

struct SlotProbe {
  std::atomic<WalStatus> wal_status{WalStatus::kUnknown};  // kUnknown: the last look failed
  std::atomic<bool> active{false};                         // a walsender reads it
  std::atomic<int64_t> held_bytes{-1};                     // WAL that the server keeps for it
  std::atomic<int64_t> left_bytes{-1};                     // until it is lost
  std::atomic<bool> endangered{false};        // less than half of max_slot_wal_keep_size is left
  std::atomic<uint64_t> restart_position{0};  // LSN as bytes; 0 = not known
  std::atomic<int64_t> spilled_bytes{-1};     // by transactions beyond logical_decoding_work_mem
  std::atomic<int64_t> spilled_transactions{0};
  std::atomic<int64_t> decoded_bytes{0};     // of all transactions that the server decoded for it
  std::atomic<int64_t> xmin_age{-1};         // transactions whose dead catalog rows it keeps
  std::atomic<uint64_t> server_position{0};  // end of the server's WAL, LSN as bytes

  // Heartbeats: small messages in the WAL, from before the commit to their arrival here.
  Latencies heartbeat_roundtrip;
  std::atomic<uint64_t> heartbeats_unseen{0};   // that took longer than kHeartbeatMax
  std::atomic<uint64_t> heartbeats_refused{0};  // by the server

  std::atomic<uint64_t> look_nanoseconds{0};  // that the last one took
  std::atomic<uint64_t> looks{0};
  std::atomic<uint64_t> looks_failed{0};  // of these, because PostgreSQL was away
};

}  // namespace syncflow
