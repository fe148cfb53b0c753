// wal2json, format version 2: one JSON object a message.
//
//   {"action":"B","xid":727,"timestamp":"2026-11-23 09:14:20.33967+00","lsn":"0/153C828",
//    "nextlsn":"0/153C858"}
//   {"action":"I","xid":727,"timestamp":"…","lsn":"0/153C640","schema":"public",
//    "table":"operations","columns":[{"name":"id","value":"b"},…]}
//   {"action":"C", …like B}
//
// The lsn of B and C is the commit record's; that of I is the change's own, neither unique nor
// ordered, and is not used. jsonb columns arrive as JSON text inside a JSON string: unescaped once,
// they are spliced into the feed line as they are.
#pragma once

#include <memory>
#include <string>
#include <string_view>

#include "replication/decoder.h"

namespace syncflow::replication {

class Wal2Json : public Decoder {
 public:
  Wal2Json();
  ~Wal2Json() override;
  Event Decode(std::string_view payload) override;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

// The options of START_REPLICATION that give the messages above, for inserts into one table:
// ("format-version" '2', …), ready to be appended to the command.
std::string Wal2JsonOptions(std::string_view schema, std::string_view table);

}  // namespace syncflow::replication
