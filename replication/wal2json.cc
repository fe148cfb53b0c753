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

// What stands beside the columns in every message. Views last until the next message.
struct Envelope {
  char action = 0;
  uint64_t xid = 0;
  std::string_view timestamp;
  std::string_view lsn;
  std::string_view next_lsn;
};

}  // namespace

struct Wal2Json::State {
  json::parser parser;
  std::string padded;  // libpq's buffer lacks the padding that simdjson reads over
  bool open = false;   // between B and C
  Change change;       // commit LSN, time and xid of the open transaction; index of the next change

  Event Read(std::string_view payload);
  unsigned ReadColumns(json::array columns);
  void ReadValue(unsigned column, json::value value);
  Event Finish(const Envelope& envelope, unsigned seen);
  Begin BeginTransaction(const Envelope& envelope);
  Commit CommitTransaction(const Envelope& envelope);
  Change NextChange(unsigned seen);
};

Event Wal2Json::State::Read(std::string_view payload) {
  if (padded.size() < payload.size() + simdjson::SIMDJSON_PADDING) {
    padded.resize(payload.size() + simdjson::SIMDJSON_PADDING);
  }
  std::memcpy(padded.data(), payload.data(), payload.size());
  json::document document =
      parser.iterate(simdjson::padded_string_view(padded.data(), payload.size(), padded.size()));
  Envelope envelope;
  unsigned seen = 0;
  for (auto field : document.get_object()) {
    json::raw_json_string key = field.key();
    if (key == "action") {
      std::string_view action = Text(field.value());
      envelope.action = action.size() == 1 ? action[0] : '?';
      // Another program's; outside a transaction, its xid and timestamp are null.
      if (envelope.action == 'M') return Other{};
    } else if (key == "xid") {
      envelope.xid = field.value().get_uint64();
    } else if (key == "timestamp") {
      envelope.timestamp = Text(field.value());
    } else if (key == "lsn") {
      envelope.lsn = Text(field.value());
    } else if (key == "nextlsn") {
      envelope.next_lsn = Text(field.value());
    } else if (key == "columns") {
      seen = ReadColumns(field.value().get_array());
    }
  }
  return Finish(envelope, seen);
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

Event Wal2Json::State::Finish(const Envelope& envelope, unsigned seen) {
  switch (envelope.action) {
    case 'B':
      return BeginTransaction(envelope);
    case 'C':
      return CommitTransaction(envelope);
    case 'I':
      return NextChange(seen);
    case 'U':
    case 'D':
    case 'T':
      return Other{};
    default:
      throw DecodeError("wal2json sent a message without a known action");
  }
}

Begin Wal2Json::State::BeginTransaction(const Envelope& envelope) {
  if (open) throw DecodeError("wal2json began a transaction inside another one");
  open = true;
  change.commit_lsn = ToLsn(envelope.lsn);
  change.commit_time = ToTime(envelope.timestamp);
  change.xid = static_cast<uint32_t>(envelope.xid);
  change.index = 0;
  return {change.commit_lsn, change.xid};
}

Commit Wal2Json::State::CommitTransaction(const Envelope& envelope) {
  Commit commit{ToLsn(envelope.lsn), ToLsn(envelope.next_lsn)};
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
