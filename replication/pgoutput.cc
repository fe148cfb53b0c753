#include "replication/pgoutput.h"

#include <algorithm>
#include <charconv>
#include <unordered_map>
#include <vector>

#include "replication/columns.h"
#include "replication/error.h"

namespace syncflow::replication {
namespace {

constexpr CommitTime kPostgresEpoch = 946'684'800'000'000;  // 2000-01-01, microseconds after 1970
constexpr CommitTime kYear0 = -62'167'219'200'000'000;
constexpr CommitTime kYear10000 = 253'402'300'800'000'000;

// Takes a message apart from its beginning.
class Reader {
 public:
  explicit Reader(std::string_view bytes) : rest_(bytes) {}

  std::string_view Bytes(size_t count) {
    if (rest_.size() < count) throw DecodeError("pgoutput sent a message that is cut short");
    std::string_view out = rest_.substr(0, count);
    rest_.remove_prefix(count);
    return out;
  }
  char Byte() { return Bytes(1)[0]; }
  uint16_t Uint16() { return static_cast<uint16_t>(Unsigned(2)); }
  uint32_t Uint32() { return static_cast<uint32_t>(Unsigned(4)); }
  uint64_t Uint64() { return Unsigned(8); }
  // Ended by a NUL.
  std::string_view Text() {
    std::string_view out = Bytes(std::min(rest_.find('\0'), rest_.size()));
    Byte();
    return out;
  }
  bool empty() const { return rest_.empty(); }

 private:
  uint64_t Unsigned(size_t size) {
    uint64_t value = 0;
    for (char byte : Bytes(size)) value = value << 8 | static_cast<unsigned char>(byte);
    return value;
  }

  std::string_view rest_;
};

int64_t ToInteger(std::string_view text) {
  int64_t value = 0;
  auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size())
    throw DecodeError("pgoutput sent '" + std::string(text.substr(0, 40)) +
                      "' where a timestamp in milliseconds belongs");
  return value;
}

// The years that a line can name, as with wal2json.
CommitTime ToCommitTime(uint64_t since_2000) {
  auto time = static_cast<CommitTime>(since_2000);
  if (time < kYear0 - kPostgresEpoch || time >= kYear10000 - kPostgresEpoch)
    throw DecodeError("pgoutput sent a commit time outside the years 0 to 9999");
  return time + kPostgresEpoch;
}

void SetColumn(adapter::OperationView& operation, unsigned column, std::string_view value) {
  switch (column) {
    case kId:
      operation.id = value;
      break;
    case kType:
      operation.type = value;
      break;
    case kCollection:
      operation.collection = value;
      break;
    case kDocId:
      operation.doc_id = value;
      break;
    case kData:
      operation.data = value;
      break;
    case kTimestamp:
      operation.timestamp = ToInteger(value);
      break;
    case kClientId:
      operation.client_id = value;
      break;
    case kSynced:
      operation.synced = value == "t";
      break;
    case kVectorClock:
      operation.vector_clock = value;
      break;
    default:
      break;
  }
}

// NULL is a value of these two; elsewhere the table does not allow it.
void SetNull(adapter::OperationView& operation, unsigned column) {
  if (column == kData) {
    operation.data.reset();
  } else if (column == kSynced) {
    operation.synced = false;
  } else if (column != 0) {
    throw DecodeError(
        "a column of the operations table is NULL that must not be: restore its NOT "
        "NULL constraint");
  }
}

}  // namespace

struct PgOutput::State {
  // Bits of the table's columns in their order; empty for a table the feed does not carry.
  using Relation = std::vector<unsigned>;

  std::string schema;
  std::string table;
  std::unordered_map<uint32_t, Relation> relations;
  bool open = false;  // between B and C
  Change change;      // commit LSN, time and xid of the open transaction; index of the next change

  Event Read(Reader& message);
  Begin BeginTransaction(Reader& message);
  Commit CommitTransaction(Reader& message);
  Other Describe(Reader& message);
  Event Insert(Reader& message);
  void ReadTuple(Reader& message, const Relation& relation);
};

PgOutput::PgOutput(std::string schema, std::string table) : state_(std::make_unique<State>()) {
  state_->schema = std::move(schema);
  state_->table = std::move(table);
}
PgOutput::~PgOutput() = default;

Event PgOutput::Decode(std::string_view payload) {
  Reader message(payload);
  Event event = state_->Read(message);
  if (!std::holds_alternative<Other>(event) && !message.empty())
    throw DecodeError("pgoutput sent a message that is longer than its kind");
  return event;
}

Event PgOutput::State::Read(Reader& message) {
  switch (char kind = message.Byte()) {
    case 'B':
      return BeginTransaction(message);
    case 'C':
      return CommitTransaction(message);
    case 'I':
      return Insert(message);
    case 'R':
      return Describe(message);
    case 'U':  // update, delete, truncate, type, origin, logical message
    case 'D':
    case 'T':
    case 'Y':
    case 'O':
    case 'M':
    case 'A':  // an aborted stream, which some servers send although none was asked for
      return Other{};
    default:
      throw DecodeError("pgoutput sent a message of the unknown kind " +
                        std::to_string(static_cast<unsigned char>(kind)));
  }
}

Begin PgOutput::State::BeginTransaction(Reader& message) {
  if (open) throw DecodeError("pgoutput began a transaction inside another one");
  open = true;
  change.commit_lsn = Lsn(message.Uint64());
  change.commit_time = ToCommitTime(message.Uint64());
  change.xid = message.Uint32();
  change.index = 0;
  return {change.commit_lsn, change.xid};
}

Commit PgOutput::State::CommitTransaction(Reader& message) {
  message.Byte();  // flags, unused by PostgreSQL
  Lsn commit_lsn(message.Uint64());
  Lsn end_lsn(message.Uint64());
  message.Uint64();  // the commit time, known since B
  if (!open || commit_lsn != change.commit_lsn)
    throw DecodeError("pgoutput committed a transaction that it did not begin");
  open = false;
  return {commit_lsn, end_lsn};
}

Other PgOutput::State::Describe(Reader& message) {
  uint32_t id = message.Uint32();
  bool ours = message.Text() == schema;
  ours = message.Text() == table && ours;
  message.Byte();  // replica identity
  Relation relation;
  unsigned seen = 0;
  for (uint16_t left = message.Uint16(); ours && left > 0; --left) {
    message.Byte();  // flags
    relation.push_back(ColumnOf(message.Text()));
    seen |= relation.back();
    message.Bytes(8);  // type and modifier
  }
  if (ours) RequireAllColumns(seen);
  relations[id] = std::move(relation);
  return {};
}

Event PgOutput::State::Insert(Reader& message) {
  if (!open) throw DecodeError("pgoutput sent a change outside a transaction");
  auto relation = relations.find(message.Uint32());
  if (relation == relations.end())
    throw DecodeError("pgoutput sent a change of a table that it did not describe");
  if (relation->second.empty()) return Other{};
  if (message.Byte() != 'N') throw DecodeError("pgoutput sent an insert without a new row");
  ReadTuple(message, relation->second);
  Change next = change;
  ++change.index;
  return next;
}

void PgOutput::State::ReadTuple(Reader& message, const Relation& relation) {
  if (message.Uint16() != relation.size())
    throw DecodeError("pgoutput sent a row that does not fit its table's description");
  for (unsigned column : relation) {
    switch (message.Byte()) {
      case 't':
        SetColumn(change.operation, column, message.Bytes(message.Uint32()));
        break;
      case 'n':
        SetNull(change.operation, column);
        break;
      default:
        throw DecodeError("pgoutput sent a value that is neither text nor NULL");
    }
  }
}

std::string PgOutputOptions(std::string_view publication) {
  // A list of identifiers inside a quoted string of the replication grammar.
  std::string name = "\"";
  for (char c : publication) name += c == '"' ? "\"\"" : c == '\'' ? "''" : std::string(1, c);
  return "(\"proto_version\" '1', \"publication_names\" '" + name + "\"')";
}

}  // namespace syncflow::replication
