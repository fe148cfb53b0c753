// listenForChanges: every operation that is committed from now on, once, whatever happens to the
// connection meanwhile.
//
// NOTIFY tells which operations there are, and loses some whenever the connection goes. So what has
// been handed over is kept as a snapshot: everything visible in it is done. After a gap, the rows
// of the table that are newer than the snapshot are looked for, by the transactions that wrote them
// (xmin), since their timestamps are set by clients. The snapshot moves on behind a NOTIFY of our
// own: PostgreSQL queues notifications in the order of commits, so what is visible before it was
// sent has been announced before it arrives.
//
// Used on one thread; Stop() from any.
#pragma once

#include <chrono>
#include <cstdint>
#include <deque>
#include <exception>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <unordered_set>
#include <vector>

#include "adapter/backoff.h"
#include "adapter/connection.h"
#include "adapter/listener.h"
#include "adapter/operation.h"

namespace syncflow::adapter {

struct ChangeGap {
  std::chrono::milliseconds away{0};  // how long nothing was heard, at most 2 s too long
  size_t recovered = 0;               // operations that were found afterwards; they follow
  // False where the server's transaction numbers began anew (restored, another server): what was
  // committed meanwhile cannot be told from what was there before.
  bool complete = true;
};

// Any may be empty. What one of them throws ends Run, which throws it on.
struct ChangeEvents {
  std::function<void()> listening;  // once: what is committed from now on is handed over
  // In the order of commits; what a gap brought, by received_at and id.
  std::function<void(const Operation&)> change;
  std::function<void(const ChangeGap&)> gap;
  // A lost connection (the first of a row of failures; it is reopened), or a row that cannot be
  // read and is left out.
  std::function<void(const Error&)> trouble;
};

struct ChangeListenerOptions {
  ConnectOptions connect;
  std::string schema = "public";
  std::string channel = "operation_inserted";
  std::chrono::milliseconds backoff_min{100};
  std::chrono::milliseconds backoff_max{30'000};
};

// Two connections: one listens, one asks. Needs the trigger of NotifyMode::kTrigger. An operation
// that somebody UPDATEs during a gap can be told twice, by the same id; one that is deleted before
// it was read is not told. Remembers the ids of the last seconds, and of as long as the oldest
// transaction on the server has been writing.
class ChangeListener {
 public:
  explicit ChangeListener(ChangeListenerOptions options);
  ~ChangeListener();
  // Until Stop(). Call it once.
  void Run(const ChangeEvents& events);
  void Stop() { listener_.Stop(); }

 private:
  // As pg_current_snapshot() has it: below xmin all is over, from xmax on nothing had begun.
  struct Snapshot {
    uint64_t xmin = 0;
    uint64_t xmax = 0;
  };
  struct Found {
    Snapshot snapshot;
    std::vector<std::string> ids;  // visible in it
  };
  struct Ids {
    uint64_t below = 0;  // written by transactions before this one
    std::unordered_set<std::string> ids;
  };

  void Begin();
  void Work();
  void CatchUp();
  void EndGap();
  void HandOver();
  void HandOver(const Result& result, int row, const std::string& schema);
  void MoveOn();
  void Arrived(std::string_view marker);
  void Failed(const Error& error);
  Found Find(std::optional<uint64_t> since);
  bool Remember(const std::string& id);
  void CloseRemembered(uint64_t below);
  template <typename Callback, typename... Arguments>
  void Tell(const Callback& callback, const Arguments&... arguments);
  template <typename Action>
  void Guarded(const Action& action);
  bool Stopped() const;
  Connection& Worker();

  ChangeListenerOptions options_;
  std::string marker_channel_;
  Listener listener_;
  ChangeEvents events_;
  std::exception_ptr thrown_;  // by one of them

  std::unique_ptr<Connection> worker_;  // opened when needed
  Backoff backoff_;
  Clock::time_point retry_at_;  // for the worker, after a failure
  bool failing_ = false;

  bool begun_ = false;
  Snapshot base_;                      // everything visible in it was handed over, or is pending
  std::optional<Snapshot> next_base_;  // as soon as its marker arrives
  uint64_t marker_ = 0;                // the last one sent
  Clock::time_point marked_;
  std::deque<Ids> remembered_;  // the last one is open
  std::deque<std::string> pending_;
  std::optional<std::chrono::milliseconds> away_;  // a gap that is to be caught up
  bool in_gap_ = false;                            // from its begin until it is caught up
  std::deque<std::string> since_gap_;  // heard meanwhile; handed over behind what is found
};

}  // namespace syncflow::adapter
