// TLS 1.2 and 1.3 on the feed's sockets: the server's certificate and key, and one connection's
// records. The one place that knows OpenSSL's SSL.
#pragma once

#include <sys/types.h>

#include <cstddef>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>

struct ssl_ctx_st;
struct ssl_st;

namespace syncflow::feed {

struct TlsOptions {
  std::string certificate;  // a PEM file: the certificate, then those up to its authority
  std::string key;          // a PEM file
  std::string client_ca;    // a PEM file: consumers need a certificate of these; empty: none

  bool operator==(const TlsOptions&) const = default;
};

// One consumer's connection. Belongs to the feed thread.
class TlsConnection {
 public:
  TlsConnection(ssl_ctx_st* context, int socket);
  ~TlsConnection();
  TlsConnection(const TlsConnection&) = delete;
  TlsConnection& operator=(const TlsConnection&) = delete;

  // ---- the handshake ----
  enum class Shaken {
    kDone,    // bytes may travel
    kWaits,   // for the other end: once more when the socket is readable, and sealed() is sent
    kFailed,  // failure() says why, sealed() tells the other end
  };
  Shaken Shake();
  const std::string& failure() const { return failure_; }

  // ---- bytes ----
  // Makes a record of them, which is then in sealed(). At most 16 KiB. False: this connection is of
  // no more use.
  bool Seal(std::string_view bytes);
  // The same for the end of what is sent.
  void SealEnd();
  // What the socket has to be given.
  std::string_view sealed() const;
  void DropSealed(size_t length);  // once all is dropped, no memory is held for it
  // As recv: 0 at the end of what the other end sends, -1 with errno set.
  ssize_t Open(std::span<char> room);

 private:
  ssl_st* ssl_;
  std::string failure_;
};

// Certificate, key and authorities in force. Immutable; what was accepted before goes on with what
// was in force then.
class TlsServer {
 public:
  // Reads the files; throws std::runtime_error with a sentence that names the setting.
  explicit TlsServer(const TlsOptions& options);
  ~TlsServer();
  TlsServer(const TlsServer&) = delete;
  TlsServer& operator=(const TlsServer&) = delete;

  std::unique_ptr<TlsConnection> Accept(int socket) const;

 private:
  ssl_ctx_st* context_;
};

// Reads the files again and again. Used by one thread at a time.
class TlsFiles {
 public:
  explicit TlsFiles(TlsOptions options) : options_(std::move(options)) {}

  // nullptr when nothing has changed since the last call. Throws std::runtime_error, once for the
  // same fault.
  std::shared_ptr<const TlsServer> ReadIfChanged();

 private:
  std::string Read() const;

  TlsOptions options_;
  std::optional<std::string> text_;
  std::string fault_;
};

}  // namespace syncflow::feed
