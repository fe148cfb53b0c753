// The paths of http.listen.
#pragma once

#include <functional>
#include <vector>

#include "sidecar/http/route.h"

namespace syncflow::http {

// An empty one is a path that does not exist.
struct Handlers {
  std::function<Response()> metrics;
  std::function<Response()> livez;
  std::function<Response()> readyz;
  std::function<Response()> startupz;
  std::function<Response()> status;
  std::function<Response()> history;  // of the lag, for the page
  // GET /consumers, PUT and DELETE /consumers/NAME; the name is the request's parameter.
  Handler consumers;
  Handler compact;  // POST
};

// And / is the page for people.
std::vector<Route> AdminRoutes(const Handlers& handlers);

}  // namespace syncflow::http
