// The process as Linux sees it, for the process_* metrics that every Prometheus client offers.
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>

namespace syncflow::metrics {

struct Process {
  double cpu_seconds = 0;
  double start_time = 0;  // seconds since 1970
  uint64_t resident_bytes = 0;
  uint64_t virtual_bytes = 0;
  uint64_t threads = 0;
  uint64_t open_fds = 0;
  uint64_t max_fds = 0;
};

// What /proc/self tells; what it does not tell stays 0. Any thread.
Process ReadProcess();

// The fields of /proc/self/stat that are used, in the kernel's units.
struct Stat {
  uint64_t user_ticks = 0;
  uint64_t system_ticks = 0;
  uint64_t threads = 0;
  uint64_t start_ticks = 0;  // since boot
  uint64_t virtual_bytes = 0;
  uint64_t resident_pages = 0;
};

// nullopt when it is not such a line. The program's name may hold anything, parentheses and spaces
// too.
std::optional<Stat> ParseStat(std::string_view line);

}  // namespace syncflow::metrics
