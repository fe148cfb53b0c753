// Lsn: a byte position in PostgreSQL's write-ahead log, printed as PostgreSQL prints it
// (16/B374D848).
#pragma once

#include <compare>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace syncflow::replication {

class Lsn {
 public:
  constexpr Lsn() = default;
  constexpr explicit Lsn(uint64_t bytes) : bytes_(bytes) {}

  // Two groups of 1 to 8 hexadecimal digits with a slash between; anything else is nullopt.
  static std::optional<Lsn> Parse(std::string_view text);

  constexpr uint64_t bytes() const { return bytes_; }
  constexpr bool IsZero() const { return bytes_ == 0; }
  std::string ToString() const;

  constexpr auto operator<=>(const Lsn&) const = default;

 private:
  uint64_t bytes_ = 0;
};

}  // namespace syncflow::replication
