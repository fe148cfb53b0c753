#pragma once

#include <atomic>
#include <cstdint>

namespace syncflow::notify {

// Counted on the watch's thread, read by any.
struct Probe {
  std::atomic<bool> connected{false};  // LISTEN is in force
  std::atomic<uint64_t> gaps{0};  // times it was lost, the one before the first connect left out
  std::atomic<uint64_t> gap_milliseconds{0};  // of the gaps that ended
  std::atomic<uint64_t> announced{0};         // operations NOTIFY announced
  std::atomic<int64_t> last_announced{0};     // when the last was: microseconds since 1970
  std::atomic<uint64_t> delivered{0};         // operations the slot delivered
  std::atomic<uint64_t> recovered{0};         // delivered, and not announced in time
  std::atomic<uint64_t> unjudged{0};          // delivered, but more than could be remembered
  std::atomic<uint64_t> foreign_payloads{0};  // on the channel, but no operation notice
};

}  // namespace syncflow::notify
