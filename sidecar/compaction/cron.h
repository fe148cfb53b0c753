// When something is due, as in crontab(5): five fields, or a word.
//
//   minute 0-59   hour 0-23   day 1-31   month 1-12, JAN-DEC   weekday 0-7, SUN-SAT (0 and 7:
//   Sunday)
//   @hourly @daily @midnight @weekly @monthly @yearly @annually
//
// A field is *, a value, a range (9-17), either of the first and last with a step (*/15, 9-17/2),
// or a list of these with commas. A day fits when both day and weekday do; where neither field
// begins with *, one of them is enough.
//
// Pure, and without a time zone: see timetable.h.
#pragma once

#include <chrono>
#include <cstdint>
#include <string>
#include <string_view>
#include <variant>

namespace syncflow::compaction {

// What the clocks on the wall show.
using LocalMinute = std::chrono::local_time<std::chrono::minutes>;

class Cron {
 public:
  // For anything that is not such an expression: what it must be, to follow its name. Dates that
  // never come (February 30) are refused, too.
  static std::variant<Cron, std::string> Parse(std::string_view text);

  bool Fits(LocalMinute time) const;
  // The first that fits, at `from` or later.
  LocalMinute Next(LocalMinute from) const;
  // Neither minute nor hour begins with *, so each day has certain times; otherwise it means "every
  // so often", see timetable.h.
  bool has_fixed_times() const { return !minute_.any && !hour_.any; }

 private:
  struct Field {
    uint64_t values = 0;  // one bit each
    bool any = false;     // begins with *

    bool Has(unsigned value) const { return (values >> value & 1) != 0; }
  };
  friend class CronReader;

  bool HasDate() const;
  bool FitsDate(std::chrono::local_days date) const;

  Field minute_;
  Field hour_;
  Field day_;
  Field month_;
  Field weekday_;
};

}  // namespace syncflow::compaction
