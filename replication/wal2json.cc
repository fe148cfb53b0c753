#include "replication/wal2json.h"

#include <simdjson.h>

#include <cctype>
#include <cstring>

#include "replication/columns.h"
#include "replication/error.h"
#include "replication/timestamp.h"

namespace syncflow::replication {

namespace json = simdjson::ondemand;

namespace {

Lsn ToLsn(std::string_view text) {
  auto lsn = Lsn::Parse(text);
  if (!lsn) throw DecodeError("wal2json sent '" + std::string(text) + "' where an LSN belongs");
  return *lsn;
}

CommitTime ToTime(std::string_view text) {
  auto time = ParseTimestamp(text);
  if (!time)
    throw DecodeError("wal2json sent '" + std::string(text) + "' where a timestamp belongs");
  return *time;
}

// Most strings have nothing to unescape, and can be borrowed from the message as they are.
std::string_view Text(json::value value) {
  std::string_view token = value.raw_json_token();  // with its quotes, and space that may follow
  if (!token.starts_with('"') || token.find('\\') != std::string_view::npos)
    return value.get_string();
  return token.substr(1, token.rfind('"') - 1);
}

}  // namespace

struct Wal2Json::State {
  json::parser parser;
  std::string padded;  // libpq's buffer lacks the padding that simdjson reads over
  bool open = false;   // between B and C
  Change change;       // commit LSN, time and xid of the open transaction; index of the next change

  Event Read(std::string_view payload);
  unsigned ReadColumns(json::array columns);
  void ReadValue(unsigned column, json::value value);
  Begin BeginTransaction(json::object& message);
  Commit CommitTransaction(json::object& message);
  Change NextChange(unsigned seen);
};

// The fields are asked for in the order in which wal2json writes them, so that each is looked at
// once.
Event Wal2Json::State::Read(std::string_view payload) {
  if (!payload.ends_with('}')) throw DecodeError("wal2json sent JSON that is cut short");
  if (padded.size() < payload.size() + simdjson::SIMDJSON_PADDING) {
    padded.resize(payload.size() + simdjson::SIMDJSON_PADDING);
  }
  std::memcpy(padded.data(), payload.data(), payload.size());
  json::document document =
      parser.iterate(simdjson::padded_string_view(padded.data(), payload.size(), padded.size()));
  json::object message = document.get_object();
  std::string_view action = Text(message["action"]);
  switch (action.size() == 1 ? action[0] : '?') {
    case 'B':
      return BeginTransaction(message);
    case 'C':
      return CommitTransaction(message);
    case 'I':
      return NextChange(ReadColumns(message["columns"].get_array()));
    case 'U':  // update, delete, truncate, another program's message
    case 'D':
    case 'T':
    case 'M':
      return Other{};
    default:
      throw DecodeError("wal2json sent a message without a known action");
  }
}

unsigned Wal2Json::State::ReadColumns(json::array columns) {
  unsigned seen = 0;
  for (auto entry : columns) {
    json::object pair = entry.get_object();
    unsigned column = ColumnOf(Text(pair["name"]));
    if (column == 0) continue;
    ReadValue(column, pair["value"]);
    seen |= column;
  }
  return seen;
}

void Wal2Json::State::ReadValue(unsigned column, json::value value) {
  adapter::OperationView& operation = change.operation;
  switch (column) {
    case kId:
      operation.id = Text(value);
      break;
    case kType:
      operation.type = Text(value);
      break;
    case kCollection:
      operation.collection = Text(value);
      break;
    case kDocId:
      operation.doc_id = Text(value);
      break;
    case kClientId:
      operation.client_id = Text(value);
      break;
    case kVectorClock:
      operation.vector_clock = Text(value);
      break;
    case kTimestamp:
      operation.timestamp = value.get_int64();
      break;
    case kSynced:
      operation.synced = !value.is_null() && value.get_bool();
      break;
    case kData:
      operation.data.reset();
      if (!value.is_null()) operation.data = Text(value);
      break;
    default:
      break;
  }
}

Begin Wal2Json::State::BeginTransaction(json::object& message) {
  if (open) throw DecodeError("wal2json began a transaction inside another one");
  open = true;
  change.xid = static_cast<uint32_t>(message["xid"].get_uint64());
  change.commit_time = ToTime(Text(message["timestamp"]));
  change.commit_lsn = ToLsn(Text(message["lsn"]));
  change.index = 0;
  return {change.commit_lsn, change.xid};
}

Commit Wal2Json::State::CommitTransaction(json::object& message) {
  Commit commit;
  commit.commit_lsn = ToLsn(Text(message["lsn"]));
  commit.end_lsn = ToLsn(Text(message["nextlsn"]));
  if (!open || commit.commit_lsn != change.commit_lsn) {
    throw DecodeError("wal2json committed a transaction that it did not begin");
  }
  open = false;
  return commit;
}

Change Wal2Json::State::NextChange(unsigned seen) {
  if (!open) throw DecodeError("wal2json sent a change outside a transaction");
  RequireAllColumns(seen);
  Change next = change;
  ++change.index;
  return next;
}

Wal2Json::Wal2Json() : state_(std::make_unique<State>()) {}
Wal2Json::~Wal2Json() = default;

Event Wal2Json::Decode(std::string_view payload) {
  try {
    return state_->Read(payload);
  } catch (const simdjson::simdjson_error& error) {
    throw DecodeError(std::string("wal2json sent JSON that cannot be read: ") + error.what());
  }
}

namespace {

// wal2json splits its table list at commas and points; a backslash takes any character's meaning
// away.
std::string EscapeName(std::string_view name) {
  std::string out;
  for (char c : name) {
    bool plain = std::isalnum(static_cast<unsigned char>(c)) != 0 || c == '_' || (c & 0x80) != 0;
    if (!plain) out.push_back('\\');
    out.push_back(c);
  }
  return out;
}

// A quoted string of the replication grammar.
std::string Quote(std::string_view text) {
  std::string out = "'";
  for (char c : text) {
    if (c == '\'') out.push_back('\'');
    out.push_back(c);
  }
  return out + "'";
}

}  // namespace

std::string Wal2JsonOptions(std::string_view schema, std::string_view table) {
  std::string tables = EscapeName(schema) + "." + EscapeName(table);
  return "(\"format-version\" '2', \"add-tables\" " + Quote(tables) +
         ", \"actions\" 'insert', \"include-lsn\" 'true', \"include-xids\" 'true'"
         ", \"include-timestamp\" 'true', \"include-types\" 'false')";
}

}  // namespace syncflow::replication
