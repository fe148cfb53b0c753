#include "adapter/pool.h"

#include "adapter/conninfo.h"

namespace syncflow::adapter {
namespace {

// A server that went away has closed its end; nothing else is sent to a connection that is idle but
// notices, which are taken in here.
bool IsAlive(Connection& connection) {
  try {
    while (connection.Wait(Clock::now())) connection.ConsumeInput();
    return connection.idle();
  } catch (const Error&) {
    return false;
  }
}

// Ready for the next borrower.
bool IsTidy(Connection& connection) {
  try {
    if (!connection.idle()) connection.Execute("ROLLBACK");
    return connection.idle();
  } catch (const Error&) {
    return false;
  }
}

}  // namespace

Pool::Pool(PoolOptions options) : options_(std::move(options)) {
  if (auto max = PoolMaxOf(options_.connect.url)) options_.max = *max;
}

Pool::Lease Pool::Borrow() {
  while (auto connection = TakeIdle()) {
    if (IsAlive(*connection)) return Lease(*this, std::move(connection));
    std::lock_guard held(mutex_);
    ++probe_.dropped;
    --probe_.in_use;
  }
  // A place is ours, without a connection.
  try {
    auto connection = std::make_unique<Connection>(options_.connect);
    std::lock_guard held(mutex_);
    ++probe_.opened;
    return Lease(*this, std::move(connection));
  } catch (...) {
    GiveUpPlace();
    throw;
  }
}

// Takes a place; null when it comes without a connection.
std::unique_ptr<Connection> Pool::TakeIdle() {
  std::unique_lock held(mutex_);
  auto has_place = [this] {
    return closed_ || probe_.in_use < static_cast<uint64_t>(options_.max);
  };
  if (!has_place()) ++probe_.waits;
  if (!free_.wait_for(held, options_.wait, has_place)) {
    throw Error("all " + std::to_string(options_.max) + " connections of the pool are in use",
                "53300",
                "raise postgres.pool_max (or ?max= in postgres.url), or wait until work in "
                "progress has ended");
  }
  if (closed_) throw Error("the pool of connections was closed");
  ++probe_.in_use;
  if (idle_.empty()) return nullptr;
  auto connection = std::move(idle_.back());
  idle_.pop_back();
  return connection;
}

void Pool::Return(std::unique_ptr<Connection> connection) {
  bool tidy = IsTidy(*connection);
  std::unique_lock held(mutex_);
  bool keep = tidy && !closed_;
  if (keep) idle_.push_back(std::move(connection));
  probe_.dropped += keep ? 0 : 1;
  --probe_.in_use;
  held.unlock();
  free_.notify_one();
}

void Pool::GiveUpPlace() {
  {
    std::lock_guard held(mutex_);
    --probe_.in_use;
  }
  free_.notify_one();
}

void Pool::Close() {
  std::vector<std::unique_ptr<Connection>> closing;
  {
    std::lock_guard held(mutex_);
    closed_ = true;
    closing.swap(idle_);
  }
  free_.notify_all();
}

PoolProbe Pool::probe() const {
  std::lock_guard held(mutex_);
  PoolProbe probe = probe_;
  probe.idle = idle_.size();
  return probe;
}

Pool::Lease::~Lease() {
  if (connection_) pool_->Return(std::move(connection_));
}

}  // namespace syncflow::adapter
