// Times as people write them, for the tests of this room.
#pragma once

#include <cstdio>
#include <stdexcept>
#include <string>

#include "sidecar/compaction/timetable.h"

namespace syncflow::compaction {

// "2026-11-24 10:17"
inline LocalMinute LocalOf(const std::string& text) {
  int year = 0;
  unsigned month = 0, day = 0;
  int hour = 0, minute = 0;
  if (std::sscanf(text.c_str(), "%d-%u-%u %d:%d", &year, &month, &day, &hour, &minute) != 5)
    throw std::invalid_argument(text);
  std::chrono::year_month_day date{std::chrono::year(year), std::chrono::month(month),
                                   std::chrono::day(day)};
  return std::chrono::local_days(date) + std::chrono::minutes(60 * hour + minute);
}

// The same in UTC.
inline std::chrono::sys_seconds UtcOf(const std::string& text) {
  return std::chrono::sys_seconds(LocalOf(text).time_since_epoch());
}

inline std::string TextOf(LocalMinute time) {
  auto date = std::chrono::floor<std::chrono::days>(time);
  std::chrono::year_month_day parts{date};
  auto minute = static_cast<int>((time - date).count());
  char text[40];
  std::snprintf(text, sizeof text, "%04d-%02u-%02u %02d:%02d", static_cast<int>(parts.year()),
                static_cast<unsigned>(parts.month()), static_cast<unsigned>(parts.day()),
                minute / 60, minute % 60);
  return text;
}

inline std::string TextOf(std::chrono::sys_seconds time) {
  return TextOf(LocalMinute(std::chrono::floor<std::chrono::minutes>(time.time_since_epoch())));
}

inline Cron CronOf(const std::string& text) {
  auto parsed = Cron::Parse(text);
  if (auto* sentence = std::get_if<std::string>(&parsed))
    throw std::invalid_argument(text + " " + *sentence);
  return std::get<Cron>(parsed);
}

}  // namespace syncflow::compaction
