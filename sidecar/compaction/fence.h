// What must not be deleted from the table: an operation that is not durable in the journal, and
// anything at all while a named consumer needs what the journal no longer has.
//
//   1. A snapshot is taken, and behind it the end of the WAL. Whatever the snapshot's oldest
//      transaction number lies above was committed before that end.
//   2. Once the journal's durable position has come to that end, all of it is in the journal,
//      if the table is still the one that is streamed.
//   3. Only rows that older transactions than that have written may go.
//
// What is durable in the journal is never read from the table again, so it may go whatever happens
// to the stream afterwards. What consumers need can change, and is asked again before each batch.
#pragma once

#include <chrono>
#include <functional>
#include <optional>
#include <string>
#include <variant>

#include "adapter/connection.h"
#include "replication/table_version.h"
#include "sidecar/journal/journal.h"
#include "sidecar/pipeline_probe.h"

namespace syncflow::compaction {

class Fence {
 public:
  // The references must outlive the fence. `streamed`: what the journal follows. `pin_age`:
  // consumers that were away for longer need nothing. `patience`: how long the journal may take to
  // come to the end of the WAL.
  Fence(const journal::Journal& journal, const PipelineProbe& pipeline,
        replication::Streamed streamed, std::chrono::seconds pin_age,
        std::chrono::milliseconds patience = std::chrono::seconds(60));

  // Why nothing may be deleted now. Any thread, at once.
  std::optional<std::string> WhyClosed() const;
  // The part of it that can come up while a run goes on.
  std::optional<std::string> WhyHeldBack() const;

  struct Closed {
    std::string reason;
  };
  struct Open {
    std::string written_before;  // see adapter::CompactOptions
    std::string table_oid;
  };
  // Waits for the journal; `go` is asked meanwhile, and false closes. Throws adapter::Error.
  std::variant<Open, Closed> Pass(adapter::Connection& connection,
                                  const std::function<bool()>& go) const;

 private:
  struct Server;
  std::optional<std::string> WhyOther(const Server& server, replication::Lsn recorded) const;

  const journal::Journal& journal_;
  const PipelineProbe& pipeline_;
  replication::Streamed streamed_;
  std::chrono::microseconds pin_age_;
  std::chrono::milliseconds patience_;
};

}  // namespace syncflow::compaction
