// The admin endpoints over HTTP: /metrics /livez /readyz /startupz /status, by GET and HEAD, and
// /consumers, by PUT and DELETE too.
//
// Handlers are called on civetweb's threads, several at once, and must not block.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <stdexcept>
#include <string>

namespace syncflow::http {

struct Options {
  // host:port or [v6]:port, numeric addresses or localhost; port 0 picks a free one.
  std::string listen = "127.0.0.1:9464";
};

struct Response {
  int status = 200;
  std::string content_type = "application/json";
  std::string body;
};

struct Request {
  std::string method;  // GET (for HEAD too), PUT or DELETE
  std::string path;    // decoded, begins with /consumers
  std::string body;
};

// An empty one answers 404. One that throws answers 500 without the reason; the reason is logged.
struct Handlers {
  std::function<Response()> metrics;
  std::function<Response()> livez;
  std::function<Response()> readyz;
  std::function<Response()> startupz;
  std::function<Response()> status;
  // What changes something comes only from this machine, and from no web page.
  std::function<Response(const Request&)> consumers;
};

// The address is wrong or taken: one sentence that names the setting http.listen.
class Error : public std::runtime_error {
  using std::runtime_error::runtime_error;
};

class Server {
 public:
  // Serves from here on. Throws Error.
  Server(const Options& options, Handlers handlers);
  ~Server();
  Server(const Server&) = delete;
  Server& operator=(const Server&) = delete;

  // Waits for requests in progress, at most about a second for clients that say nothing.
  // Idempotent.
  void Stop();
  uint16_t port() const;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace syncflow::http
