// Hears SyncFlow's NOTIFY channel on a connection of its own. NOTIFY is a hint: what is sent while
// the connection is away is lost, so every loss of the connection is reported as a gap.
//
// Used on one thread; Stop() from any.
#pragma once

#include <atomic>
#include <chrono>
#include <functional>
#include <optional>
#include <string>

#include "adapter/connection.h"
#include "adapter/operation.h"

namespace syncflow::adapter {

// {"id","type","collection","doc_id"} as the trigger sends it.
struct OperationNotice {
  std::string id;
  std::string type;
  std::string collection;
  std::string doc_id;
};

// nullopt when the payload is not such an object (anybody may NOTIFY any channel).
std::optional<OperationNotice> ParseOperationNotice(std::string_view payload);

struct ListenerOptions {
  ConnectOptions connect;
  std::string channel = "operation_inserted";
  std::string second_channel;  // "" = none; its payloads go to `second`
  std::chrono::milliseconds backoff_min{100};
  std::chrono::milliseconds backoff_max{30'000};
};

class Listener {
 public:
  struct Events {
    std::function<void(const OperationNotice&)> notice;
    // The connection was lost or could not be opened (only the first failure of a row of them).
    std::function<void(const Error&)> gap_begin;
    // LISTEN is in force again; `away` since the last moment it surely was (the server is asked
    // every 2 s, so it may be that much too long, never too short). First call: away = 0.
    std::function<void(std::chrono::milliseconds away)> gap_end;
    std::function<void(std::string_view payload)> foreign;   // a payload that is no OperationNotice
    std::function<void(std::string_view payload)> second{};  // of the second channel
    // At least every 100 ms while connected or backing off; not while connecting or while a dead
    // link is found out (connect.timeout at most).
    std::function<void()> tick;
  };
  explicit Listener(ListenerOptions options);
  ~Listener();
  // Listens, reconnects with jittered backoff, until Stop(), which ends every wait at once. Never
  // opens a transaction. Any of the events may be empty.
  void Run(const Events& events);
  void Stop();
  // Readable once stopping; not to be read or closed.
  int stop_fd() const { return wake_fd_; }

 private:
  void Listen(const Events& events, std::optional<Clock::time_point>& heard);
  static Clock::time_point Ask(Connection& connection);
  void Hand(const Notification& notification, const Events& events) const;
  void Pause(std::chrono::milliseconds delay, const Events& events) const;

  ListenerOptions options_;
  bool connected_ = false;  // since the last failure
  int wake_fd_;             // readable once stopping
  std::atomic<bool> stopping_{false};
};

}  // namespace syncflow::adapter
