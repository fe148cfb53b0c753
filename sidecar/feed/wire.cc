#include "sidecar/feed/wire.h"

#include <sys/sendfile.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>

namespace syncflow::feed {
namespace {

constexpr size_t kRecordBytes = 16 << 10;

}  // namespace

ssize_t Wire::Send(std::string_view bytes) {
  if (!tls_) return send(socket_, bytes.data(), bytes.size(), MSG_DONTWAIT | MSG_NOSIGNAL);
  if (Flush() != 0) return -1;
  size_t taken = 0;
  while (taken < bytes.size()) {
    std::string_view record = bytes.substr(taken, kRecordBytes);
    if (!tls_->Seal(record)) {
      errno = EPROTO;
      return -1;
    }
    taken += record.size();
    if (Flush() != 0) break;  // the next call meets it again
  }
  return static_cast<ssize_t>(taken);
}

ssize_t Wire::SendFile(int fd, uint64_t at, size_t length) {
  auto begin = static_cast<off_t>(at);
  if (!tls_) return sendfile(socket_, fd, &begin, length);
  if (Flush() != 0) return -1;
  std::array<char, kRecordBytes> piece;
  size_t taken = 0;
  while (taken < length && !HasUnsent()) {
    ssize_t got = pread(fd, piece.data(), std::min(piece.size(), length - taken),
                        begin + static_cast<off_t>(taken));
    ssize_t sent = got <= 0 ? got : Send({piece.data(), static_cast<size_t>(got)});
    if (sent <= 0 && taken == 0) return sent;
    if (sent <= 0) break;  // the next call meets it again
    taken += static_cast<size_t>(sent);
  }
  return static_cast<ssize_t>(taken);
}

ssize_t Wire::Receive(std::span<char> room) {
  if (!tls_) return recv(socket_, room.data(), room.size(), MSG_DONTWAIT);
  return tls_->Open(room);
}

int Wire::Flush() {
  if (!tls_) return 0;
  while (!tls_->sealed().empty()) {
    std::string_view sealed = tls_->sealed();
    ssize_t sent = send(socket_, sealed.data(), sealed.size(), MSG_DONTWAIT | MSG_NOSIGNAL);
    if (sent < 0) return -1;
    tls_->DropSealed(static_cast<size_t>(sent));
  }
  return 0;
}

void Wire::EndSending() {
  if (tls_) {
    tls_->SealEnd();
    Flush();
  }
  shutdown(socket_, SHUT_WR);
}

}  // namespace syncflow::feed
