// Why a session ended: the word in the log and the label of the metric.
#pragma once

#include <array>
#include <cstddef>
#include <string_view>

namespace syncflow::feed {

enum class CloseReason {
  kPeerClosed,       // the consumer went away
  kReset,            // its connection broke
  kProtocolError,    // it spoke nonsense, or asked for what cannot be had
  kHistoryLost,      // it fell behind what the journal keeps
  kNotAllowed,       // its token is missing, wrong, gone, or for other collections
  kSuperseded,       // another connection took its name
  kSnapshotFailed,   // the documents could not be read for it
  kHandshakeFailed,  // no TLS, or no certificate that is known here
  kTooManyConnections,
  kTimeout,        // it did not finish its hello, or its machine no longer answers
  kRightsChanged,  // its token allows more or less than before: it is asked to come again
  kShutdown,       // the sidecar stops
};

inline constexpr std::array<std::string_view, 12> kCloseReasons = {
    "peer_closed",          "reset",      "protocol_error",  "history_lost",
    "not_allowed",          "superseded", "snapshot_failed", "handshake_failed",
    "too_many_connections", "timeout",    "rights_changed",  "shutdown"};

inline std::string_view NameOf(CloseReason reason) {
  return kCloseReasons[static_cast<size_t>(reason)];
}

}  // namespace syncflow::feed
