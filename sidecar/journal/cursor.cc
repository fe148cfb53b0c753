#include "sidecar/journal/cursor.h"

#include <charconv>

namespace syncflow::journal {
namespace {

constexpr size_t kEpochDigits = 8;
constexpr size_t kLsnDigits = 16;
constexpr std::string_view kLinePrefixes[] = {"{\"type\":\"change\",\"cursor\":\"",
                                              "{\"type\":\"gap\",\"cursor\":\""};

bool IsLowerHex(std::string_view text) {
  return text.find_first_not_of("0123456789abcdef") == std::string_view::npos;
}

// Of digits alone; nullopt when it is too large.
template <typename T>
std::optional<T> ParseNumber(std::string_view digits, int base) {
  T value{};
  auto [stop, error] = std::from_chars(digits.data(), digits.data() + digits.size(), value, base);
  if (error != std::errc() || stop != digits.data() + digits.size()) return std::nullopt;
  return value;
}

void AppendHex(std::string& out, uint64_t value, size_t digits) {
  constexpr char kHex[] = "0123456789abcdef";
  size_t end = out.size() + digits;
  out.resize(end);
  for (size_t i = 1; i <= digits; ++i, value >>= 4) out[end - i] = kHex[value & 15];
}

}  // namespace

std::optional<Cursor> Cursor::Parse(std::string_view text) {
  constexpr size_t kIndexAt = kEpochDigits + 1 + kLsnDigits + 1;
  if (text.size() <= kIndexAt || text[kEpochDigits] != '.' || text[kIndexAt - 1] != '.')
    return std::nullopt;
  std::string_view epoch_text = text.substr(0, kEpochDigits);
  std::string_view lsn_text = text.substr(kEpochDigits + 1, kLsnDigits);
  std::string_view index_text = text.substr(kIndexAt);
  if (!IsLowerHex(epoch_text) || !IsLowerHex(lsn_text)) return std::nullopt;
  if (index_text[0] < '0' || index_text[0] > '9' || (index_text.size() > 1 && index_text[0] == '0'))
    return std::nullopt;
  auto index = ParseNumber<uint64_t>(index_text, 10);
  if (!index) return std::nullopt;
  Epoch epoch{*ParseNumber<uint32_t>(epoch_text, 16)};
  return Cursor{epoch, {replication::Lsn(*ParseNumber<uint64_t>(lsn_text, 16)), *index}};
}

void Cursor::AppendTo(std::string& out) const {
  AppendHex(out, static_cast<uint32_t>(epoch), kEpochDigits);
  out.push_back('.');
  AppendHex(out, position.commit_lsn.bytes(), kLsnDigits);
  out.push_back('.');
  char digits[24];
  auto [end, error] = std::to_chars(digits, digits + sizeof digits, position.index);
  out.append(digits, end);
}

std::string Cursor::ToString() const {
  std::string out;
  AppendTo(out);
  return out;
}

std::optional<Cursor> CursorOfLine(std::string_view line) {
  for (std::string_view prefix : kLinePrefixes) {
    if (!line.starts_with(prefix)) continue;
    line.remove_prefix(prefix.size());
    return Cursor::Parse(line.substr(0, line.find('"')));
  }
  return std::nullopt;
}

}  // namespace syncflow::journal
