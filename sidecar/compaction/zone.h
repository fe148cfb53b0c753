// A time zone of the IANA database (/usr/share/zoneinfo, Debian's package tzdata). A value; any
// thread.
#pragma once

#include <chrono>
#include <memory>
#include <optional>
#include <string>

namespace syncflow::compaction {

class Zone {
 public:
  // nullopt when there is none of that name. UTC needs no database.
  static std::optional<Zone> Find(const std::string& name);

  // The clocks show UTC + `offset` from the time asked for until `end`.
  struct Stretch {
    std::chrono::seconds offset;
    std::chrono::sys_seconds end;
  };
  Stretch At(std::chrono::sys_seconds time) const;

  // The first moment at which the clocks show `time`, or more: when they are put forward past it,
  // that is the moment of the jump, and when they show it twice, the first.
  std::chrono::sys_seconds FirstShowing(std::chrono::local_seconds time) const;

  const std::string& name() const;

 private:
  struct State;
  explicit Zone(std::shared_ptr<const State> state) : state_(std::move(state)) {}
  std::shared_ptr<const State> state_;
};

}  // namespace syncflow::compaction
