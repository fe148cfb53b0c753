#include "sidecar/metrics/process.h"

#include <sys/resource.h>
#include <unistd.h>

#include <array>
#include <charconv>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>
#include <system_error>

namespace syncflow::metrics {
namespace {

std::string ReadFile(const char* path) {
  std::ifstream file(path);
  return {std::istreambuf_iterator<char>(file), {}};
}

uint64_t CountOpenFds() {
  std::error_code error;
  std::filesystem::directory_iterator fds("/proc/self/fd", error);
  auto count = error ? 0 : std::distance(begin(fds), end(fds));
  return static_cast<uint64_t>(count > 0 ? count - 1 : 0);  // one is the folder being read
}

uint64_t MaxFds() {
  rlimit limit{};
  return getrlimit(RLIMIT_NOFILE, &limit) == 0 ? limit.rlim_cur : 0;
}

double BootTime() {
  static const double boot_time = [] {
    std::ifstream file("/proc/stat");
    for (std::string word; file >> word;) {
      double seconds = 0;
      if (word == "btime" && file >> seconds) return seconds;
    }
    return 0.0;
  }();
  return boot_time;
}

std::optional<uint64_t> NextNumber(std::string_view& rest) {
  uint64_t number = 0;
  auto [end, error] = std::from_chars(rest.data(), rest.data() + rest.size(), number);
  if (error != std::errc() || end == rest.data()) return std::nullopt;
  rest.remove_prefix(static_cast<size_t>(end - rest.data()));
  return number;
}

// Drops `count` fields with the blanks after them.
bool Skip(std::string_view& rest, int count) {
  for (; count > 0; --count) {
    size_t blank = rest.find(' ');
    if (blank == std::string_view::npos) return false;
    rest.remove_prefix(blank + 1);
  }
  return true;
}

}  // namespace

std::optional<Stat> ParseStat(std::string_view line) {
  size_t name_end = line.rfind(") ");
  if (name_end == std::string_view::npos) return std::nullopt;
  std::string_view rest = line.substr(name_end + 2);  // starts with field 3, see proc(5)
  Stat stat;
  int field = 3;
  const std::pair<int, uint64_t*> wanted[] = {
      {14, &stat.user_ticks},  {15, &stat.system_ticks},  {20, &stat.threads},
      {22, &stat.start_ticks}, {23, &stat.virtual_bytes}, {24, &stat.resident_pages}};
  for (auto [number, target] : wanted) {
    if (!Skip(rest, number - field)) return std::nullopt;
    std::optional<uint64_t> value = NextNumber(rest);
    if (!value) return std::nullopt;
    *target = *value;
    field = number;
  }
  return stat;
}

Process ReadProcess() {
  Process process;
  process.open_fds = CountOpenFds();
  process.max_fds = MaxFds();
  std::optional<Stat> stat = ParseStat(ReadFile("/proc/self/stat"));
  if (!stat) return process;
  auto ticks_per_second = static_cast<double>(sysconf(_SC_CLK_TCK));
  process.cpu_seconds =
      static_cast<double>(stat->user_ticks + stat->system_ticks) / ticks_per_second;
  process.start_time = BootTime() + static_cast<double>(stat->start_ticks) / ticks_per_second;
  process.resident_bytes = stat->resident_pages * static_cast<uint64_t>(sysconf(_SC_PAGESIZE));
  process.virtual_bytes = stat->virtual_bytes;
  process.threads = stat->threads;
  return process;
}

}  // namespace syncflow::metrics
