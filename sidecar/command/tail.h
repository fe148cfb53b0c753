// `syncflow-sidecar tail`: prints the feed for people and pipes, and comes back after every break
// where it was (client/subscription.h).
#pragma once

#include <string>

#include "sidecar/client/subscription.h"

namespace syncflow::command {

struct TailOptions {
  client::Options feed;    // a gap is always told and passed
  std::string token_file;  // its first line is the token; empty: none
  // Raw change lines instead of one-liners for people; so it is anyway when `out` is no terminal.
  bool json = false;

  int out = 1;  // changes and documents
  int err = 2;  // everything else: gaps, errors, reconnects
};

// Runs until SIGINT or SIGTERM, or until nobody reads `out` any more (0), or until the server
// refuses for good (1). 2: the address is none, or a TLS file cannot be used. With a name it
// acknowledges what was printed. While it runs, these two signals and SIGPIPE are its own. Once a
// process at a time.
int Tail(const TailOptions& options);

}  // namespace syncflow::command
