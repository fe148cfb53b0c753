// What travels inside CopyData on a logical replication stream (PostgreSQL documentation,
// "Streaming Replication Protocol"). Integers are big-endian, times are microseconds since
// 2000-01-01 UTC.
//
//   server:  XLogData    'w' | start LSN 8 | server WAL end 8 | sent at 8 | payload …
//            Keepalive   'k' | server WAL end 8 | sent at 8 | reply requested 1
//   client:  StatusUpdate 'r' | written LSN 8 | flushed LSN 8 | applied LSN 8 | sent at 8 | reply
//   requested 1
//
// Pure: bytes in, value out.
#pragma once

#include <chrono>
#include <string>
#include <string_view>
#include <variant>

#include "replication/lsn.h"

namespace syncflow::replication {

struct XLogData {
  Lsn start;    // of this message's WAL; not ordered between transactions, so no cursor
  Lsn wal_end;  // the server's position when it sent this
  std::string_view payload;  // the output plugin's; borrows from the parsed bytes
};

struct Keepalive {
  Lsn wal_end;
  bool reply_requested = false;
};

using WalMessage = std::variant<XLogData, Keepalive>;

// Throws DecodeError.
WalMessage ParseWalMessage(std::string_view bytes);

struct StatusUpdate {
  Lsn written;  // received
  Lsn flushed;  // durable: what PostgreSQL may forget
  Lsn applied;
  std::chrono::system_clock::time_point sent_at;
  bool reply_requested = false;
};

std::string EncodeStatusUpdate(const StatusUpdate& update);

}  // namespace syncflow::replication
