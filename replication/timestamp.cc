#include "replication/timestamp.h"

#include <chrono>

namespace syncflow::replication {
namespace {

// Reads one field after another; the first that does not fit spoils all that follow.
class Fields {
 public:
  explicit Fields(std::string_view text) : rest_(text) {}

  int Number(size_t digits) {
    int value = 0;
    if (rest_.size() < digits) return Spoil();
    for (char digit : rest_.substr(0, digits)) {
      if (digit < '0' || digit > '9') return Spoil();
      value = value * 10 + (digit - '0');
    }
    rest_.remove_prefix(digits);
    return value;
  }

  void Literal(std::string_view expected) {
    if (!rest_.starts_with(expected)) return static_cast<void>(Spoil());
    rest_.remove_prefix(expected.size());
  }

  // Up to six digits after a point; PostgreSQL leaves trailing zeros out, and the point with them.
  int Microseconds() {
    if (!rest_.starts_with('.')) return 0;
    rest_.remove_prefix(1);
    int value = 0;
    int scale = 1'000'000;
    while (!rest_.empty() && rest_[0] >= '0' && rest_[0] <= '9' && scale > 1) {
      scale /= 10;
      value += (rest_[0] - '0') * scale;
      rest_.remove_prefix(1);
    }
    return value;
  }

  bool fits_to_the_end() const { return good_ && rest_.empty(); }

 private:
  int Spoil() {
    good_ = false;
    return 0;
  }

  std::string_view rest_;
  bool good_ = true;
};

}  // namespace

std::optional<CommitTime> ParseTimestamp(std::string_view text) {
  Fields fields(text);
  int year = fields.Number(4);
  fields.Literal("-");
  int month = fields.Number(2);
  fields.Literal("-");
  int day = fields.Number(2);
  fields.Literal(" ");
  int hour = fields.Number(2);
  fields.Literal(":");
  int minute = fields.Number(2);
  fields.Literal(":");
  int second = fields.Number(2);
  int microseconds = fields.Microseconds();
  fields.Literal("+00");
  std::chrono::year_month_day date(std::chrono::year(year),
                                   std::chrono::month(static_cast<unsigned>(month)),
                                   std::chrono::day(static_cast<unsigned>(day)));
  if (!fields.fits_to_the_end() || !date.ok() || hour > 23 || minute > 59 || second > 60)
    return std::nullopt;
  auto time = std::chrono::sys_days(date) + std::chrono::hours(hour) +
              std::chrono::minutes(minute) + std::chrono::seconds(second) +
              std::chrono::microseconds(microseconds);
  return time.time_since_epoch().count();
}

}  // namespace syncflow::replication
