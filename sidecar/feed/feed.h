// The feed: serves the journal to TCP consumers, protocol version 1 (see PROTOCOL.md of this room).
//
// One thread of its own with one io_context; sessions live on it and need no locks. A second thread
// (the cold reader) pulls journal ranges into the page cache so that the feed thread never waits
// for the disk.
#pragma once

#include <chrono>
#include <cstdint>
#include <memory>
#include <string>

#include "sidecar/feed/documents.h"
#include "sidecar/feed/probe.h"
#include "sidecar/feed/tls.h"
#include "sidecar/journal/journal.h"

namespace syncflow::feed {

struct Options {
  std::string listen = "127.0.0.1:7433";  // host:port, [v6]:port; port 0 picks a free one
  std::chrono::milliseconds hello_timeout{250};
  std::chrono::seconds heartbeat{15};  // for consumers that ask for none; plain mode: 30 s
  uint32_t connections_max = 20'000;
  uint64_t line_bytes_max = 8ull << 20;
  // This, tokens, or certificates of consumers are needed for an address other than loopback.
  bool allow_anonymous = false;
  std::string tokens_file;       // who may read what (tokens.h); empty: everybody everything
  TlsOptions tls;                // without a certificate: none
  ReadDocuments read_documents;  // for consumers that begin with a snapshot; nullptr: not offered
  std::string server_name = "syncflow-sidecar";  // with version, in the server's hello
};

class Feed {
 public:
  // Binds and listens; throws std::runtime_error with a sentence (address in use, not loopback
  // without tokens or allow_anonymous, no such tokens file, …). The journal must outlive the feed.
  Feed(Options options, const journal::Journal& journal);
  ~Feed();

  void Start();
  // Hop 5, Announce: the journal has new bytes or was bound. Any thread, cheap, coalesced.
  void Announce();
  // PostgreSQL is away (a sentence) or back (""): connected consumers get a non-fatal upstream_down
  // error, once per outage. Any thread.
  void UpstreamDown(const std::string& reason);
  // Says bye to every consumer at its next line end and closes; returns when all are gone or the
  // deadline passed.
  void Stop(std::chrono::milliseconds deadline);

  uint16_t port() const;
  const Probe& probe() const;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace syncflow::feed
