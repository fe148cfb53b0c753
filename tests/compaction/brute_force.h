// The second opinion on schedules: slow, written from the rules alone, with the time zones of the C
// library. It shares no code with sidecar/compaction.
#pragma once

#include <regex.h>
#include <time.h>

#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <map>
#include <optional>
#include <set>
#include <sstream>
#include <string>
#include <vector>

namespace syncflow::compaction {

class BruteForce {
 public:
  // nullopt for what is no expression.
  static std::optional<BruteForce> Parse(std::string text) {
    for (char& c : text) c = c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
    static const std::map<std::string, std::string> kWords = {
        {"@hourly", "0 * * * *"},  {"@daily", "0 0 * * *"},   {"@midnight", "0 0 * * *"},
        {"@weekly", "0 0 * * 0"},  {"@monthly", "0 0 1 * *"}, {"@yearly", "0 0 1 1 *"},
        {"@annually", "0 0 1 1 *"}};
    if (kWords.contains(text)) text = kWords.at(text);
    if (text.find_first_not_of("0123456789abcdefghijklmnopqrstuvwxyz*/,- \t") != text.npos)
      return std::nullopt;
    std::istringstream words(text);
    BruteForce out;
    for (std::string word; words >> word;) out.fields_.push_back(word);
    if (out.fields_.size() != 5) return std::nullopt;
    bool valid = out.Expand(0, 0, 59, {}) && out.Expand(1, 0, 23, {}) && out.Expand(2, 1, 31, {}) &&
                 out.Expand(3, 1, 12,
                            {"jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct",
                             "nov", "dec"}) &&
                 out.Expand(4, 0, 7, {"sun", "mon", "tue", "wed", "thu", "fri", "sat"});
    if (!valid || !out.Comes()) return std::nullopt;
    return out;
  }

  // `minute`: of the clocks on the wall, counted from 1970.
  bool Fits(int64_t minute) const {
    time_t seconds = minute * 60;
    struct tm parts {};
    gmtime_r(&seconds, &parts);
    return FitsDate(parts) && Has(0, parts.tm_min) && Has(1, parts.tm_hour);
  }
  bool IsFixed() const { return fields_[0][0] != '*' && fields_[1][0] != '*'; }

 private:
  bool Has(size_t field, int value) const { return values_[field].contains(value); }

  bool FitsDate(const struct tm& parts) const {
    bool day = Has(2, parts.tm_mday);
    bool weekday = Has(4, parts.tm_wday) || (parts.tm_wday == 0 && Has(4, 7));
    bool both = fields_[2][0] == '*' || fields_[4][0] == '*';
    return Has(3, parts.tm_mon + 1) && (both ? day && weekday : day || weekday);
  }

  // Every day of 400 years, after which the calendar repeats itself; most come in the first.
  bool Comes() const {
    for (int64_t day = 0; day < 146'097; ++day) {
      time_t seconds = day * 86'400;
      struct tm parts {};
      gmtime_r(&seconds, &parts);
      if (FitsDate(parts)) return true;
    }
    return false;
  }

  // The groups of one piece of a list: 3-5/7; empty when it is none.
  static std::vector<std::string> Match(const std::string& piece) {
    static const regex_t kPiece = [] {
      regex_t pattern;
      regcomp(&pattern,
              "^((\\*)|([0-9][0-9]?|[a-z]{3})(-([0-9][0-9]?|[a-z]{3}))?)(/([0-9][0-9]?))?$",
              REG_EXTENDED);
      return pattern;
    }();
    regmatch_t groups[8];
    std::vector<std::string> out;
    if (regexec(&kPiece, piece.c_str(), 8, groups, 0) != 0) return out;
    for (const regmatch_t& group : groups) {
      auto at = static_cast<size_t>(std::max(group.rm_so, 0));
      out.push_back(piece.substr(at, static_cast<size_t>(group.rm_eo - group.rm_so)));
    }
    return out;
  }

  bool Expand(size_t field, int least, int most, const std::vector<std::string>& names) {
    auto number = [&](const std::string& text) {
      auto named = std::find(names.begin(), names.end(), text);
      if (named != names.end()) return least + static_cast<int>(named - names.begin());
      return text[0] >= '0' && text[0] <= '9' ? std::atoi(text.c_str()) : -1;
    };
    const std::string list = fields_[field] + ",";
    for (size_t at = 0; at < list.size();) {
      size_t end = list.find(',', at);
      std::string piece = list.substr(at, end - at);
      at = end + 1;
      auto parts = Match(piece);
      if (parts.empty()) return false;
      const std::string &begin = parts[3], &until = parts[5], &by = parts[7];
      bool star = begin.empty();
      if (!by.empty() && !star && until.empty()) return false;
      int first = star ? least : number(begin);
      int last = star ? most : until.empty() ? first : number(until);
      if (field == 4 && last == 0 && first > 0) last = 7;
      int step = by.empty() ? 1 : std::atoi(by.c_str());
      if (first < least || last > most || first > last || step < 1 || step > most - least)
        return false;
      for (int value = first; value <= last; ++value) {
        if ((value - first) % step == 0) values_[field].insert(value);
      }
    }
    return true;
  }

  std::vector<std::string> fields_;
  std::set<int> values_[5];
};

// What the clocks of a zone show, minute by minute.
class LibcClock {
 public:
  LibcClock(const std::string& zone, int64_t first_minute, size_t minutes) : first_(first_minute) {
    setenv("TZ", (":" + zone).c_str(), 1);
    tzset();
    for (size_t i = 0; i < minutes; ++i) {
      time_t seconds = (first_minute + static_cast<int64_t>(i)) * 60;
      struct tm parts {};
      localtime_r(&seconds, &parts);
      shown_.push_back((seconds + parts.tm_gmtoff) / 60);
    }
  }

  // The first minute (UTC) after `after` at which it is due; nullopt when it lies further ahead
  // than the clock was asked for. `after` is at least two days behind the beginning.
  std::optional<int64_t> Next(const BruteForce& schedule, int64_t after) const {
    int64_t highest = shown_.front();
    for (size_t i = 1; i < shown_.size(); ++i) {
      int64_t now = shown_[i];
      bool due = schedule.IsFixed() ? false : schedule.Fits(now);
      for (int64_t minute = highest + 1; schedule.IsFixed() && minute <= now; ++minute)
        due = due || schedule.Fits(minute);
      highest = std::max(highest, now);
      int64_t at = first_ + static_cast<int64_t>(i);
      if (due && at > after) return at;
    }
    return std::nullopt;
  }
  int64_t last() const { return first_ + static_cast<int64_t>(shown_.size()) - 1; }

 private:
  int64_t first_;
  std::vector<int64_t> shown_;
};

}  // namespace syncflow::compaction
