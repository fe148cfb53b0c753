// Accepts consumers' connections. Used only on the feed thread once it runs.
#pragma once

#include <asio/io_context.hpp>
#include <asio/steady_timer.hpp>
#include <functional>

#include "sidecar/feed/hub.h"
#include "sidecar/feed/wire.h"

namespace syncflow::feed {

class Listener {
 public:
  // Binds and listens as hub.options says; throws std::runtime_error with a sentence that names the
  // setting.
  explicit Listener(Hub& hub);
  ~Listener();
  Listener(const Listener&) = delete;
  Listener& operator=(const Listener&) = delete;

  void Start(std::function<void(Socket)> welcome);
  void Close();
  uint16_t port() const { return port_; }

 private:
  using Clock = std::chrono::steady_clock;

  void Accept();
  void Accepted(std::error_code error, Socket socket);
  void ShedOne();

  Hub& hub_;
  Acceptor acceptor_;
  asio::steady_timer pause_;
  std::function<void(Socket)> welcome_;
  uint16_t port_ = 0;
  int spare_fd_ = -1;  // given up to accept and shed a connection when descriptors run out
  Clock::time_point next_warning_;
};

}  // namespace syncflow::feed
