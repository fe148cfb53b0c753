// Messages of wal2json, one a line, against a model that reads the same with a JSON document.
#include "replication/wal2json.h"

#include <map>
#include <nlohmann/json.hpp>
#include <set>

#include "replication/error.h"
#include "replication/timestamp.h"
#include "tests/fuzz/expect.h"
#include "tests/fuzz/json.h"

using namespace syncflow;
using Json = nlohmann::json;
using replication::Lsn;

namespace {

struct Refused {};

// The same transactions, read the slow way.
class Model {
 public:
  replication::Event Read(const Json& message) {
    if (!message.is_object()) throw Refused{};
    for (const char* key : {"action", "timestamp", "lsn", "nextlsn"})
      if (message.contains(key) && !message[key].is_string()) throw Refused{};
    if (message.contains("xid") && !message["xid"].is_number_unsigned()) throw Refused{};
    unsigned seen = message.contains("columns") ? ReadColumns(message["columns"]) : 0;
    std::string action = message.value("action", "");
    if (action == "B") return Begin(message);
    if (action == "C") return Commit(message);
    if (action == "I") return Insert(seen);
    if (action == "U" || action == "D" || action == "T" || action == "M")
      return replication::Other{};
    throw Refused{};
  }

 private:
  static Lsn LsnOf(const Json& message, const char* key) {
    auto lsn = Lsn::Parse(message.value(key, ""));
    if (!lsn) throw Refused{};
    return *lsn;
  }

  replication::Begin Begin(const Json& message) {
    auto time = replication::ParseTimestamp(message.value("timestamp", ""));
    if (change_ || !time) throw Refused{};
    replication::Change change;
    change.commit_lsn = LsnOf(message, "lsn");
    change.commit_time = *time;
    change.xid = static_cast<uint32_t>(message.value("xid", uint64_t{0}));
    change_ = change;
    return {change.commit_lsn, change.xid};
  }

  replication::Commit Commit(const Json& message) {
    replication::Commit commit{LsnOf(message, "lsn"), LsnOf(message, "nextlsn")};
    if (!change_ || change_->commit_lsn != commit.commit_lsn) throw Refused{};
    change_.reset();
    return commit;
  }

  replication::Change Insert(unsigned seen) {
    if (!change_ || seen != 9) throw Refused{};
    replication::Change change = *change_;
    change.operation = {texts_["id"],        texts_["type"], texts_["collection"],
                        texts_["doc_id"],    std::nullopt,   timestamp_,
                        texts_["client_id"], synced_,        texts_["vector_clock"]};
    if (data_) change.operation.data = *data_;
    ++change_->index;
    return change;
  }

  // How many of the feed's columns there are.
  unsigned ReadColumns(const Json& columns) {
    if (!columns.is_array()) throw Refused{};
    std::set<std::string> seen;
    for (const Json& column : columns) {
      if (!column.is_object() || !column.contains("name") || !column["name"].is_string())
        throw Refused{};
      if (ReadColumn(column["name"], column)) seen.insert(column["name"]);
    }
    return static_cast<unsigned>(seen.size());
  }

  bool ReadColumn(const std::string& name, const Json& column) {
    static const std::set<std::string> kTexts = {"id",     "type",      "collection",
                                                 "doc_id", "client_id", "vector_clock"};
    if (!kTexts.contains(name) && name != "data" && name != "timestamp" && name != "synced")
      return false;
    if (!column.contains("value")) throw Refused{};
    const Json& value = column["value"];
    if (kTexts.contains(name)) {
      texts_[name] = TextOf(value);
    } else if (name == "data") {
      data_.reset();
      if (!value.is_null()) data_ = TextOf(value);
    } else if (name == "synced") {
      if (!value.is_null() && !value.is_boolean()) throw Refused{};
      synced_ = value.is_boolean() && value.get<bool>();
    } else {
      bool fits = value.is_number_integer() &&
                  !(value.is_number_unsigned() && value.get<uint64_t>() > INT64_MAX);
      if (!fits) throw Refused{};
      timestamp_ = value.get<int64_t>();
    }
    return true;
  }

  static std::string TextOf(const Json& value) {
    if (!value.is_string()) throw Refused{};
    return value.get<std::string>();
  }

  std::optional<replication::Change> change_;  // of the open transaction
  std::map<std::string, std::string> texts_;
  std::optional<std::string> data_;
  int64_t timestamp_ = 0;
  bool synced_ = false;
};

// A document without what the two libraries read differently: doubled keys, letters of a key that
// are written as escapes, a zero byte, which one takes for the end. wal2json writes none of these.
Json ParsePlain(std::string_view text) {
  if (text.find('\0') != text.npos) return Json::value_t::discarded;
  for (char high : {'4', '5', '6', '7'})
    if (text.find(std::string("\\u00") + high) != text.npos) return Json::value_t::discarded;
  return fuzz::ParseWithKeysOnce(text);
}

void CheckSame(const replication::Change& a, const replication::Change& b) {
  fuzz::Expect(a.commit_lsn == b.commit_lsn && a.index == b.index && a.xid == b.xid &&
                   a.commit_time == b.commit_time,
               "a change stands in its transaction");
  const auto& x = a.operation;
  const auto& y = b.operation;
  fuzz::Expect(x.id == y.id && x.type == y.type && x.collection == y.collection &&
                   x.doc_id == y.doc_id && x.client_id == y.client_id &&
                   x.vector_clock == y.vector_clock && x.data == y.data,
               "its texts are those of the row");
  fuzz::Expect(x.timestamp == y.timestamp && x.synced == y.synced, "and the other two too");
}

void CheckSame(const replication::Begin& a, const replication::Begin& b) {
  fuzz::Expect(a.commit_lsn == b.commit_lsn && a.xid == b.xid, "begins are the same");
}

void CheckSame(const replication::Commit& a, const replication::Commit& b) {
  fuzz::Expect(a.commit_lsn == b.commit_lsn && a.end_lsn == b.end_lsn, "commits are the same");
}

void CheckSame(const replication::Other&, const replication::Other&) {}

std::optional<replication::Event> Decode(replication::Wal2Json& decoder, std::string_view line) {
  try {
    return decoder.Decode(line);
  } catch (const replication::DecodeError&) {
    return std::nullopt;
  }
}

std::optional<replication::Event> Read(Model& model, const Json& message) {
  try {
    return model.Read(message);
  } catch (const Refused&) {
    return std::nullopt;
  }
}

}  // namespace

// A stream ends with the first message that is refused.
extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  replication::Wal2Json decoder;
  Model model;
  for (std::string_view line : fuzz::Split(fuzz::Text(data, size), "\n")) {
    Json message = ParsePlain(line);
    auto event = Decode(decoder, line);
    if (message.is_discarded()) return 0;  // refused or not: whatever lies behind is its own
    // Another program's message is not read to its end.
    if (event && message.is_object() && message.value("action", Json()) == "M") {
      fuzz::Expect(std::holds_alternative<replication::Other>(*event), "it is none of ours");
      continue;
    }
    auto expected = Read(model, message);
    fuzz::Expect(event.has_value() == expected.has_value(), "both refuse it, or none");
    if (!event) return 0;
    fuzz::Expect(event->index() == expected->index(), "both see the same kind");
    std::visit(
        [&](const auto& one) { CheckSame(one, std::get<std::decay_t<decltype(one)>>(*expected)); },
        *event);
  }
  return 0;
}
