#include "sidecar/command/data.h"

#include <unistd.h>

#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include "adapter/accept.h"

namespace syncflow::command {
namespace {

constexpr std::chrono::hours kLongTimeout{24};  // for what reads whole tables
constexpr size_t kBatchLines = 1000;
constexpr size_t kBatchBytes = 4u << 20;
constexpr size_t kLineMax = 80u << 20;  // data of 64 MiB and the rest

adapter::Connection ConnectForLong(const Database& database) {
  adapter::Connection connection(database.connect);
  connection.set_timeout(kLongTimeout);
  return connection;
}

void PutLine(const std::string& line) {
  std::printf("%s\n", line.c_str());
}

// Overwrites itself, on a terminal only.
void ShowProgress(const std::string& text) {
  if (isatty(STDERR_FILENO) == 1) std::fprintf(stderr, "\r%s", text.c_str());
}

void EndProgress() {
  ShowProgress("\033[K");
}

// False at the end of the input; what a line has beyond the longest is dropped.
bool ReadLine(std::FILE* input, std::string& line) {
  line.clear();
  int c = std::getc(input);
  if (c == EOF) return false;
  for (; c != EOF && c != '\n'; c = std::getc(input)) {
    if (line.size() <= kLineMax) line += static_cast<char>(c);
  }
  return true;
}

class Acceptor {
 public:
  explicit Acceptor(const Database& database)
      : connection_(database.connect), schema_(database.schema) {}

  void Take(const std::string& line) {
    ++line_;
    if (line.find_first_not_of(" \t\r") == line.npos) return;
    try {
      if (line.size() > kLineMax) throw std::invalid_argument("the line is longer than 80 MiB");
      operations_.push_back(adapter::Operation::FromJson(line));
      lines_.push_back(line_);
    } catch (const std::invalid_argument& error) {
      Reject(line_, "", error.what());
    }
    bytes_ += line.size();
    if (operations_.size() == kBatchLines || bytes_ >= kBatchBytes) Send();
  }

  void Send() {
    auto result = adapter::AcceptOperations(connection_, schema_, operations_);
    accepted_ += result.accepted.size();
    conflicts_ += result.conflicts.size();
    for (const auto& conflict : result.conflicts)
      PutLine("{\"conflict\":" + conflict.ToJson() + "}");
    for (const auto& rejection : result.rejected)
      Reject(lines_[rejection.index], rejection.id, rejection.reason);
    operations_.clear();
    lines_.clear();
    bytes_ = 0;
    ShowProgress(Summary());
  }

  std::string Summary() const {
    return std::to_string(accepted_) + " accepted, " + std::to_string(conflicts_) +
           " in conflict, " + std::to_string(rejected_) + " rejected";
  }
  bool clean() const { return rejected_ == 0; }

 private:
  void Reject(size_t line, const std::string& id, const std::string& reason) {
    ++rejected_;
    std::string out = "{\"rejected\":{\"line\":" + std::to_string(line) + ",\"id\":";
    adapter::AppendJsonString(out, id);
    out += ",\"reason\":";
    adapter::AppendJsonString(out, reason);
    PutLine(out + "}}");
  }

  adapter::Connection connection_;
  std::string schema_;
  std::vector<adapter::Operation> operations_;  // of the batch
  std::vector<size_t> lines_;                   // where each of them stood
  size_t bytes_ = 0;
  size_t line_ = 0;
  size_t accepted_ = 0;
  size_t conflicts_ = 0;
  size_t rejected_ = 0;
};

// What the slot has confirmed is durable in the sidecar's journal: a snapshot, then the end of the
// WAL, and what the snapshot's transactions have written may go once the slot has come there.
// nullopt: there is no such slot, so nobody follows the table.
std::optional<std::string> WrittenBefore(adapter::Connection& connection, const std::string& slot) {
  constexpr auto kPatience = std::chrono::seconds(30);
  adapter::Result server = connection.Query(
      "SELECT pg_catalog.pg_snapshot_xmin(pg_catalog.pg_current_snapshot()), "
      "pg_catalog.pg_current_wal_insert_lsn()",
      {});
  std::string written_before(server.Get(0, 0));
  connection.Query("SELECT pg_catalog.pg_current_xact_id()", {});  // an idle stream moves, too
  for (auto end = adapter::Clock::now() + kPatience; adapter::Clock::now() < end;) {
    adapter::Result found = connection.Query(
        "SELECT confirmed_flush_lsn >= $2::pg_lsn FROM pg_catalog.pg_replication_slots WHERE "
        "slot_name = $1 AND database = pg_catalog.current_database()",
        {slot, std::string(server.Get(0, 1))});
    if (found.rows() == 0) return std::nullopt;
    if (found.Get(0, 0) == "t") return written_before;
    std::this_thread::sleep_for(std::chrono::milliseconds(100));
  }
  throw adapter::Error("the slot '" + slot +
                           "' has not come to what is committed now, so what is deleted could be "
                           "lost to the consumers of the feed",
                       "55000",
                       "start the sidecar, or let it catch up; --past-slot deletes all the same");
}

}  // namespace

int Compact(const Database& database, adapter::CompactOptions options, bool past_slot) {
  adapter::Connection connection(database.connect);
  if (!past_slot && !options.dry_run)
    options.written_before = WrittenBefore(connection, database.slot);
  options.progress = [](const adapter::CompactProgress& progress) {
    ShowProgress(std::to_string(progress.deleted) + " of " + std::to_string(progress.eligible) +
                 " operations");
    return true;
  };
  auto result = adapter::Compact(connection, database.schema, options);
  EndProgress();
  PutLine(result.ToJson());
  std::fprintf(stderr, "%s %lld of %lld operations that are old enough%s\n",
               options.dry_run ? "would delete" : "deleted", static_cast<long long>(result.deleted),
               static_cast<long long>(result.eligible),
               result.limited ? "; --share-max keeps the rest" : "");
  return 0;
}

int Stats(const Database& database) {
  auto connection = ConnectForLong(database);
  PutLine(adapter::GetStats(connection, database.schema).ToJson());
  return 0;
}

int Get(const Database& database, const std::string& collection, const std::string& id) {
  adapter::Connection connection(database.connect);
  auto document = adapter::GetDocument(connection, database.schema, collection, id);
  if (document) {
    PutLine(*document);
    return 0;
  }
  std::fprintf(stderr, "get: there is no such document, or it was deleted\n");
  return 1;
}

int Query(const Database& database, const std::string& collection,
          const adapter::DocumentQuery& query) {
  auto connection = ConnectForLong(database);
  for (const std::string& document :
       adapter::QueryDocuments(connection, database.schema, collection, query))
    PutLine(document);
  return 0;
}

int Accept(const Database& database, std::FILE* input) {
  Acceptor acceptor(database);
  std::string line;
  while (ReadLine(input, line)) acceptor.Take(line);
  acceptor.Send();
  EndProgress();
  std::fprintf(stderr, "%s\n", acceptor.Summary().c_str());
  return acceptor.clean() ? 0 : 1;
}

}  // namespace syncflow::command
