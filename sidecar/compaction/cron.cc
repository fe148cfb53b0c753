#include "sidecar/compaction/cron.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <optional>
#include <span>
#include <utility>
#include <vector>

namespace syncflow::compaction {
namespace {

using std::chrono::days;
using std::chrono::floor;
using std::chrono::local_days;
using std::chrono::minutes;
using std::chrono::year_month_day;

constexpr std::array<std::string_view, 12> kMonths = {"jan", "feb", "mar", "apr", "may", "jun",
                                                      "jul", "aug", "sep", "oct", "nov", "dec"};
constexpr std::array<std::string_view, 7> kWeekdays = {"sun", "mon", "tue", "wed",
                                                       "thu", "fri", "sat"};

constexpr std::pair<std::string_view, std::string_view> kWords[] = {
    {"@hourly", "0 * * * *"},   {"@daily", "0 0 * * *"},   {"@midnight", "0 0 * * *"},
    {"@weekly", "0 0 * * 0"},   {"@monthly", "0 0 1 * *"}, {"@yearly", "0 0 1 1 *"},
    {"@annually", "0 0 1 1 *"},
};

constexpr unsigned kDaysOfMonth[] = {0, 31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};

struct Kind {
  const char* name;
  const char* expects;
  unsigned least;
  unsigned most;
  std::span<const std::string_view> names = {};  // of the values from `least` on
};

constexpr Kind kMinute{"minute", "0-59", 0, 59};
constexpr Kind kHour{"hour", "0-23", 0, 23};
constexpr Kind kDay{"day of the month", "1-31", 1, 31};
constexpr Kind kMonth{"month", "1-12 or JAN-DEC", 1, 12, kMonths};
constexpr Kind kWeekday{"weekday", "0-7 or SUN-SAT", 0, 7, kWeekdays};

// What an expression must be, and is not.
struct Refusal {
  std::string sentence;
};

std::string Quoted(std::string_view text) {
  constexpr size_t kShown = 40;
  bool readable = text.size() <= kShown &&
                  std::all_of(text.begin(), text.end(), [](char c) { return c > ' ' && c <= '~'; });
  return readable ? "'" + std::string(text) + "'" : "this";
}

std::vector<std::string_view> Split(std::string_view text, std::string_view separators) {
  std::vector<std::string_view> parts;
  for (;;) {
    size_t end = text.find_first_of(separators);
    parts.push_back(text.substr(0, end));
    if (end == text.npos) return parts;
    text.remove_prefix(end + 1);
  }
}

std::string LowerCase(std::string_view text) {
  std::string out(text);
  for (char& c : out) c = c >= 'A' && c <= 'Z' ? static_cast<char>(c + 'a' - 'A') : c;
  return out;
}

// One or two digits.
std::optional<unsigned> Number(std::string_view text) {
  unsigned value = 0;
  auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  bool whole = error == std::errc() && end == text.data() + text.size();
  if (!whole || text.size() > 2) return std::nullopt;
  return value;
}

}  // namespace

// Reads one field; throws Refusal.
class CronReader {
 public:
  explicit CronReader(const Kind& kind) : kind_(kind) {}

  Cron::Field Read(std::string_view text) {
    Cron::Field field;
    for (std::string_view piece : Split(text, ",")) field.values |= Piece(piece);
    field.any = text.starts_with('*');
    if (&kind_ == &kWeekday) field.values = (field.values | field.values >> 7) & 0x7f;
    return field;
  }

 private:
  uint64_t Piece(std::string_view piece) const {
    size_t slash = piece.find('/');
    std::string_view range = piece.substr(0, slash);
    size_t dash = range.find('-');
    bool single = range != "*" && dash == range.npos;
    unsigned first = range == "*" ? kind_.least : Value(range.substr(0, dash), piece);
    unsigned last = range == "*" ? kind_.most : first;
    if (!single && range != "*") last = Value(range.substr(dash + 1), piece);
    if (&kind_ == &kWeekday && last == 0 && first > 0) last = 7;
    if (last < first) {
      throw Refusal{"must have ranges from the lower to the higher " + std::string(kind_.name) +
                    ", not " + Quoted(piece)};
    }
    unsigned step = slash == piece.npos ? 1 : Step(piece, slash, single);
    uint64_t values = 0;
    for (unsigned value = first; value <= last; value += step) values |= 1ull << value;
    return values;
  }

  unsigned Value(std::string_view text, std::string_view piece) const {
    auto value = Number(text);
    if (!value) value = Named(text);
    if (value && *value >= kind_.least && *value <= kind_.most) return *value;
    throw Refusal{"must have as its " + std::string(kind_.name) + " " + kind_.expects +
                  ", ranges, steps or lists of these, not " + Quoted(piece)};
  }

  std::optional<unsigned> Named(std::string_view text) const {
    auto found = std::find(kind_.names.begin(), kind_.names.end(), LowerCase(text));
    if (found == kind_.names.end()) return std::nullopt;
    return kind_.least + static_cast<unsigned>(found - kind_.names.begin());
  }

  // A larger step would look like "every 90 minutes", and be none.
  unsigned Step(std::string_view piece, size_t slash, bool single) const {
    if (single) {
      throw Refusal{"must have steps on * or on a range, as " +
                    std::string(piece.substr(0, slash)) + "-" + std::to_string(kind_.most) +
                    std::string(piece.substr(slash)) + ", not " + Quoted(piece)};
    }
    auto step = Number(piece.substr(slash + 1));
    unsigned most = kind_.most - kind_.least;
    if (step && *step >= 1 && *step <= most) return *step;
    throw Refusal{"must have steps from 1 to " + std::to_string(most) + " for the " + kind_.name +
                  ", not " + Quoted(piece)};
  }

  const Kind& kind_;
};

std::variant<Cron, std::string> Cron::Parse(std::string_view text) {
  for (auto [word, fields] : kWords) {
    if (LowerCase(text) == word) return Parse(fields);
  }
  auto fields = Split(text, " \t");
  std::erase(fields, "");
  if (fields.size() != 5) {
    return "must be five fields (minute, hour, day of the month, month, weekday) as 30 2 * * SUN, "
           "or one of @hourly, @daily, @weekly, @monthly and @yearly, not " +
           (fields.size() == 1 ? Quoted(fields[0]) : std::to_string(fields.size()) + " fields");
  }
  try {
    Cron cron;
    cron.minute_ = CronReader(kMinute).Read(fields[0]);
    cron.hour_ = CronReader(kHour).Read(fields[1]);
    cron.day_ = CronReader(kDay).Read(fields[2]);
    cron.month_ = CronReader(kMonth).Read(fields[3]);
    cron.weekday_ = CronReader(kWeekday).Read(fields[4]);
    if (cron.HasDate()) return cron;
    return "must name a date that comes: no such month has such a day";
  } catch (const Refusal& refusal) {
    return refusal.sentence;
  }
}

bool Cron::HasDate() const {
  if (!weekday_.any) return true;
  for (unsigned month = 1; month <= 12; ++month) {
    uint64_t existing = (2ull << kDaysOfMonth[month]) - 1;
    if (month_.Has(month) && (day_.values & existing) != 0) return true;
  }
  return false;
}

bool Cron::FitsDate(local_days date) const {
  year_month_day parts{date};
  bool day = day_.Has(static_cast<unsigned>(parts.day()));
  bool weekday = weekday_.Has(std::chrono::weekday(date).c_encoding());
  if (!month_.Has(static_cast<unsigned>(parts.month()))) return false;
  return day_.any || weekday_.any ? day && weekday : day || weekday;
}

bool Cron::Fits(LocalMinute time) const {
  local_days date = floor<days>(time);
  auto minute = static_cast<unsigned>((time - date).count());
  return hour_.Has(minute / 60) && minute_.Has(minute % 60) && FitsDate(date);
}

// Ends: every date that Parse lets pass comes within 40 years, February 29 on a certain weekday
// too.
LocalMinute Cron::Next(LocalMinute from) const {
  for (local_days date = floor<days>(from);; date += days(1), from = date) {
    if (!FitsDate(date)) continue;
    for (LocalMinute time = from; time < date + days(1); time += minutes(1)) {
      auto minute = static_cast<unsigned>((time - date).count());
      if (hour_.Has(minute / 60) && minute_.Has(minute % 60)) return time;
    }
  }
}

}  // namespace syncflow::compaction
