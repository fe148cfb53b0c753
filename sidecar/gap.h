// A gap that is part of the feed: a line with a cursor of its own, kept and sent like a change.
#pragma once

#include <string_view>

#include "sidecar/journal/journal.h"

namespace syncflow {

// Appends {"type":"gap", …} at `at`, for what is missing between the journal's end and `at`.
void AppendGap(journal::Journal& journal, journal::Position at, std::string_view code,
               std::string_view reason);

}  // namespace syncflow
