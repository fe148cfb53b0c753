// Opens TCP connections with plain POSIX sockets.
#pragma once

#include <chrono>
#include <optional>
#include <stdexcept>
#include <string>
#include <utility>

namespace syncflow::client {

// What prevented or ended a connection, as one sentence; the next one may succeed.
class ConnectionError : public std::runtime_error {
 public:
  explicit ConnectionError(const std::string& sentence, std::string code_said = {},
                           std::optional<std::chrono::milliseconds> retry = {})
      : std::runtime_error(sentence), code(std::move(code_said)), retry_after(retry) {}

  std::string code;                                      // as the server said it; empty: it did not
  std::optional<std::chrono::milliseconds> retry_after;  // as the server asked
};

struct Address {
  std::string host;
  std::string port;

  // host:port or [v6]:port; throws std::invalid_argument with a sentence otherwise.
  static Address Parse(const std::string& text);
};

// Owns a file descriptor.
class Socket {
 public:
  explicit Socket(int fd = -1) : fd_(fd) {}
  ~Socket();
  Socket(Socket&& other) noexcept;
  Socket& operator=(Socket&&) = delete;

  int fd() const { return fd_; }

 private:
  int fd_;
};

// A connected, non-blocking socket. Tries every address of the host, each at most `timeout`; gives
// up when `wake_fd` becomes readable. Throws ConnectionError.
Socket Dial(const Address& address, std::chrono::milliseconds timeout, int wake_fd);

// Waits until `fd` is ready for `events` (POLLIN, POLLOUT) or `wake_fd` is readable; true when `fd`
// is. A negative `fd` only waits.
bool WaitFor(int fd, short events, std::chrono::milliseconds timeout, int wake_fd);

}  // namespace syncflow::client
