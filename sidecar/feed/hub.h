// What all sessions share. Belongs to the feed thread, except where a member says otherwise.
#pragma once

#include <array>
#include <asio/io_context.hpp>
#include <asio/post.hpp>
#include <asio/thread_pool.hpp>
#include <chrono>
#include <functional>
#include <list>
#include <map>
#include <memory>
#include <random>
#include <string>

#include "sidecar/feed/feed.h"
#include "sidecar/feed/filter.h"
#include "sidecar/feed/snapshot.h"
#include "sidecar/feed/tls.h"
#include "sidecar/feed/tokens.h"
#include "sidecar/now.h"

namespace syncflow::feed {

class Session;

struct Hub {
  Hub(Options given, const journal::Journal& source, std::function<void()> announce)
      : options(std::move(given)),
        journal(source),
        snapshots(options.read_documents, source, options.line_bytes_max, std::move(announce),
                  [this](std::function<void()> work) { asio::post(cold, std::move(work)); }) {}

  Options options;
  const journal::Journal& journal;
  Probe probe;
  asio::io_context io{1};
  // Reads that may wait for the disk. One thread: a cold consumer must not take the machine from
  // warm ones.
  asio::thread_pool cold{1};
  std::list<std::shared_ptr<Session>> sessions;
  std::map<std::string, Session*> names;  // of durable consumers: who has them now
  // What any session has just read; one is enough, since each reads and takes in one turn. (Not
  // thread_local: that would sit on the small stacks of other libraries' threads.)
  std::array<char, 64 << 10> scratch;
  std::shared_ptr<const Tokens> tokens;  // nullptr: nobody is asked for one
  std::shared_ptr<const TlsServer> tls;  // nullptr: sockets as they are
  std::chrono::steady_clock::time_point next_handshake_warning;
  // Bytes can travel; whoever does not use them within the hello timeout gets plain mode.
  std::function<void(std::shared_ptr<Session>)> await_hello;
  Filters filters;
  Pages pages;
  Snapshots snapshots;
  std::string upstream_down;       // why PostgreSQL is away; empty while it is there
  std::function<void()> on_empty;  // set while stopping: the last session has ended
  std::minstd_rand random{std::random_device{}()};

  void SessionEnded() {
    if (sessions.empty() && on_empty) on_empty();
  }
};

}  // namespace syncflow::feed
