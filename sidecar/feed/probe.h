#pragma once

#include <atomic>
#include <cstdint>

namespace syncflow::feed {

// Counted on the feed thread, read by any.
struct Probe {
  std::atomic<uint64_t> accepted{0};   // connections since the start
  std::atomic<uint64_t> refused{0};    // of these, too many or before the feed could serve
  std::atomic<uint64_t> consumers{0};  // connected now
  std::atomic<uint64_t> delivered_bytes{0};
  std::atomic<uint64_t> sends{0};          // send and sendfile calls that moved bytes
  std::atomic<uint64_t> journal_bytes{0};  // of delivered_bytes, read from segment files
  std::atomic<uint64_t> pages{0};          // stretches of the feed put through a filter
  std::atomic<uint64_t> errors{0};         // error lines sent
  std::atomic<uint64_t> closed[16]{};      // by CloseReason
};

}  // namespace syncflow::feed
