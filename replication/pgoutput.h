// pgoutput, protocol version 1 with text values: PostgreSQL's own plugin, binary messages, integers
// in network order.
//
//   B  int64 commit LSN, int64 commit time (microseconds since 2000), int32 xid
//   R  int32 relation, string schema, string table, int8 replica identity,
//      int16 columns { int8 flags, string name, int32 type, int32 modifier }
//   I  int32 relation, 'N', int16 columns { 'n' | 't' int32 length, bytes }
//   C  int8 flags, int64 commit LSN, int64 end LSN, int64 commit time
//
// A relation is described before its first change of a connection and again after it was altered.
// Transactions without a published change are not sent at all. Values are the columns' output
// texts, so jsonb is spliced into the feed line as it is.
#pragma once

#include <memory>
#include <string>
#include <string_view>

#include "replication/decoder.h"

namespace syncflow::replication {

class PgOutput : public Decoder {
 public:
  // Inserts into this table are changes; whatever else is published is Other.
  PgOutput(std::string schema, std::string table);
  ~PgOutput() override;
  Event Decode(std::string_view payload) override;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

// The options of START_REPLICATION that give the messages above.
std::string PgOutputOptions(std::string_view publication);

}  // namespace syncflow::replication
