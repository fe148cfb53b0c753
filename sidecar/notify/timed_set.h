// A bounded set of keys, each with the time it came, left in order of arrival.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <optional>
#include <unordered_map>

namespace syncflow::notify {

class TimedSet {
 public:
  using Time = std::chrono::steady_clock::time_point;

  explicit TimedSet(size_t entries_max) : entries_max_(entries_max) {}

  // False when the set is full. A key that is there already gets the new time.
  bool Add(uint64_t key, Time at) {
    if (arrivals_.size() >= entries_max_) DropTaken();
    if (arrivals_.size() >= entries_max_) return false;
    arrivals_.push_back({key, at});
    times_[key] = at;
    return true;
  }
  bool Take(uint64_t key) { return times_.erase(key) > 0; }
  // The oldest one if it came at or before `limit`; it is taken.
  std::optional<Time> TakeOldest(Time limit) {
    DropTaken();
    if (arrivals_.empty() || arrivals_.front().at > limit) return std::nullopt;
    Time at = arrivals_.front().at;
    times_.erase(arrivals_.front().key);
    arrivals_.pop_front();
    return at;
  }
  size_t size() const { return times_.size(); }

 private:
  struct Arrival {
    uint64_t key;
    Time at;
  };
  bool IsTaken(const Arrival& arrival) const {
    auto found = times_.find(arrival.key);
    return found == times_.end() || found->second != arrival.at;
  }
  void DropTaken() {
    while (!arrivals_.empty() && IsTaken(arrivals_.front())) arrivals_.pop_front();
  }

  size_t entries_max_;
  std::deque<Arrival> arrivals_;
  std::unordered_map<uint64_t, Time> times_;
};

}  // namespace syncflow::notify
