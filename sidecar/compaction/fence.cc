#include "sidecar/compaction/fence.h"

#include <cstdlib>
#include <thread>

#include "sidecar/now.h"

namespace syncflow::compaction {
namespace {

using std::chrono::duration_cast;
using std::chrono::hours;
using std::chrono::microseconds;
using std::chrono::milliseconds;

constexpr hours kClocksApartMax{1};
constexpr milliseconds kNap{20};

}  // namespace

// What the server says of itself, in one statement: its snapshot is older than its position.
struct Fence::Server {
  std::string snapshot_xmin;
  std::string table_oid;
  replication::Lsn position;  // of the end of its WAL
  std::string system_identifier;
  uint32_t timeline = 0;
  microseconds time;

  static Server Ask(adapter::Connection& connection, const replication::Streamed& streamed) {
    std::string table = connection.QuoteIdentifier(streamed.schema) + "." +
                        connection.QuoteIdentifier(streamed.table);
    adapter::Result row = connection.Query(
        "SELECT pg_catalog.pg_snapshot_xmin(pg_catalog.pg_current_snapshot()), position, (SELECT "
        "system_identifier FROM pg_catalog.pg_control_system()), "
        "pg_catalog.substr(pg_catalog.pg_walfile_name(position), 1, 8), (extract(epoch FROM "
        "pg_catalog.clock_timestamp()) * 1000000)::bigint, pg_catalog.to_regclass($1)::oid FROM "
        "(SELECT pg_catalog.pg_current_wal_insert_lsn() AS position) AS wal",
        {table});
    auto text = [&](int column) { return std::string(row.Get(0, column)); };
    Server server;
    server.snapshot_xmin = text(0);
    server.position = replication::Lsn::Parse(text(1)).value();
    server.system_identifier = text(2);
    server.timeline = static_cast<uint32_t>(std::stoul(text(3), nullptr, 16));
    server.time = microseconds(std::stoll(text(4)));
    server.table_oid = text(5);
    return server;
  }
};

Fence::Fence(const journal::Journal& journal, const PipelineProbe& pipeline,
             replication::Streamed streamed, std::chrono::seconds pin_age, milliseconds patience)
    : journal_(journal),
      pipeline_(pipeline),
      streamed_(std::move(streamed)),
      pin_age_(pin_age),
      patience_(patience) {}

std::optional<std::string> Fence::WhyClosed() const {
  PipelineState state = pipeline_.state;
  if (state == PipelineState::kStandby) return "standing by: another sidecar reads the slot";
  if (!journal_.epoch()) return "there is no history yet: PostgreSQL has not been reached";
  if (state != PipelineState::kStreaming) {
    return "the changes are not being streamed (state " +
           std::string(kPipelineStates[static_cast<size_t>(state)]) +
           "), so nobody knows what the journal lacks";
  }
  return WhyHeldBack();
}

std::optional<std::string> Fence::WhyHeldBack() const {
  auto epoch = journal_.epoch();
  journal::Position earliest = journal_.earliest().base;
  for (const journal::NamedPosition& consumer : journal_.consumers().List()) {
    if (!consumer.connected && consumer.WasAway(pin_age_, MicrosecondsNow())) continue;
    bool ours = consumer.acknowledged.epoch == epoch;
    journal::Position needed = ours ? consumer.acknowledged.position : journal::Position();
    if (needed >= earliest) continue;
    return "the consumer '" + consumer.name +
           "' has not acknowledged what the journal no longer has: move or remove it "
           "(syncflow-sidecar consumers); a larger journal.pin_size_max prevents it";
  }
  return std::nullopt;
}

// The connection may lead to another server than the stream's, after a failover for example.
std::optional<std::string> Fence::WhyOther(const Server& server, replication::Lsn recorded) const {
  auto identity = journal_.identity();
  if (!identity || identity->system_identifier != server.system_identifier ||
      identity->timeline != server.timeline)
    return "postgres.url leads to another server than the one that is streamed";
  if (server.position < recorded)
    return "the server stands before the journal's end, as after a restore";
  auto apart = duration_cast<hours>(server.time - microseconds(MicrosecondsNow()));
  if (std::abs(apart.count()) < kClocksApartMax.count()) return std::nullopt;
  return "the clock of PostgreSQL is " + std::to_string(std::abs(apart.count())) + " h " +
         (apart.count() > 0 ? "ahead of" : "behind") +
         " the one of this machine: put the wrong one right";
}

std::variant<Fence::Open, Fence::Closed> Fence::Pass(adapter::Connection& connection,
                                                     const std::function<bool()>& go) const {
  if (auto reason = WhyClosed()) return Closed{*reason};
  replication::Lsn recorded = journal_.recorded();
  Server server = Server::Ask(connection, streamed_);
  if (auto reason = WhyOther(server, recorded)) return Closed{*reason};
  // Writes a little WAL, so that an idle server's stream comes to the position and beyond.
  connection.Query("SELECT pg_catalog.pg_current_xact_id()");
  auto deadline = adapter::Clock::now() + patience_;
  while (journal_.durable() < server.position) {
    if (!go()) return Closed{"stopped while waiting for the journal"};
    if (adapter::Clock::now() >= deadline) {
      return Closed{"the journal has not come to the server's position " +
                    server.position.ToString() + " in time"};
    }
    std::this_thread::sleep_for(kNap);
  }
  // What the stream has left out is in the table alone, until the table is read anew.
  if (!replication::IsSameTable(journal_.table_version(),
                                replication::TableVersion(connection, streamed_)))
    return Closed{"the table has changed, and is about to be read anew"};
  if (auto reason = WhyClosed()) return Closed{*reason};
  if (auto reason = WhyOther(server, recorded)) return Closed{*reason};
  return Open{server.snapshot_xmin, server.table_oid};
}

}  // namespace syncflow::compaction
