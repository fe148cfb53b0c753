#pragma once

#include <atomic>
#include <cstdint>

namespace syncflow::replication {

// Counted over all connections, read by any thread.
struct Probe {
  std::atomic<uint64_t> messages{0};
  std::atomic<uint64_t> received_bytes{0};  // of CopyData
  std::atomic<uint64_t> status_by_timer{0};
  std::atomic<uint64_t> status_by_request{0};
  std::atomic<uint64_t> status_by_progress{0};
  std::atomic<uint64_t> status_by_keeper{0};  // while the ingest thread was busy elsewhere
  std::atomic<uint64_t> server_wal_end{0};    // last heard, LSN as bytes
  std::atomic<int64_t> last_message{0};       // microseconds since 1970
};

}  // namespace syncflow::replication
