// What the kernel knows about the other end of a connection.
#pragma once

#include <netinet/tcp.h>

#include "sidecar/feed/close_reason.h"

namespace syncflow::feed {

// For a consumer's socket: sends at once, looks after a silent peer.
void SetOptions(int socket);

// Nothing has answered what was sent to it for a minute. A peer that answers but does not read is
// alive, however long it pauses. TCP_USER_TIMEOUT cannot tell the two apart: it also ends the
// connection of a peer that keeps its window closed for so long.
bool IsDead(const tcp_info& info);
bool IsDead(int socket);

// `error` is an errno of a socket call.
CloseReason ReasonOf(int error);

}  // namespace syncflow::feed
