#include "sidecar/feed/tls.h"

#include <openssl/buffer.h>
#include <openssl/err.h>
#include <openssl/ssl.h>

#include <algorithm>
#include <cerrno>
#include <limits>
#include <stdexcept>
#include <utility>

#include "sidecar/feed/file_text.h"

namespace syncflow::feed {
namespace {

constexpr size_t kSpareMax = 1 << 10;

// What OpenSSL says of its last failure on this thread.
std::string Reason() {
  unsigned long code = ERR_peek_last_error();
  const char* reason = code == 0 ? nullptr : ERR_reason_error_string(code);
  ERR_clear_error();
  return reason == nullptr ? "for no reason that OpenSSL names" : reason;
}

void Check(bool done, const std::string& setting) {
  if (!done) throw std::runtime_error(setting + " cannot be used: " + Reason());
}

int LengthOf(size_t length) {
  return static_cast<int>(std::min<size_t>(length, std::numeric_limits<int>::max()));
}

// A passphrase would be asked for on the terminal.
int NoPassphrase(char*, int, int, void*) {
  return 0;
}

void RequireCertificates(SSL_CTX* context, const std::string& file) {
  Check(SSL_CTX_load_verify_locations(context, file.c_str(), nullptr) == 1, "feed.tls.client_ca");
  STACK_OF(X509_NAME)* names = SSL_load_client_CA_file(file.c_str());
  Check(names != nullptr, "feed.tls.client_ca");
  SSL_CTX_set_client_CA_list(context, names);
  SSL_CTX_set_verify(context, SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT, nullptr);
}

void Configure(SSL_CTX* context, const TlsOptions& options) {
  SSL_CTX_set_min_proto_version(context, TLS1_2_VERSION);
  // A consumer whose connection just ends has no more commands; it may still want to hear.
  SSL_CTX_set_options(context, SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_TICKET |
                                   SSL_OP_IGNORE_UNEXPECTED_EOF | SSL_OP_CIPHER_SERVER_PREFERENCE);
  SSL_CTX_set_session_cache_mode(context, SSL_SESS_CACHE_OFF);
  SSL_CTX_set_num_tickets(context, 0);
  SSL_CTX_set_mode(context, SSL_MODE_RELEASE_BUFFERS);  // an idle consumer holds none
  // One record a read: whoever sends nothing but requests for answers must not be answered faster
  // than it reads.
  SSL_CTX_clear_mode(context, SSL_MODE_AUTO_RETRY);
  SSL_CTX_set_default_passwd_cb(context, NoPassphrase);
  Check(SSL_CTX_use_certificate_chain_file(context, options.certificate.c_str()) == 1,
        "feed.tls.certificate");
  Check(SSL_CTX_use_PrivateKey_file(context, options.key.c_str(), SSL_FILETYPE_PEM) == 1,
        "feed.tls.key");
  Check(SSL_CTX_check_private_key(context) == 1, "feed.tls.key");
  if (!options.client_ca.empty()) RequireCertificates(context, options.client_ca);
}

}  // namespace

// ---- one connection ----

// What is read comes from the socket, record by record; what is written goes to memory.
TlsConnection::TlsConnection(ssl_ctx_st* context, int socket) : ssl_(SSL_new(context)) {
  if (ssl_ == nullptr) throw std::bad_alloc();
  SSL_set0_rbio(ssl_, BIO_new_socket(socket, BIO_NOCLOSE));
  SSL_set0_wbio(ssl_, BIO_new(BIO_s_mem()));
  SSL_set_accept_state(ssl_);
}

TlsConnection::~TlsConnection() {
  SSL_free(ssl_);
}

TlsConnection::Shaken TlsConnection::Shake() {
  ERR_clear_error();
  int result = SSL_do_handshake(ssl_);
  if (result == 1) return Shaken::kDone;
  int error = SSL_get_error(ssl_, result);
  if (error == SSL_ERROR_WANT_READ) return Shaken::kWaits;
  failure_ = error == SSL_ERROR_SSL ? Reason() : "the connection ended";
  return Shaken::kFailed;
}

bool TlsConnection::Seal(std::string_view bytes) {
  ERR_clear_error();
  return SSL_write(ssl_, bytes.data(), LengthOf(bytes.size())) == LengthOf(bytes.size());
}

void TlsConnection::SealEnd() {
  ERR_clear_error();
  SSL_shutdown(ssl_);
}

std::string_view TlsConnection::sealed() const {
  char* begin = nullptr;
  long length = BIO_get_mem_data(SSL_get_wbio(ssl_), &begin);
  return length <= 0 ? std::string_view() : std::string_view(begin, static_cast<size_t>(length));
}

void TlsConnection::DropSealed(size_t length) {
  BIO* records = SSL_get_wbio(ssl_);
  char scratch[4096];
  while (length > 0) {
    int read = BIO_read(records, scratch, LengthOf(std::min(length, sizeof scratch)));
    if (read <= 0) return;
    length -= static_cast<size_t>(read);
  }
  BUF_MEM* memory = nullptr;
  BIO_get_mem_ptr(records, &memory);
  bool spare = memory != nullptr && memory->length == 0 && memory->max > kSpareMax;
  if (spare) SSL_set0_wbio(ssl_, BIO_new(BIO_s_mem()));
}

ssize_t TlsConnection::Open(std::span<char> room) {
  ERR_clear_error();
  int got = SSL_read(ssl_, room.data(), LengthOf(room.size()));
  if (got > 0) return got;
  switch (SSL_get_error(ssl_, got)) {
    case SSL_ERROR_ZERO_RETURN:
      return 0;
    case SSL_ERROR_WANT_READ:
      errno = EAGAIN;
      return -1;
    case SSL_ERROR_SYSCALL:
      if (errno == 0) errno = ECONNRESET;
      return -1;
    default:
      ERR_clear_error();
      errno = EPROTO;
      return -1;
  }
}

// ---- all of them ----

TlsServer::TlsServer(const TlsOptions& options) : context_(SSL_CTX_new(TLS_server_method())) {
  if (context_ == nullptr) throw std::bad_alloc();
  try {
    Configure(context_, options);
  } catch (...) {
    SSL_CTX_free(context_);
    throw;
  }
}

TlsServer::~TlsServer() {
  SSL_CTX_free(context_);
}

std::unique_ptr<TlsConnection> TlsServer::Accept(int socket) const {
  return std::make_unique<TlsConnection>(context_, socket);
}

std::string TlsFiles::Read() const {
  std::string text = ReadFileOf("feed.tls.certificate", options_.certificate);
  text += ReadFileOf("feed.tls.key", options_.key);
  if (!options_.client_ca.empty()) text += ReadFileOf("feed.tls.client_ca", options_.client_ca);
  return text;
}

// Where certificate and key are replaced one after the other, they do not fit for a moment; the
// next look finds both.
std::shared_ptr<const TlsServer> TlsFiles::ReadIfChanged() {
  try {
    std::string text = Read();
    if (text == text_) {
      fault_.clear();
      return nullptr;
    }
    auto server = std::make_shared<const TlsServer>(options_);
    text_ = std::move(text);
    fault_.clear();
    return server;
  } catch (const std::runtime_error& fault) {
    if (std::exchange(fault_, fault.what()) == fault.what()) return nullptr;
    throw;
  }
}

}  // namespace syncflow::feed
