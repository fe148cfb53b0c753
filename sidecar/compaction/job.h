// What a job deletes, and when.
#pragma once

#include <chrono>
#include <string>
#include <variant>

#include "adapter/compact.h"
#include "sidecar/compaction/timetable.h"

namespace syncflow::compaction {

// The name of what runs because somebody asked; no job in the configuration can have it.
inline constexpr const char* kOnDemand = "on demand";

struct Job {
  std::string name;
  // As people wrote it, for people and to notice that it was changed.
  std::string schedule;
  std::variant<Clocked, std::chrono::seconds> when = std::chrono::seconds(0);  // or: every so often
  std::chrono::seconds jitter{0};  // begins up to so much later
  bool catch_up = true;            // once, when times were missed
  std::chrono::seconds max_duration = std::chrono::hours(4);
  // Without progress and written_before, which are the scheduler's.
  adapter::CompactOptions compact;
};

}  // namespace syncflow::compaction
