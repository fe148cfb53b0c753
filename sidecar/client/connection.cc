#include "sidecar/client/connection.h"

#include <poll.h>
#include <sys/socket.h>

#include <cerrno>
#include <cstring>
#include <string>

namespace syncflow::client {
namespace {

using std::chrono::milliseconds;

constexpr size_t kBufferBytes = 256u << 10;
constexpr char kTlsAlert = 0x15;

bool IsPassing(int error) {
  return error == EAGAIN || error == EINTR;
}

}  // namespace

Connection::Connection(const Options& options, const Address& address, int wake_fd)
    : socket_(Dial(address, options.connect_timeout, wake_fd)),
      wake_fd_(wake_fd),
      buffer_(kBufferBytes) {
  if (!options.tls) return;
  tls_ = std::make_unique<TlsStream>(socket_.fd(), *options.tls, address.host,
                                     options.connect_timeout, wake_fd);
}

bool Connection::HasLine() {
  const void* found = memchr(buffer_.data() + scanned_, '\n', end_ - scanned_);
  scanned_ = found ? static_cast<size_t>(static_cast<const char*>(found) - buffer_.data()) : end_;
  return found != nullptr;
}

std::string_view Connection::TakeLine() {
  std::string_view line(buffer_.data() + begin_, scanned_ - begin_);
  begin_ = ++scanned_;
  return line;
}

void Connection::Fill(milliseconds patience) {
  MakeRoom();
  Transfer got = Read();
  while (got.wait != 0) {
    if (!WaitFor(socket_.fd(), got.wait, patience, wake_fd_))
      throw ConnectionError("no line for " + std::to_string(patience.count()) + " ms");
    got = Read();
  }
  end_ += got.bytes;
  heard_ = true;
  if (!tls_ && buffer_[begin_] == kTlsAlert) throw ConnectionError("the server wants TLS");
}

void Connection::Send(std::string_view bytes, milliseconds patience) {
  while (!bytes.empty()) {
    Transfer sent = Write(bytes);
    bytes.remove_prefix(sent.bytes);
    if (sent.bytes > 0) continue;
    if (sent.wait == 0) return;  // it is broken: what comes to be read tells why
    if (!WaitFor(socket_.fd(), sent.wait, patience, wake_fd_))
      throw ConnectionError("the server takes nothing any more");
  }
}

Transfer Connection::Read() {
  char* to = buffer_.data() + end_;
  size_t room = buffer_.size() - end_;
  if (tls_) {
    Transfer got = tls_->Read(to, room);
    if (got.bytes == 0 && got.wait == 0) ThrowEnd("the server closed the connection");
    return got;
  }
  ssize_t got = recv(socket_.fd(), to, room, 0);
  if (got > 0) return {static_cast<size_t>(got), 0};
  if (got == 0) ThrowEnd("the server closed the connection");
  if (!IsPassing(errno)) ThrowEnd(std::string("the connection broke: ") + strerror(errno));
  return {0, POLLIN};
}

Transfer Connection::Write(std::string_view bytes) {
  if (tls_) return tls_->Write(bytes);
  ssize_t sent = send(socket_.fd(), bytes.data(), bytes.size(), MSG_NOSIGNAL);
  if (sent >= 0) return {static_cast<size_t>(sent), 0};
  return {0, static_cast<short>(IsPassing(errno) ? POLLOUT : 0)};
}

// A feed always has a last word; what speaks TLS and hears something else has none.
void Connection::ThrowEnd(const std::string& why) const {
  bool silent = !tls_ && !heard_;
  throw ConnectionError(silent ? why + " without a word: it may want TLS" : why);
}

// What is left of the lines taken goes to the front; a line that fills the buffer gets a larger
// one.
void Connection::MakeRoom() {
  size_t rest = end_ - begin_;
  if (rest > line_bytes_max_) {
    throw ConnectionError("the server sends a line of more than " +
                          std::to_string(line_bytes_max_) + " bytes");
  }
  memmove(buffer_.data(), buffer_.data() + begin_, rest);
  scanned_ -= begin_;
  begin_ = 0;
  end_ = rest;
  if (rest > buffer_.size() / 2) buffer_.resize(buffer_.size() * 2);
}

}  // namespace syncflow::client
