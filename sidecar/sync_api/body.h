// What SyncFlow's clients send, read from JSON. Pure: text in, value out. Unknown members are
// ignored, a missing one or null has its default, an empty body is {}.
//
// Each throws std::invalid_argument with a sentence for what is no JSON object, nests deeper than
// 200, or has a member of the wrong type.
#pragma once

#include <chrono>
#include <string>
#include <string_view>

#include "adapter/changes.h"

namespace syncflow::sync_api {

// {"since":0,"limit":100,"clientId":"…","vectorClock":{…}}; a limit beyond 10 000 is 10 000.
adapter::ChangesRequest ReadChanges(std::string_view body);

// {"operations":[…],"clientId":"…"}: the array as it stands in `body`. Both are needed.
std::string_view ReadOperations(std::string_view body);

// {"filter":{…}}: the filter as JSON, {} by default.
std::string ReadFilter(std::string_view body);

struct CompactWish {
  std::chrono::milliseconds older_than = std::chrono::hours(30 * 24);
  bool dry_run = false;
  double share_max = 0.5;
};
// {"olderThanDays":30,"dryRun":false,"shareMax":0.5}; 0 to 36 500 days, fractions too; a share
// above 0 and at most 1.
CompactWish ReadCompact(std::string_view body);

}  // namespace syncflow::sync_api
