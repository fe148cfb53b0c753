// Hops 1 and 8: Receive what the walsender sends, Confirm what is durable. Owns the replication
// connection between START_REPLICATION and its end. Does not decode, does not retry. Used only on
// the ingest thread; while that is busy elsewhere (a disk that stalls), a thread of the stream's
// own goes on sending status updates, with what was last confirmed.
#pragma once

#include <chrono>
#include <functional>
#include <mutex>
#include <optional>
#include <string>
#include <thread>

#include "adapter/connection.h"
#include "replication/lsn.h"
#include "replication/probe.h"
#include "replication/wal_message.h"

namespace syncflow::replication {

struct StreamOptions {
  std::string slot;
  std::string plugin_options;  // as Wal2JsonOptions gives them
  // PostgreSQL sends transactions that commit at or after this, but never before the slot's
  // confirmed position: what lies between would be skipped in silence.
  Lsn start;
  // At the latest this often a status update goes out, asked for or not: wal2json is silent while
  // it filters a large foreign transaction, and only our own timer keeps wal_sender_timeout away.
  std::chrono::milliseconds status_interval{1000};
  // Asked now and then on the stream's own thread: true makes the connection end, so that a server
  // that waits for a confirmation can shut down. Empty: never.
  std::function<bool()> give_up;
};

class Stream {
 public:
  // Starts streaming; throws adapter::Error (slot in use, plugin refused, …).
  Stream(adapter::Connection connection, const StreamOptions& options, Probe& probe);

  // The next message of what has arrived; nullopt when more bytes are needed. Valid until the next
  // call. Throws adapter::Error when the connection ended, DecodeError when it speaks nonsense.
  std::optional<WalMessage> Receive();
  // Reads what the socket holds. True when the kernel may hold more right now.
  bool Fill();
  // Until something can be read, `wake_fd` is readable, or the deadline. Sends queued output
  // meanwhile.
  void Wait(adapter::Clock::time_point deadline, int wake_fd);

  // What the next status update says. `durable` is what PostgreSQL may forget: it never falls and
  // never exceeds what was received (asserted).
  void Confirm(Lsn durable);
  // Sends a status update when the timer is due, when the server asked, or when `durable` moved
  // far.
  void SendStatusIfDue();
  // Now, whatever the timer says (the end of a stream).
  void SendStatus();
  adapter::Clock::time_point next_status() const;
  // The server asked for an answer and not everything received is confirmed yet: it may be shutting
  // down.
  bool server_waits() const;

  // How long the server has sent nothing. After 5 s every status update asks it for an answer.
  adapter::Clock::duration silence() const;
  Lsn received() const { return received_; }
  Lsn confirmed() const;  // as the last status update said
  // Ends the stream politely. Never throws.
  void End() noexcept;

 private:
  void Note(const XLogData& data);
  void Note(const Keepalive& keepalive);
  void SendStatusNow();
  void KeepAlive(const std::stop_token& stop);

  // Held in every method, so it is free exactly while the ingest thread is busy elsewhere. Guards
  // all that follows.
  mutable std::mutex mutex_;
  adapter::Connection connection_;
  std::chrono::milliseconds status_interval_;
  std::function<bool()> give_up_;
  Probe& probe_;
  adapter::Clock::time_point next_status_;
  adapter::Clock::time_point heard_ = adapter::Clock::now();
  bool hears_ = false;  // a message came since the last Fill
  Lsn received_;        // end of the WAL heard of
  Lsn durable_;         // by Confirm
  Lsn confirmed_sent_;  // durable_ of the last status update
  bool reply_requested_ = false;
  bool server_waits_ = false;
  std::jthread keeper_;  // the last member: it ends before the others go
};

}  // namespace syncflow::replication
