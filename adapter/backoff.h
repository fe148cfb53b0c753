// How long to wait before the next attempt: doubling, with jitter so that many waiters do not come
// back together.
#pragma once

#include <algorithm>
#include <chrono>
#include <random>

namespace syncflow::adapter {

class Backoff {
 public:
  Backoff(std::chrono::milliseconds shortest, std::chrono::milliseconds longest)
      : shortest_(shortest), longest_(longest), next_(shortest), random_(std::random_device{}()) {}

  // Between half of the current delay and all of it; the delay doubles up to the longest.
  std::chrono::milliseconds Next() {
    auto whole = next_.count();
    next_ = std::min(next_ * 2, longest_);
    return std::chrono::milliseconds(
        std::uniform_int_distribution<long>(whole / 2, whole)(random_));
  }

  // The attempt succeeded.
  void Reset() { next_ = shortest_; }

 private:
  std::chrono::milliseconds shortest_;
  std::chrono::milliseconds longest_;
  std::chrono::milliseconds next_;
  std::minstd_rand random_;
};

}  // namespace syncflow::adapter
