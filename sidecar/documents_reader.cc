#include "sidecar/documents_reader.h"

#include <charconv>
#include <chrono>
#include <cstdio>
#include <random>

#include "replication/slot.h"

namespace syncflow {
namespace {

constexpr std::chrono::seconds kSlotTimeout{60};
constexpr std::chrono::minutes kRowTimeout{10};

int64_t Number(std::string_view text) {
  int64_t value = 0;
  std::from_chars(text.data(), text.data() + text.size(), value);
  return value;
}

std::string NewSlotName(const std::string& prefix) {
  char random[9];
  std::snprintf(random, sizeof random, "%08x", std::random_device{}());
  return prefix.substr(0, 40) + "_snapshot_" + random;
}

void RequireSameHistory(adapter::Connection& connection, const journal::Journal& journal) {
  replication::SystemIdentity system = replication::IdentifySystem(connection);
  auto held = journal.identity();
  if (held && held->system_identifier == system.system_identifier &&
      held->timeline == system.timeline)
    return;
  throw adapter::Error("this server does not have the history that the journal follows", "",
                       "wait until the stream has followed a failover");
}

class Reader {
 public:
  Reader(const DocumentsReaderOptions& options, const journal::Journal& journal, int stop_fd)
      : options_(options), journal_(journal), connect_(options.connect) {
    connect_.stop_fd = stop_fd;
  }

  void Run(feed::DocumentSink& sink) {
    adapter::Connection rows(connect_);
    sink.Begin(Open(rows));
    rows.set_timeout(kRowTimeout);
    rows.ForEachRow(
        "SELECT collection, id, data, coalesce(rev, 1), coalesce(deleted, false), vector_clock, "
        "updated_at FROM " +
            Table(rows),
        [&sink](const adapter::Result& row) { sink.Add(ToDocument(row)); });
  }

 private:
  // The slot has done its work, and is gone, once its snapshot is taken over. Between the two
  // nobody may rewrite the table: the snapshot would find it empty.
  replication::Lsn Open(adapter::Connection& rows) {
    adapter::ConnectOptions walsender = connect_;
    walsender.replication = true;
    adapter::Connection connection(walsender);
    RequireSameHistory(connection, journal_);
    rows.Execute("SET row_security = off");  // an error where policies would hide documents
    rows.Execute("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY");
    rows.Execute("LOCK TABLE " + Table(rows) + " IN ACCESS SHARE MODE");
    connection.set_timeout(kSlotTimeout);
    replication::NewSlot slot = replication::CreateSlot(
        connection, NewSlotName(options_.slot), "pgoutput", replication::SlotLife::kTemporary);
    rows.Execute("SET TRANSACTION SNAPSHOT " + rows.QuoteLiteral(slot.snapshot));
    return slot.start;
  }

  std::string Table(const adapter::Connection& rows) const {
    return rows.QuoteIdentifier(options_.schema) + ".documents";
  }

  static feed::Document ToDocument(const adapter::Result& row) {
    feed::Document document;
    document.collection = row.Get(0, 0);
    document.id = row.Get(0, 1);
    document.data = JsonOf(row, 2);
    document.rev = Number(row.Get(0, 3));
    document.deleted = row.Get(0, 4) == "t";
    document.vector_clock = JsonOf(row, 5);
    document.updated_at = Number(row.Get(0, 6));
    return document;
  }

  static std::string_view JsonOf(const adapter::Result& row, int column) {
    return row.IsNull(0, column) ? "null" : row.Get(0, column);
  }

  const DocumentsReaderOptions& options_;
  const journal::Journal& journal_;
  adapter::ConnectOptions connect_;
};

}  // namespace

void ReadDocuments(const DocumentsReaderOptions& options, const journal::Journal& journal,
                   feed::DocumentSink& sink, int stop_fd) {
  Reader(options, journal, stop_fd).Run(sink);
}

}  // namespace syncflow
