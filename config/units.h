// Durations and sizes as people write them. Pure; nullopt for anything that is not exactly such a
// text.
#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace syncflow::config {

// 20000; no sign, no leading zero.
std::optional<uint64_t> ParseCount(std::string_view text);
// 250ms, 15s, 30m, 6h, 7d; a unit is needed.
std::optional<std::chrono::milliseconds> ParseDuration(std::string_view text);
// 64MiB, 512KiB, 4GiB, 10MB (powers of ten), 4096 or 4096B.
std::optional<uint64_t> ParseSize(std::string_view text);

// In the largest unit that needs no fraction.
std::string FormatDuration(std::chrono::milliseconds duration);
std::string FormatSize(uint64_t bytes);

}  // namespace syncflow::config
