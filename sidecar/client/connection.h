// One connection to the feed: bytes in and out, cut into lines.
#pragma once

#include <chrono>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "sidecar/client/dial.h"
#include "sidecar/client/subscription.h"
#include "sidecar/client/tls.h"

namespace syncflow::client {

// Every wait ends when `wake_fd` becomes readable, and then throws ConnectionError too.
class Connection {
 public:
  // Connects; throws ConnectionError, as the other calls do.
  Connection(const Options& options, const Address& address, int wake_fd);

  bool HasLine();
  // Without its end, valid until Fill. Only when HasLine.
  std::string_view TakeLine();
  // Waits for bytes, at most for `patience`.
  void Fill(std::chrono::milliseconds patience);
  // Sends all of it, waiting at most for `patience` each time the server takes nothing. Where the
  // connection is broken, Fill tells.
  void Send(std::string_view bytes, std::chrono::milliseconds patience);
  // A line may be that long.
  void Allow(size_t line_bytes) { line_bytes_max_ = line_bytes; }

 private:
  Transfer Read();
  Transfer Write(std::string_view bytes);
  void MakeRoom();
  [[noreturn]] void ThrowEnd(const std::string& why) const;

  Socket socket_;
  int wake_fd_;
  std::unique_ptr<TlsStream> tls_;
  bool heard_ = false;  // anything
  size_t line_bytes_max_ = 64u << 20;

  // Bytes from begin_ to end_ are not taken yet; up to scanned_ there is no line feed.
  std::vector<char> buffer_;
  size_t begin_ = 0;
  size_t scanned_ = 0;
  size_t end_ = 0;
};

}  // namespace syncflow::client
