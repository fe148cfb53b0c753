// A small HTTP/1.1 server on civetweb: routes, bodies up to a limit, one answer each.
//
// Handlers are called on its threads, several at once; a request keeps one from the first byte of
// its head to the last of its answer.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <stdexcept>
#include <string>
#include <vector>

#include "sidecar/http/probe.h"
#include "sidecar/http/route.h"

namespace syncflow::http {

struct Options {
  // host:port or [v6]:port, numeric addresses or localhost; port 0 picks a free one.
  std::string listen = "127.0.0.1:9464";
  std::string setting = "http.listen";  // named where the address is of no use
  // Requests at the same time. A probe must be answered while a slow scrape and a silent client
  // hold two of them.
  int threads = 4;
  size_t body_bytes_max = 8192;
  // For the whole head, and for each pause inside a body or an answer.
  std::chrono::milliseconds patience{1000};
  // For a whole body, and for a whole answer.
  std::chrono::milliseconds transfer_max{5000};
  // Connections are kept for the next request while threads are left for others.
  bool keep_alive = false;
  // Every web page may ask, as with the defaults of Node's cors.
  bool cross_origin = false;
  // The file with the token that routes which change something need. Empty: these are for this
  // machine alone, and for no web page.
  std::string token_file{};
};

// The address is wrong or taken, or the token's file of no use: a sentence that names the setting.
class Error : public std::runtime_error {
  using std::runtime_error::runtime_error;
};

class Server {
 public:
  // Serves from here on. Throws Error.
  Server(const Options& options, std::vector<Route> routes);
  ~Server();
  Server(const Server&) = delete;
  Server& operator=(const Server&) = delete;

  // Refuses new requests with 503 and waits for those under way; false when `patience` passes.
  bool Drain(std::chrono::milliseconds patience);
  // Drains for a second at most; then cuts what is left, within about two more for clients that say
  // nothing. Idempotent.
  void Stop();
  uint16_t port() const;
  const Probe& probe() const;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace syncflow::http
