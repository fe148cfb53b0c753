// When a job is due: by a cron expression in a time zone, or every so often. Pure.
//
// Where the clocks are put forward or back:
//   fixed times (30 2 * * *)        run once a day, whatever the clocks do: a time that is skipped
//                                   runs at the moment of the jump, one that comes twice runs the
//                                   first time
//   * in minute or hour (*/15 …)    runs in every real hour: what is skipped is skipped, what comes
//                                   twice runs twice
#pragma once

#include <chrono>

#include "sidecar/compaction/cron.h"
#include "sidecar/compaction/zone.h"

namespace syncflow::compaction {

// A cron expression in a time zone.
struct Clocked {
  Cron cron;
  Zone zone;
};

// The first moment after `after` at which `cron` is due.
std::chrono::sys_seconds NextDue(const Cron& cron, const Zone& zone,
                                 std::chrono::sys_seconds after);

}  // namespace syncflow::compaction
