// Where a change stands in the feed. The text form is what consumers store:
//
//   9c41e07b.0000000014319470.3        epoch (8 hex) . commit LSN (16 hex) . index in the
//   transaction
//
// Deterministic: the same change has the same cursor whatever plugin, sidecar or journal delivers
// it.
#pragma once

#include <compare>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "replication/lsn.h"

namespace syncflow::journal {

// Commit order inside one epoch.
struct Position {
  replication::Lsn commit_lsn;
  uint64_t index = 0;  // counts the changes of one transaction from 0

  // The position every change committed at `lsn` or later comes after. WAL records start at
  // multiples of 8, so no commit can stand at lsn - 1.
  static Position Before(replication::Lsn lsn) {
    return {replication::Lsn(lsn.bytes() == 0 ? 0 : lsn.bytes() - 1), 0};
  }

  auto operator<=>(const Position&) const = default;
};

// Names one history of one table. A cursor of another epoch is refused, never guessed at.
enum class Epoch : uint32_t {};

struct Cursor {
  Epoch epoch{};
  Position position;

  // Strict: exactly the form above, lower-case hexadecimal, no leading zeros in the index.
  static std::optional<Cursor> Parse(std::string_view text);

  void AppendTo(std::string& out) const;
  std::string ToString() const;

  auto operator<=>(const Cursor&) const = default;
};

// The cursor of a line that the journal holds (a change, or a gap that was recorded), taken from
// its fixed beginning; nullopt for any other line.
std::optional<Cursor> CursorOfLine(std::string_view line);

}  // namespace syncflow::journal
