#include "sidecar/feed/peer.h"

#include <netinet/in.h>
#include <sys/socket.h>

#include <cerrno>

namespace syncflow::feed {
namespace {

constexpr unsigned kSilenceMax = 60'000;  // milliseconds
// A closed window is probed ever more rarely, at last every two minutes, and a probe may get lost.
constexpr unsigned kProbesMax = 3;

}  // namespace

void SetOptions(int socket) {
  auto set = [socket](int level, int name, int value) {
    setsockopt(socket, level, name, &value, sizeof value);
  };
  set(IPPROTO_TCP, TCP_NODELAY, 1);
  // While nothing is under way; what is, IsDead looks after.
  set(SOL_SOCKET, SO_KEEPALIVE, 1);
  set(IPPROTO_TCP, TCP_KEEPIDLE, 10);
  set(IPPROTO_TCP, TCP_KEEPINTVL, 10);
  set(IPPROTO_TCP, TCP_KEEPCNT, 5);
}

bool IsDead(const tcp_info& info) {
  bool unanswered = info.tcpi_retransmits > 0 || info.tcpi_probes >= kProbesMax;
  return unanswered && info.tcpi_last_ack_recv >= kSilenceMax;
}

bool IsDead(int socket) {
  tcp_info info{};
  socklen_t size = sizeof info;
  if (getsockopt(socket, IPPROTO_TCP, TCP_INFO, &info, &size) != 0) return false;
  return IsDead(info);
}

CloseReason ReasonOf(int error) {
  if (error == ETIMEDOUT || error == EHOSTUNREACH) return CloseReason::kTimeout;
  if (error == ECONNRESET || error == EPIPE) return CloseReason::kReset;
  if (error == EPROTO) return CloseReason::kProtocolError;  // of TLS
  return CloseReason::kPeerClosed;
}

}  // namespace syncflow::feed
