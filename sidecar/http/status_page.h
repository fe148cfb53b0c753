// The page for people at http.listen: one file without anything from elsewhere, made of /status and
// /history by its own script.
#pragma once

#include "sidecar/http/route.h"

namespace syncflow::http {

// With a Content-Security-Policy that lets nothing but this answer's script and style run, and
// nobody but this server be asked.
Response StatusPage();

}  // namespace syncflow::http
