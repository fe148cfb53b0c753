// TLS on a connected, non-blocking socket, from the client's side (OpenSSL).
#pragma once

#include <sys/types.h>

#include <chrono>
#include <memory>
#include <string>
#include <string_view>

#include "sidecar/client/subscription.h"

struct ssl_st;

namespace syncflow::client {

// What a non-blocking read or write came to: bytes (0: the stream has ended), or what to wait for.
struct Transfer {
  size_t bytes = 0;
  short wait = 0;  // POLLIN or POLLOUT: nothing yet
};

class TlsStream {
 public:
  // Shakes hands, at most for `timeout` or until `wake_fd` is readable; the server must prove to be
  // `host`, a name or an IP address. The socket stays the caller's. Throws ConnectionError.
  TlsStream(int socket, const Tls& tls, const std::string& host, std::chrono::milliseconds timeout,
            int wake_fd);

  // Throw ConnectionError. A Write that has to wait must be repeated with the same bytes.
  Transfer Read(char* to, size_t room);
  Transfer Write(std::string_view bytes);

 private:
  struct Free {
    void operator()(ssl_st* ssl) const;
  };
  Transfer Shake();
  Transfer Outcome(int result);

  std::unique_ptr<ssl_st, Free> ssl_;
};

// Throws ConnectionError with a sentence when the files cannot be used.
void CheckTlsFiles(const Tls& tls);

}  // namespace syncflow::client
