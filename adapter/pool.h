// Connections that many threads share: opened when they are needed, kept when they are not.
#pragma once

#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <memory>
#include <mutex>
#include <vector>

#include "adapter/connection.h"

namespace syncflow::adapter {

struct PoolOptions {
  ConnectOptions connect;
  // ?max=N of the url goes before this.
  int max = 10;
  // How long Borrow waits for a connection that others have.
  std::chrono::milliseconds wait{10'000};
};

// Plain numbers since the pool was made.
struct PoolProbe {
  uint64_t idle = 0;
  uint64_t in_use = 0;
  uint64_t opened = 0;
  uint64_t dropped = 0;  // lost, or left in a state that nobody else can use
  uint64_t waits = 0;    // borrowers that had to wait
};

// Used by any thread; no lock is held while a connection is opened or asked. Must outlive its
// leases.
class Pool {
 public:
  explicit Pool(PoolOptions options);

  // One connection for one thread. Goes back at the end, unless it was lost; a transaction left
  // open is rolled back.
  class Lease {
   public:
    Lease(Pool& pool, std::unique_ptr<Connection> connection)
        : pool_(&pool), connection_(std::move(connection)) {}
    ~Lease();
    Lease(Lease&&) noexcept = default;
    Lease& operator=(Lease&&) = delete;
    Connection& operator*() const { return *connection_; }
    Connection* operator->() const { return connection_.get(); }

   private:
    Pool* pool_;
    std::unique_ptr<Connection> connection_;
  };

  // The connection used last; one that the server has closed meanwhile is replaced. Throws Error
  // when none is free in time, the server cannot be reached, or the pool was closed.
  Lease Borrow();
  // Closes what is idle, wakes who waits; what is borrowed is closed when it comes back.
  void Close();
  PoolProbe probe() const;

 private:
  std::unique_ptr<Connection> TakeIdle();
  void Return(std::unique_ptr<Connection> connection);
  void GiveUpPlace();

  PoolOptions options_;
  mutable std::mutex mutex_;
  std::condition_variable free_;
  std::vector<std::unique_ptr<Connection>> idle_;  // the one used last at the end
  PoolProbe probe_;
  bool closed_ = false;
};

}  // namespace syncflow::adapter
