#include "sidecar/compaction/timetable.h"

#include <algorithm>

namespace syncflow::compaction {
namespace {

using std::chrono::ceil;
using std::chrono::floor;
using std::chrono::local_seconds;
using std::chrono::minutes;
using std::chrono::seconds;
using std::chrono::sys_seconds;

local_seconds Shown(sys_seconds time, seconds offset) {
  return local_seconds(time.time_since_epoch() + offset);
}

sys_seconds NextFixed(const Cron& cron, const Zone& zone, sys_seconds after) {
  LocalMinute time = floor<minutes>(Shown(after, zone.At(after).offset));
  for (;;) {
    time = cron.Next(time + minutes(1));
    sys_seconds due = zone.FirstShowing(time);
    if (due > after) return due;
  }
}

sys_seconds NextOfMany(const Cron& cron, const Zone& zone, sys_seconds after) {
  for (sys_seconds from = after + seconds(1);;) {
    Zone::Stretch stretch = zone.At(from);
    LocalMinute time = cron.Next(ceil<minutes>(Shown(from, stretch.offset)));
    sys_seconds due((local_seconds(time).time_since_epoch()) - stretch.offset);
    if (due < stretch.end) return due;
    from = stretch.end;
  }
}

}  // namespace

sys_seconds NextDue(const Cron& cron, const Zone& zone, sys_seconds after) {
  return cron.has_fixed_times() ? NextFixed(cron, zone, after) : NextOfMany(cron, zone, after);
}

}  // namespace syncflow::compaction
