#include "sidecar/sync_api/sync_api.h"

#include <sys/eventfd.h>
#include <unistd.h>

#include <utility>

#include "sidecar/sync_api/answers.h"

namespace syncflow::sync_api {
namespace {

using namespace std::chrono_literals;

constexpr auto kDrainMax = 4s;
constexpr auto kCancelMax = 1s;

adapter::AdapterOptions AdapterOptionsOf(const Options& options, int stop_fd) {
  adapter::AdapterOptions out;
  out.pool.connect = options.connect;
  out.pool.connect.timeout = 5s;
  out.pool.connect.stop_fd = stop_fd;
  out.pool.max = options.pool_max;
  out.pool.wait = 5s;
  out.schema = options.schema;
  return out;
}

http::Options HttpOptionsOf(const Options& options) {
  http::Options out;
  out.listen = options.listen;
  out.setting = "sync_api.listen";
  out.threads = 64;
  out.body_bytes_max = 10 << 20;  // as SyncFlow's server takes
  out.patience = 5s;
  out.transfer_max = 60s;
  out.keep_alive = true;
  out.cross_origin = true;
  out.token_file = options.token_file;
  return out;
}

}  // namespace

SyncApi::SyncApi(const Options& options, http::Handler compact)
    : stop_fd_(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)),
      adapter_(AdapterOptionsOf(options, stop_fd_)),
      server_(HttpOptionsOf(options), Routes(adapter_, std::move(compact))) {}

SyncApi::~SyncApi() {
  Stop();
  close(stop_fd_);
}

void SyncApi::Stop() {
  if (!server_.Drain(kDrainMax)) {
    eventfd_write(stop_fd_, 1);  // what waits for PostgreSQL gives up
    server_.Drain(kCancelMax);
  }
  server_.Stop();
  adapter_.Disconnect();
}

}  // namespace syncflow::sync_api
