#include "config/units.h"

#include <array>
#include <charconv>
#include <limits>

namespace syncflow::config {
namespace {

struct Unit {
  std::string_view name;
  uint64_t factor;
};

// The largest first.
constexpr std::array<Unit, 5> kDurations = {
    {{"d", 86'400'000}, {"h", 3'600'000}, {"m", 60'000}, {"s", 1000}, {"ms", 1}}};
constexpr std::array<Unit, 8> kSizes = {{{"GiB", 1ull << 30},
                                         {"GB", 1'000'000'000},
                                         {"MiB", 1ull << 20},
                                         {"MB", 1'000'000},
                                         {"KiB", 1ull << 10},
                                         {"KB", 1000},
                                         {"B", 1},
                                         {"", 1}}};
constexpr std::array<Unit, 1> kCounts = {{{"", 1}}};

constexpr uint64_t kMax = std::numeric_limits<int64_t>::max();

template <size_t N>
std::optional<uint64_t> Parse(std::string_view text, const std::array<Unit, N>& units) {
  uint64_t number = 0;
  const char* end = text.data() + text.size();
  auto [stop, error] = std::from_chars(text.data(), end, number);
  bool leading_zero = stop - text.data() > 1 && text[0] == '0';  // octal to some, decimal to others
  if (error != std::errc() || leading_zero) return std::nullopt;
  std::string_view name(stop, static_cast<size_t>(end - stop));
  for (const Unit& unit : units) {
    if (unit.name == name && number <= kMax / unit.factor) return number * unit.factor;
  }
  return std::nullopt;
}

template <size_t N>
std::string Format(uint64_t value, const std::array<Unit, N>& units) {
  size_t i = 0;
  while (units[i].factor > 1 && (value == 0 || value % units[i].factor != 0)) ++i;
  return std::to_string(value / units[i].factor) + std::string(units[i].name);
}

}  // namespace

std::optional<uint64_t> ParseCount(std::string_view text) {
  return Parse(text, kCounts);
}

std::optional<std::chrono::milliseconds> ParseDuration(std::string_view text) {
  auto value = Parse(text, kDurations);
  if (!value) return std::nullopt;
  return std::chrono::milliseconds(static_cast<int64_t>(*value));
}

std::optional<uint64_t> ParseSize(std::string_view text) {
  return Parse(text, kSizes);
}

std::string FormatDuration(std::chrono::milliseconds duration) {
  return Format(static_cast<uint64_t>(duration.count()), kDurations);
}

std::string FormatSize(uint64_t bytes) {
  return Format(bytes, kSizes);
}

}  // namespace syncflow::config
