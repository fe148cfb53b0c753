#pragma once

#include <stdexcept>

namespace syncflow::replication {

// A message that contradicts the protocol or the plugin's format. Never skipped: whoever meets it
// stops at this LSN and says so, since going on would lose a change.
class DecodeError : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

}  // namespace syncflow::replication
