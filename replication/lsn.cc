#include "replication/lsn.h"

#include <charconv>
#include <cstdio>

namespace syncflow::replication {
namespace {

std::optional<uint32_t> ParseHalf(std::string_view digits) {
  if (digits.empty() || digits.size() > 8) return std::nullopt;
  uint32_t value = 0;
  const char* end = digits.data() + digits.size();
  auto [stop, error] = std::from_chars(digits.data(), end, value, 16);
  if (error != std::errc() || stop != end) return std::nullopt;
  return value;
}

}  // namespace

std::optional<Lsn> Lsn::Parse(std::string_view text) {
  size_t slash = text.find('/');
  if (slash == std::string_view::npos) return std::nullopt;
  auto high = ParseHalf(text.substr(0, slash));
  auto low = ParseHalf(text.substr(slash + 1));
  if (!high || !low) return std::nullopt;
  return Lsn((static_cast<uint64_t>(*high) << 32) | *low);
}

std::string Lsn::ToString() const {
  char text[24];
  int length = std::snprintf(text, sizeof text, "%X/%X", static_cast<uint32_t>(bytes_ >> 32),
                             static_cast<uint32_t>(bytes_));
  return std::string(text, static_cast<size_t>(length));
}

}  // namespace syncflow::replication
