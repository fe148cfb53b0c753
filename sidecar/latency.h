// How long something took, counted in the buckets of a histogram. Any thread.
#pragma once

#include <algorithm>
#include <array>
#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>

namespace syncflow {

class Latencies {
 public:
  // Upper ends of the buckets, inclusive, in seconds; one more bucket takes the rest.
  static constexpr std::array kBounds = {0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1,
                                         0.25,   0.5,   1.0,    2.5,   5.0,  10.0,  30.0, 60.0};

  Latencies() = default;
  // The other may go on counting meanwhile.
  Latencies(const Latencies& other) : nanoseconds_(other.nanoseconds_.load()) {
    for (size_t i = 0; i < counts_.size(); ++i) counts_[i] = other.counts_[i].load();
  }
  Latencies& operator=(const Latencies&) = delete;

  // Less than nothing, as between two clocks, counts as nothing.
  void Observe(std::chrono::nanoseconds took) {
    took = std::max(took, std::chrono::nanoseconds(0));
    double seconds = std::chrono::duration<double>(took).count();
    auto bucket = std::lower_bound(kBounds.begin(), kBounds.end(), seconds) - kBounds.begin();
    counts_[static_cast<size_t>(bucket)].fetch_add(1, std::memory_order_relaxed);
    nanoseconds_.fetch_add(static_cast<uint64_t>(took.count()), std::memory_order_relaxed);
  }

  // Of one bucket alone; kBounds.size() is the one for the rest.
  uint64_t count(size_t bucket) const { return counts_[bucket].load(std::memory_order_relaxed); }
  double seconds() const { return static_cast<double>(nanoseconds_.load()) / 1e9; }

 private:
  std::array<std::atomic<uint64_t>, kBounds.size() + 1> counts_{};
  std::atomic<uint64_t> nanoseconds_{0};
};

}  // namespace syncflow
