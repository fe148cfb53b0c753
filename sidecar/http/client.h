// One request to a running sidecar's admin port.
#pragma once

#include <stdexcept>
#include <string>

#include "sidecar/http/route.h"

namespace syncflow::http {

// Nobody answers; a sentence.
class Unreachable : public std::runtime_error {
  using std::runtime_error::runtime_error;
};

// `listen` is the sidecar's http.listen; any address of this machine is asked as loopback. Throws
// Unreachable. Waits at most ten seconds. `token` is sent unless it is empty.
Response Ask(const std::string& listen, const Request& request, const std::string& token = "");

}  // namespace syncflow::http
