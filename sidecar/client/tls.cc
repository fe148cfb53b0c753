#include "sidecar/client/tls.h"

#include <arpa/inet.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <poll.h>
#include <sys/socket.h>

#include <algorithm>
#include <cerrno>
#include <climits>
#include <cstdint>

#include "sidecar/client/dial.h"

namespace syncflow::client {
namespace {

using Context = std::unique_ptr<SSL_CTX, decltype(&SSL_CTX_free)>;

std::string LastReason() {
  unsigned long error = ERR_peek_last_error();
  const char* reason = error == 0 ? nullptr : ERR_reason_error_string(error);
  return reason == nullptr ? "no reason is known" : reason;
}

void Check(bool done, const std::string& what) {
  if (!done) throw ConnectionError(what + ": " + LastReason());
}

// ---- OpenSSL's way to the socket: its own would raise SIGPIPE ----

int FdOf(BIO* bio) {
  return static_cast<int>(reinterpret_cast<intptr_t>(BIO_get_data(bio)));
}

bool IsPassing(ssize_t moved) {
  return moved < 0 && (errno == EAGAIN || errno == EINTR);
}

int ReadSocket(BIO* bio, char* to, int room) {
  BIO_clear_retry_flags(bio);
  ssize_t got = recv(FdOf(bio), to, static_cast<size_t>(room), 0);
  if (IsPassing(got)) BIO_set_retry_read(bio);
  return static_cast<int>(got);
}

int WriteSocket(BIO* bio, const char* bytes, int size) {
  BIO_clear_retry_flags(bio);
  ssize_t sent = send(FdOf(bio), bytes, static_cast<size_t>(size), MSG_NOSIGNAL);
  if (IsPassing(sent)) BIO_set_retry_write(bio);
  return static_cast<int>(sent);
}

long ControlSocket(BIO*, int command, long, void*) {
  return command == BIO_CTRL_FLUSH ? 1 : 0;
}

const BIO_METHOD* SocketMethod() {
  static const BIO_METHOD* const method = [] {
    BIO_METHOD* made = BIO_meth_new(BIO_get_new_index() | BIO_TYPE_SOURCE_SINK, "socket");
    BIO_meth_set_read(made, ReadSocket);
    BIO_meth_set_write(made, WriteSocket);
    BIO_meth_set_ctrl(made, ControlSocket);
    return made;
  }();
  return method;
}

BIO* MakeBio(int socket) {
  BIO* bio = BIO_new(SocketMethod());
  BIO_set_data(bio, reinterpret_cast<void*>(static_cast<intptr_t>(socket)));
  BIO_set_init(bio, 1);
  return bio;
}

// ---- what is trusted, and who we are ----

void LoadCertificate(SSL_CTX* context, const Tls& tls) {
  const std::string& file = tls.certificate_file;
  Check(SSL_CTX_use_certificate_chain_file(context, file.c_str()) == 1,
        "the TLS certificate " + file + " cannot be used");
  Check(SSL_CTX_use_PrivateKey_file(context, tls.key_file.c_str(), SSL_FILETYPE_PEM) == 1,
        "the TLS key " + tls.key_file + " cannot be used");
}

Context MakeContext(const Tls& tls) {
  ERR_clear_error();
  Context context(SSL_CTX_new(TLS_client_method()), &SSL_CTX_free);
  Check(context != nullptr, "TLS cannot be used");
  SSL_CTX_set_min_proto_version(context.get(), TLS1_2_VERSION);
  SSL_CTX_set_verify(context.get(), SSL_VERIFY_PEER, nullptr);
  SSL_CTX_set_mode(context.get(), SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
  bool trusts = tls.ca_file.empty()
                    ? SSL_CTX_set_default_verify_paths(context.get()) == 1
                    : SSL_CTX_load_verify_file(context.get(), tls.ca_file.c_str()) == 1;
  Check(trusts, "the TLS authorities in " + tls.ca_file + " cannot be used");
  if (tls.certificate_file.empty() != tls.key_file.empty())
    throw ConnectionError("a TLS certificate and its key go together: give both or neither");
  if (!tls.certificate_file.empty()) LoadCertificate(context.get(), tls);
  return context;
}

bool IsIpAddress(const std::string& host) {
  unsigned char ignored[sizeof(in6_addr)];
  return inet_pton(AF_INET, host.c_str(), ignored) == 1 ||
         inet_pton(AF_INET6, host.c_str(), ignored) == 1;
}

void Expect(SSL* ssl, const std::string& host) {
  if (IsIpAddress(host)) {
    X509_VERIFY_PARAM_set1_ip_asc(SSL_get0_param(ssl), host.c_str());
    return;
  }
  SSL_set1_host(ssl, host.c_str());
  SSL_set_tlsext_host_name(ssl, host.c_str());
}

std::string WhyItFailed(SSL* ssl) {
  unsigned long error = ERR_peek_last_error();
  if (ERR_GET_LIB(error) == ERR_LIB_SSL && ERR_GET_REASON(error) == SSL_R_WRONG_VERSION_NUMBER)
    return "the server does not speak TLS";
  long verified = SSL_get_verify_result(ssl);
  if (verified == X509_V_OK) return "TLS failed: " + LastReason();
  return std::string("the server's certificate is refused: ") +
         X509_verify_cert_error_string(verified);
}

}  // namespace

void TlsStream::Free::operator()(ssl_st* ssl) const {
  SSL_free(ssl);
}

TlsStream::TlsStream(int socket, const Tls& tls, const std::string& host,
                     std::chrono::milliseconds timeout, int wake_fd)
    : ssl_(SSL_new(MakeContext(tls).get())) {
  Check(ssl_ != nullptr, "TLS cannot be used");
  BIO* bio = MakeBio(socket);
  SSL_set_bio(ssl_.get(), bio, bio);
  Expect(ssl_.get(), tls.server_name.empty() ? host : tls.server_name);
  for (Transfer step = Shake(); step.bytes == 0; step = Shake()) {
    if (step.wait == 0)
      throw ConnectionError("the server ended the connection instead of starting TLS");
    if (!WaitFor(socket, step.wait, timeout, wake_fd))
      throw ConnectionError("the server does not answer in TLS");
  }
}

Transfer TlsStream::Shake() {
  ERR_clear_error();
  return Outcome(SSL_connect(ssl_.get()));
}

Transfer TlsStream::Read(char* to, size_t room) {
  ERR_clear_error();
  int most = static_cast<int>(std::min<size_t>(room, INT_MAX));
  return Outcome(SSL_read(ssl_.get(), to, most));
}

Transfer TlsStream::Write(std::string_view bytes) {
  ERR_clear_error();
  int most = static_cast<int>(std::min<size_t>(bytes.size(), INT_MAX));
  return Outcome(SSL_write(ssl_.get(), bytes.data(), most));
}

Transfer TlsStream::Outcome(int result) {
  if (result > 0) return {static_cast<size_t>(result), 0};
  switch (SSL_get_error(ssl_.get(), result)) {
    case SSL_ERROR_WANT_READ:
      return {0, POLLIN};
    case SSL_ERROR_WANT_WRITE:
      return {0, POLLOUT};
    case SSL_ERROR_ZERO_RETURN:
    case SSL_ERROR_SYSCALL:  // without a goodbye; only whole lines count anyway
      return {};
    default:
      throw ConnectionError(WhyItFailed(ssl_.get()));
  }
}

void CheckTlsFiles(const Tls& tls) {
  MakeContext(tls);
}

}  // namespace syncflow::client
