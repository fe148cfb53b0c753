// SyncFlow's sync server, beside or in place of the one on Node.js: its own HTTP port, its own pool
// of connections.
#pragma once

#include <cstdint>
#include <string>

#include "adapter/postgres_sync_adapter.h"
#include "sidecar/http/server.h"

namespace syncflow::sync_api {

struct Options {
  std::string listen;  // host:port
  adapter::ConnectOptions connect;
  std::string schema = "public";
  int pool_max = 10;
  std::string token_file;  // for /compact, see http::Options
};

class SyncApi {
 public:
  // Serves from here on; PostgreSQL is first asked when a client asks. Throws http::Error.
  // `compact` answers /compact.
  SyncApi(const Options& options, http::Handler compact);
  ~SyncApi();
  SyncApi(const SyncApi&) = delete;
  SyncApi& operator=(const SyncApi&) = delete;

  // Requests under way are answered, for five seconds at most; new ones are told to come later.
  // Within eight seconds, whatever PostgreSQL does. Idempotent.
  void Stop();
  uint16_t port() const { return server_.port(); }
  const http::Probe& probe() const { return server_.probe(); }
  adapter::PoolProbe pool_probe() const { return adapter_.pool_probe(); }

 private:
  int stop_fd_;
  adapter::PostgresSyncAdapter adapter_;
  http::Server server_;
};

}  // namespace syncflow::sync_api
