// One request on a connection of civetweb's: reads it, has it answered, sends the answer. Used on
// one of civetweb's threads.
#pragma once

#include <chrono>
#include <optional>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "sidecar/http/route.h"
#include "sidecar/http/server.h"

struct mg_connection;

namespace syncflow::http {

class Exchange {
 public:
  // `keeps`: the connection may stay for the next request.
  Exchange(mg_connection* connection, const Options& options, bool keeps);

  // What the route's handler says, or why none was asked. Reads the body.
  Response Answer(const std::vector<Route>& routes, bool draining);
  // The connection ends with the answer.
  void EndConnection() { keeps_ = false; }
  // Everything within options.transfer_max; a client that is slower, or gone, gets less.
  void Send(const Response& response);

  // The route's name in the metrics.
  const std::string& handler() const { return handler_; }

 private:
  Response Preflight();
  Response AnswerBy(const Route& route, Request request);
  std::optional<Response> WhyNotChange() const;
  std::variant<std::string, Response> ReadBody();
  void DiscardBody();
  std::string Head(const Response& response) const;

  mg_connection* connection_;
  const Options& options_;
  std::string handler_ = "other";
  bool keeps_;
  bool unread_;  // there is a body, and it was not read to its end
};

}  // namespace syncflow::http
