#include "sidecar/feed/listener.h"

#include <fcntl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <stdexcept>
#include <utility>

#include "sidecar/feed/address.h"
#include "sidecar/log/log.h"

namespace syncflow::feed {
namespace {

using asio::ip::tcp;

constexpr std::chrono::milliseconds kPause{100};
constexpr std::chrono::seconds kWarningInterval{10};

int OpenSpare() {
  return open("/dev/null", O_RDONLY | O_CLOEXEC);
}

Acceptor Listen(asio::io_context& io, const Options& options) {
  tcp::endpoint endpoint = ParseAddress(options.listen);
  bool asks = !options.tokens_file.empty() ||
              (!options.tls.certificate.empty() && !options.tls.client_ca.empty());
  if (!endpoint.address().is_loopback() && !asks && !options.allow_anonymous) {
    throw std::runtime_error(
        "feed.listen " + options.listen +
        " can be reached from other machines, and nobody would be asked who they are: give "
        "feed.tokens_file or feed.tls.client_ca, listen on 127.0.0.1, or set "
        "feed.allow_anonymous: true");
  }
  Acceptor acceptor(io);
  acceptor.open(endpoint.protocol());
  acceptor.set_option(Acceptor::reuse_address(true));
  std::error_code error;
  acceptor.bind(endpoint, error);
  if (!error) acceptor.listen(Acceptor::max_listen_connections, error);
  if (error) {
    throw std::runtime_error("cannot listen on feed.listen " + options.listen + ": " +
                             error.message() + "; stop what listens there, or choose another port");
  }
  acceptor.non_blocking(true);
  return acceptor;
}

}  // namespace

Listener::Listener(Hub& hub)
    : hub_(hub),
      acceptor_(Listen(hub.io, hub.options)),
      pause_(hub.io),
      port_(acceptor_.local_endpoint().port()),
      spare_fd_(OpenSpare()) {}

Listener::~Listener() {
  if (spare_fd_ >= 0) close(spare_fd_);
}

void Listener::Start(std::function<void(Socket)> welcome) {
  welcome_ = std::move(welcome);
  Accept();
}

void Listener::Close() {
  std::error_code ignored;
  acceptor_.close(ignored);
  pause_.cancel();
}

void Listener::Accept() {
  acceptor_.async_accept(
      [this](std::error_code error, Socket socket) { Accepted(error, std::move(socket)); });
}

void Listener::Accepted(std::error_code error, Socket socket) {
  if (error == asio::error::operation_aborted || !acceptor_.is_open()) return;
  if (!error) {
    ++hub_.probe.accepted;
    welcome_(std::move(socket));
    return Accept();
  }
  if (error == asio::error::no_descriptors) ShedOne();
  pause_.expires_after(kPause);
  pause_.async_wait([this](std::error_code cancelled) {
    if (!cancelled && acceptor_.is_open()) Accept();
  });
}

// Without a free descriptor the waiting connection can be neither served nor refused, and accept
// would spin.
void Listener::ShedOne() {
  if (spare_fd_ >= 0) close(spare_fd_);
  int shed = accept(acceptor_.native_handle(), nullptr, nullptr);
  if (shed >= 0) {
    ++hub_.probe.accepted;
    ++hub_.probe.refused;
    close(shed);
  }
  spare_fd_ = OpenSpare();
  if (Clock::now() < next_warning_) return;
  next_warning_ = Clock::now() + kWarningInterval;
  log::Warning("feed", "no descriptor is left for another consumer: raise the open files limit");
}

}  // namespace syncflow::feed
