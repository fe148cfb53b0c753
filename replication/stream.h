// Hops 1 and 8: Receive what the walsender sends, Confirm what is durable. Owns the replication
// connection between START_REPLICATION and its end. Does not decode, does not retry. Used only on
// the ingest thread.
#pragma once

#include <chrono>
#include <optional>
#include <string>

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
  adapter::Clock::time_point next_status() const { return next_status_; }
  // The server asked for an answer and not everything received is confirmed yet: it may be shutting
  // down.
  bool server_waits() const { return server_waits_ && confirmed_sent_ < received_; }

  // How long the server has sent nothing. After 5 s every status update asks it for an answer.
  adapter::Clock::duration silence() const { return adapter::Clock::now() - heard_; }
  Lsn received() const { return received_; }
  Lsn confirmed() const { return confirmed_sent_; }  // as the last status update said
  // Ends the stream politely. Never throws.
  void End() noexcept;

 private:
  void Note(const XLogData& data);
  void Note(const Keepalive& keepalive);

  adapter::Connection connection_;
  std::chrono::milliseconds status_interval_;
  Probe& probe_;
  adapter::Clock::time_point next_status_;
  adapter::Clock::time_point heard_ = adapter::Clock::now();
  bool hears_ = false;  // a message came since the last Fill
  Lsn received_;        // end of the WAL heard of
  Lsn durable_;         // by Confirm
  Lsn confirmed_sent_;  // durable_ of the last status update
  bool reply_requested_ = false;
  bool server_waits_ = false;
};

}  // namespace syncflow::replication
