#include "sidecar/compaction/zone.h"

#include <cctz/civil_time.h>
#include <cctz/time_zone.h>

namespace syncflow::compaction {
namespace {

using std::chrono::seconds;
using std::chrono::sys_seconds;

// Names of the database, and neither paths nor cctz's own "libc:" and "file:".
bool IsName(const std::string& text) {
  constexpr const char* kLetters =
      "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789/_+-";
  return !text.empty() && text.front() != '/' && text.find_first_not_of(kLetters) == text.npos;
}

}  // namespace

struct Zone::State {
  std::string name;
  cctz::time_zone zone;
};

std::optional<Zone> Zone::Find(const std::string& name) {
  State state{name, {}};
  if (!IsName(name) || !cctz::load_time_zone(name, &state.zone)) return std::nullopt;
  return Zone(std::make_shared<const State>(state));
}

Zone::Stretch Zone::At(sys_seconds time) const {
  const cctz::time_zone& zone = state_->zone;
  seconds offset(zone.lookup(time).offset);
  cctz::time_zone::civil_transition next;
  if (!zone.next_transition(time, &next)) return {offset, sys_seconds::max()};
  return {offset, zone.lookup(next.to).trans};
}

sys_seconds Zone::FirstShowing(std::chrono::local_seconds time) const {
  cctz::civil_second shown = cctz::civil_second() + time.time_since_epoch().count();
  auto found = state_->zone.lookup(shown);
  return found.kind == cctz::time_zone::civil_lookup::SKIPPED ? found.trans : found.pre;
}

const std::string& Zone::name() const {
  return state_->name;
}

}  // namespace syncflow::compaction
