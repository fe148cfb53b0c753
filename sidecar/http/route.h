// Who answers what: a server's routes are data.
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace syncflow::http {

struct Request {
  std::string method;  // GET for HEAD too
  std::string path;    // as it was sent, without the query string
  std::string body;
  std::vector<std::string> parameters;  // what stands in the route's places, decoded
};

struct Response {
  int status = 200;
  std::string content_type = "application/json";
  std::string body;
  std::vector<std::string> headers;  // more of them: "Name: value"
};

// {"error":sentence}
Response Refuse(int status, std::string_view sentence);

using Handler = std::function<Response(const Request&)>;

struct Route {
  std::string method;   // GET answers HEAD too
  std::string path;     // "/documents/:collection/:id": a part with a colon is a place for any text
  std::string handler;  // its name in the metrics
  // One that throws answers 500 without the reason; the reason is logged.
  Handler answer;
  bool changes = false;  // only for whoever may change something
};

struct Match {
  const Route* route = nullptr;         // null: no such path, or another method
  std::vector<std::string> parameters;  // of its path
  std::string allowed;                  // the path's methods, "GET, HEAD, PUT"; "" = no such path
};

// nullopt for a path that is no UTF-8 once it is decoded, or holds a NUL.
std::optional<Match> Find(const std::vector<Route>& routes, std::string_view method,
                          std::string_view path);

}  // namespace syncflow::http
