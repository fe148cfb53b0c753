#pragma once

#include <array>
#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <string>

namespace syncflow::http {

// The last one stands for every other.
inline constexpr std::array<int, 13> kCodes = {200, 204, 400, 401, 403, 404, 405,
                                               408, 409, 413, 500, 503, 0};
// Upper ends; one more bucket has no end.
inline constexpr std::array<double, 7> kDurationSeconds = {0.001, 0.005, 0.025, 0.1, 0.5, 2.5, 10};

// Counted on civetweb's threads, read by any.
struct HandlerProbe {
  explicit HandlerProbe(std::string handler) : name(std::move(handler)) {}

  void Count(int code, std::chrono::nanoseconds duration) {
    size_t which = 0;
    while (kCodes[which] != code && kCodes[which] != 0) ++which;
    size_t bucket = 0;
    double seconds = std::chrono::duration<double>(duration).count();
    while (bucket < kDurationSeconds.size() && seconds > kDurationSeconds[bucket]) ++bucket;
    ++codes[which];
    ++buckets[bucket];
    nanoseconds += static_cast<uint64_t>(duration.count());
  }

  const std::string name;
  std::atomic<uint64_t> codes[kCodes.size()]{};
  std::atomic<uint64_t> buckets[kDurationSeconds.size() + 1]{};  // of requests, from head to answer
  std::atomic<uint64_t> nanoseconds{0};                          // of all together
};

struct Probe {
  std::deque<HandlerProbe> handlers;  // made with the server; one each, and "other"
  std::atomic<int64_t> connections{0};
};

}  // namespace syncflow::http
