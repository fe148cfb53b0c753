#pragma once

#include <optional>
#include <string_view>

#include "replication/change.h"

namespace syncflow::replication {

// PostgreSQL's ISO text in UTC, 2026-11-23 09:14:20.33967+00, as microseconds since 1970; nullopt
// for anything else.
std::optional<CommitTime> ParseTimestamp(std::string_view text);

}  // namespace syncflow::replication
