#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <deque>
#include <string>
#include <string_view>
#include <utility>

namespace syncflow::compaction {

// How a run ended.
enum class Outcome {
  kRunning,      // it has not
  kDone,         // a dry run, too
  kCancelled,    // it took longer than it may, or a consumer fell behind; the next one goes on
  kSkipped,      // nothing could safely be deleted
  kElsewhere,    // another sidecar runs this job
  kFailed,       // PostgreSQL refused or was lost
  kInterrupted,  // the sidecar ended
};
inline constexpr std::array<std::string_view, 7> kOutcomes = {
    "running", "done", "cancelled", "skipped", "elsewhere", "failed", "interrupted"};

struct JobProbe {
  explicit JobProbe(std::string job) : name(std::move(job)) {}

  const std::string name;
  std::atomic<uint64_t> runs[kOutcomes.size()]{};  // by outcome; none is running
  // Microseconds since 1970: when the last run ended that was done; 0 = never.
  std::atomic<int64_t> last_done{0};
};

// Counted on the scheduler's thread, read by any.
struct Probe {
  std::deque<JobProbe> jobs;         // made with the scheduler; those of its options, and kOnDemand
  std::atomic<uint64_t> deleted{0};  // operations, dry runs left out
  std::atomic<uint64_t> milliseconds{0};  // of all runs together
  std::atomic<bool> running{false};
};

}  // namespace syncflow::compaction
