// What Subscription::Next hands out.
#pragma once

#include <chrono>
#include <cstdint>
#include <string_view>

namespace syncflow::client {

// All views are valid until the next call of Next.
struct Event {
  enum class Type {
    kConnected,      // the feed has answered: what follows is ours, and begins after `cursor`
    kChange,         // an operation: "op" of `line`
    kDocument,       // of a snapshot: "document" of `line`
    kSnapshotBegin,  // documents follow; unless `resumed`, forget those of an earlier begin
    kSnapshotEnd,    // the documents are complete
    kLive,           // everything that was there has come; from here on it comes as it happens
    kHeartbeat,      // nothing happened that is asked for
    kGap,            // changes are missing, or come from the table: `code`, `message`
    kAcked,          // what was acknowledged up to `acked` is durable
    kProblem,        // the server's sentence; the connection stays: `code`, `message`
    kDisconnected,   // `message` says why; the next call waits for `retry_in` and connects
    kOther,          // a line that this version does not know: ignore it
  };

  Type type;
  std::string_view line = {};    // JSON, as it came; empty with kDisconnected
  std::string_view cursor = {};  // what came so far is everything up to here; empty: not known
  std::string_view code = {};
  std::string_view message = {};
  std::string_view after = {};  // with kGap: where what is missing begins
  std::string_view acked = {};
  std::string_view snapshot = {};  // the name of the one that a document belongs to
  uint64_t number = 0;             // of a document; with kSnapshotEnd, how many there were
  bool resumed = false;
  std::chrono::milliseconds retry_in{0};
};

}  // namespace syncflow::client
