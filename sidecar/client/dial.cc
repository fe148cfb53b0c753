#include "sidecar/client/dial.h"

#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <climits>
#include <cstring>
#include <memory>
#include <utility>

namespace syncflow::client {
namespace {

using AddressList = std::unique_ptr<addrinfo, decltype(&freeaddrinfo)>;

AddressList Resolve(const Address& address) {
  addrinfo hints{};
  hints.ai_socktype = SOCK_STREAM;
  addrinfo* found = nullptr;
  int error = getaddrinfo(address.host.c_str(), address.port.c_str(), &hints, &found);
  if (error != 0)
    throw ConnectionError("cannot resolve " + address.host + ": " + gai_strerror(error));
  return {found, &freeaddrinfo};
}

int ErrorOf(int fd) {
  int error = 0;
  socklen_t size = sizeof error;
  getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &size);
  return error;
}

// 0 or an errno.
int Connect(int fd, const addrinfo& address, std::chrono::milliseconds timeout, int wake_fd) {
  if (connect(fd, address.ai_addr, address.ai_addrlen) == 0) return 0;
  if (errno != EINPROGRESS) return errno;
  return WaitFor(fd, POLLOUT, timeout, wake_fd) ? ErrorOf(fd) : ETIMEDOUT;
}

void KeepAlive(int fd) {
  int on = 1;
  setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof on);
  setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
}

}  // namespace

Address Address::Parse(const std::string& text) {
  size_t colon = text.rfind(':');
  std::string host = text.substr(0, colon == std::string::npos ? 0 : colon);
  bool bracketed = host.size() > 2 && host.front() == '[' && host.back() == ']';
  if (bracketed) host = host.substr(1, host.size() - 2);
  bool plain = bracketed || host.find_first_of(":[]") == std::string::npos;
  if (host.empty() || !plain || colon + 1 == text.size()) {
    throw std::invalid_argument("'" + text + "' is not host:port, such as 127.0.0.1:7433");
  }
  return {host, text.substr(colon + 1)};
}

Socket::~Socket() {
  if (fd_ >= 0) close(fd_);
}

Socket::Socket(Socket&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}

Socket Dial(const Address& address, std::chrono::milliseconds timeout, int wake_fd) {
  AddressList list = Resolve(address);
  int error = 0;
  for (const addrinfo* entry = list.get(); entry != nullptr; entry = entry->ai_next) {
    Socket made(socket(entry->ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
    error = made.fd() < 0 ? errno : Connect(made.fd(), *entry, timeout, wake_fd);
    if (error != 0) continue;
    KeepAlive(made.fd());
    return made;
  }
  throw ConnectionError("cannot connect to " + address.host + ":" + address.port + ": " +
                        std::strerror(error));
}

bool WaitFor(int fd, short events, std::chrono::milliseconds timeout, int wake_fd) {
  pollfd both[] = {{wake_fd, POLLIN, 0}, {fd, events, 0}};
  auto wait = std::clamp<std::chrono::milliseconds::rep>(timeout.count(), 0, INT_MAX);
  if (poll(both, 2, static_cast<int>(wait)) <= 0) return false;
  return both[0].revents == 0 && both[1].revents != 0;
}

}  // namespace syncflow::client
