// SyncFlow's vector clock: how often each client has written. Missing entries count as 0.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <string>
#include <string_view>

namespace syncflow::adapter {

enum class ClockOrder { kBefore, kEqual, kAfter, kConcurrent };

class VectorClock {
 public:
  VectorClock() = default;
  explicit VectorClock(std::map<std::string, int64_t, std::less<>> counters);

  // {"client-1":2}; throws std::invalid_argument with a sentence otherwise.
  static VectorClock FromJson(std::string_view json);
  std::string ToJson() const;

  int64_t At(std::string_view client_id) const;
  void Set(std::string client_id, int64_t counter);
  // The greater counter of each client.
  void Merge(const VectorClock& other);
  // How this clock stands to `other`: some entries greater and some smaller is concurrent.
  ClockOrder Compare(const VectorClock& other) const;

  const std::map<std::string, int64_t, std::less<>>& counters() const { return counters_; }
  bool operator==(const VectorClock&) const = default;

 private:
  std::map<std::string, int64_t, std::less<>> counters_;
};

}  // namespace syncflow::adapter
