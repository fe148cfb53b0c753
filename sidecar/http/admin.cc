#include "sidecar/http/admin.h"

#include <utility>

#include "sidecar/http/status_page.h"

namespace syncflow::http {

std::vector<Route> AdminRoutes(const Handlers& handlers) {
  std::vector<Route> routes;
  auto page = [&](const char* name, const std::function<Response()>& handler) {
    if (!handler) return;
    routes.push_back(
        {"GET", std::string("/") + name, name, [handler](const Request&) { return handler(); }});
  };
  page("metrics", handlers.metrics);
  page("livez", handlers.livez);
  page("readyz", handlers.readyz);
  page("startupz", handlers.startupz);
  page("status", handlers.status);
  page("history", handlers.history);
  routes.push_back({"GET", "/", "page", [](const Request&) { return StatusPage(); }});
  if (handlers.compact) routes.push_back({"POST", "/compact", "compact", handlers.compact, true});
  if (!handlers.consumers) return routes;
  routes.push_back({"GET", "/consumers", "consumers", handlers.consumers});
  for (const char* method : {"PUT", "DELETE"})
    routes.push_back({method, "/consumers/:name", "consumers", handlers.consumers, true});
  return routes;
}

}  // namespace syncflow::http
