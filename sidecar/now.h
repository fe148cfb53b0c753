// The wall clock, as everything here that tells a time counts it.
#pragma once

#include <chrono>
#include <cstdint>

namespace syncflow {

// Since 1970, UTC.
inline int64_t MicrosecondsNow() {
  auto now = std::chrono::system_clock::now().time_since_epoch();
  return std::chrono::duration_cast<std::chrono::microseconds>(now).count();
}

}  // namespace syncflow
