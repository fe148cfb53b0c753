// Hop 2, Decode: an output plugin's payload becomes the begin, a change or the commit of a
// transaction. One decoder belongs to one stream: a new connection starts with a new one. Used on
// one thread.
#pragma once

#include <string>
#include <string_view>
#include <variant>

#include "replication/change.h"
#include "replication/lsn.h"

namespace syncflow::replication {

struct Begin {
  Lsn commit_lsn;
  uint32_t xid = 0;
};

struct Commit {
  Lsn commit_lsn;
  Lsn end_lsn;  // confirming this tells PostgreSQL that the transaction is kept
};

// Something the feed does not carry (a logical message, another table).
struct Other {};

using Event = std::variant<Begin, Change, Commit, Other>;

class Decoder {
 public:
  virtual ~Decoder() = default;
  // A Change borrows from the payload and from the decoder, until the next call at most. Throws
  // DecodeError.
  virtual Event Decode(std::string_view payload) = 0;
};

}  // namespace syncflow::replication
