// What a consumer's bytes travel through: its socket as it is, or TLS on it. Belongs to the feed
// thread.
//
// With TLS a record that was begun is kept here until the socket has taken it, so at most one
// record (16 KiB) waits for each consumer, and who sends need not repeat the same bytes.
#pragma once

#include <sys/types.h>

#include <asio/io_context.hpp>
#include <asio/ip/tcp.hpp>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>

#include "sidecar/feed/tls.h"

namespace syncflow::feed {

// Asio's default types can hold any executor, at the price of some hundred bytes for each consumer.
using Socket = asio::basic_stream_socket<asio::ip::tcp, asio::io_context::executor_type>;
using Acceptor = asio::basic_socket_acceptor<asio::ip::tcp, asio::io_context::executor_type>;

class Wire {
 public:
  explicit Wire(int socket) : socket_(socket) {}

  int socket() const { return socket_; }

  // The results are those of send, sendfile and recv on a socket that never waits: -1 with errno
  // set; EAGAIN also while an earlier record still waits for the socket.
  ssize_t Send(std::string_view bytes);
  ssize_t SendFile(int fd, uint64_t at, size_t length);
  ssize_t Receive(std::span<char> room);

  // Whether a record waits for the socket.
  bool HasUnsent() const { return tls_ && !tls_->sealed().empty(); }
  // Sends what waits; 0 when nothing is left, else -1 with errno set.
  int Flush();
  // No more bytes will be sent: says so, as far as the socket takes it.
  void EndSending();

  // ---- TLS ----
  // From here on this end speaks TLS, once Shake says so.
  void Secure(const TlsServer& server) { tls_ = server.Accept(socket_); }
  using Shaken = TlsConnection::Shaken;
  Shaken Shake() { return tls_->Shake(); }
  const std::string& shake_failure() const { return tls_->failure(); }
  // Back to the socket as it is, to say a word to somebody who speaks no TLS.
  void Unsecure() { tls_.reset(); }
  bool IsSecure() const { return tls_ != nullptr; }

 private:
  int socket_;
  std::unique_ptr<TlsConnection> tls_;
};

}  // namespace syncflow::feed
