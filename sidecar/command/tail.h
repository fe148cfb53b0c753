// `syncflow-sidecar tail`: a consumer of the feed for people and pipes, and the smallest complete
// client: it reconnects with its last cursor, backs off with jitter, notices a dead connection, and
// does not repeat what the server refused.
#pragma once

#include <chrono>
#include <string>
#include <vector>

namespace syncflow::command {

struct TailOptions {
  std::string address = "127.0.0.1:7433";
  std::string name;  // of a durable consumer, who acknowledges what was printed; empty: none
  std::string from;  // latest | earliest | a cursor; empty: where the name stands, else latest
  std::vector<std::string> collections;  // empty: all
  std::string token_file;  // read at every connection; its first line is the token; empty: none
  // Raw change lines instead of one-liners for people; so it is anyway when `out` is no terminal.
  bool json = false;

  int out = 1;  // changes
  int err = 2;  // everything else: gaps, errors, reconnects
  std::chrono::milliseconds connect_timeout{10'000};
  std::chrono::milliseconds hello_timeout{10'000};
  std::chrono::milliseconds backoff_min{500};
  std::chrono::milliseconds backoff_max{30'000};
};

// Runs until SIGINT or SIGTERM, or until nobody reads `out` any more (0), or until the server
// refuses for good (1). 2: the address is none. While it runs, these two signals and SIGPIPE are
// its own. Once a process at a time.
int Tail(const TailOptions& options);

}  // namespace syncflow::command
