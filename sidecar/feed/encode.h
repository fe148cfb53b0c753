// Hop 3, Encode: one Change becomes one finished feed line, once for all consumers.
//
//   {"type":"change","cursor":"…","transaction":{"xid":1,"index":3,"last":true},
//    "committed_at":"…","recovered":true,"op":{…}}\n
//
// "recovered" stands only where it is true: the operation was read from the table, since the stream
// has lost it.
//
// Whether a change is its transaction's last is known only when the next message has come; the
// encoder holds one line back until then.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "replication/change.h"
#include "sidecar/journal/cursor.h"

namespace syncflow::feed {

// 2026-11-23T03:31:22.567891Z of microseconds since 1970; years 0 to 9999.
std::string FormatTime(int64_t microseconds);

// Used only on the ingest thread.
class Encoder {
 public:
  Encoder(journal::Epoch epoch, uint64_t line_bytes_max);

  // Encodes `change` and holds it. There must be none held: Finish comes first.
  void Encode(const replication::Change& change);
  bool holds() const { return holds_; }
  journal::Position position() const { return position_; }
  // The held line, complete with "last" and '\n'; valid until the next Encode. Nothing is held
  // afterwards.
  std::string_view Finish(bool last);
  // Forgets what is held: the connection ended inside the transaction and PostgreSQL will send it
  // again.
  void Drop() { holds_ = false; }

  uint64_t omitted() const { return omitted_; }  // lines whose fields were too large

 private:
  static constexpr size_t kLastMax = 5;  // "false"

  void WriteHead(const replication::Change& change);
  void Shorten(adapter::OperationView operation, size_t head_bytes);

  journal::Epoch epoch_;
  uint64_t line_bytes_max_;
  std::string line_;  // with a gap at last_at_ where true or false belongs
  size_t last_at_ = 0;
  journal::Position position_;
  bool holds_ = false;
  uint64_t omitted_ = 0;
  replication::CommitTime time_cached_ = INT64_MIN;  // the same for a whole transaction
  std::string time_text_;
};

}  // namespace syncflow::feed
