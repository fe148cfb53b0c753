// Messages of pgoutput. An input is split at kSeparator. Where it begins with 'v', the pieces
// behind are the values of one row, which is written as PostgreSQL would and must be read back;
// else they are messages as they come.
#include "replication/pgoutput.h"

#include <algorithm>
#include <optional>

#include "replication/error.h"
#include "tests/fuzz/expect.h"

using namespace syncflow;

namespace {

constexpr std::string_view kSeparator = "\xFE\xFE";
constexpr std::string_view kNames[] = {"id",        "type",         "collection", "doc_id", "data",
                                       "client_id", "vector_clock", "timestamp",  "synced"};

std::string Integer(uint64_t value, int bytes) {
  std::string out;
  for (int shift = (bytes - 1) * 8; shift >= 0; shift -= 8)
    out.push_back(static_cast<char>(value >> shift));
  return out;
}

// ---- values, written and read ----

struct Column {
  std::string_view name;
  std::optional<std::string> value;
};

// Values that the table allows, in an order that the first piece gives.
std::vector<Column> RowOf(const std::vector<std::string_view>& pieces) {
  std::vector<Column> row;
  for (std::string_view name : kNames) {
    size_t at = row.size() + 1;
    row.push_back({name, at < pieces.size() ? std::string(pieces[at]) : std::string("0")});
  }
  auto& timestamp = *row[7].value;
  uint64_t number = 0;
  for (char c : timestamp) number = number * 31 + static_cast<unsigned char>(c);
  timestamp = std::to_string(static_cast<int64_t>(number));
  row[8].value = *row[8].value == "t" ? "t" : "f";
  if (row[4].value->empty()) row[4].value.reset();
  size_t turn = static_cast<unsigned char>(pieces[0].back()) % row.size();
  std::rotate(row.begin(), row.begin() + static_cast<ptrdiff_t>(turn), row.end());
  return row;
}

std::string DescriptionOf(const std::vector<Column>& row) {
  std::string out = "R" + Integer(7, 4) + "public";
  out += '\0';
  out += "operations";
  out += '\0';
  out += "d" + Integer(row.size(), 2);
  for (const Column& column : row) {
    out += '\0';
    out += column.name;
    out += '\0' + Integer(25, 8);
  }
  return out;
}

std::string InsertOf(const std::vector<Column>& row) {
  std::string out = "I" + Integer(7, 4) + "N" + Integer(row.size(), 2);
  for (const Column& column : row)
    out += column.value ? "t" + Integer(column.value->size(), 4) + *column.value : "n";
  return out;
}

std::optional<std::string> ValueOf(const adapter::OperationView& operation, std::string_view name) {
  if (name == "id") return std::string(operation.id);
  if (name == "type") return std::string(operation.type);
  if (name == "collection") return std::string(operation.collection);
  if (name == "doc_id") return std::string(operation.doc_id);
  if (name == "client_id") return std::string(operation.client_id);
  if (name == "vector_clock") return std::string(operation.vector_clock);
  if (name == "timestamp") return std::to_string(operation.timestamp);
  if (name == "synced") return operation.synced ? "t" : "f";
  if (!operation.data) return std::nullopt;
  return std::string(*operation.data);
}

void WriteAndRead(const std::vector<std::string_view>& pieces) {
  auto row = RowOf(pieces);
  replication::PgOutput decoder("public", "operations");
  decoder.Decode("B" + Integer(16, 8) + Integer(1, 8) + Integer(9, 4));
  decoder.Decode(DescriptionOf(row));
  std::string insert = InsertOf(row);
  auto event = decoder.Decode(insert);
  auto* change = std::get_if<replication::Change>(&event);
  fuzz::Expect(change != nullptr, "an insert is a change");
  for (const Column& column : row)
    fuzz::Expect(ValueOf(change->operation, column.name) == column.value, "values are kept");
}

// ---- messages as they come ----

bool Borrows(std::string_view part, std::string_view whole) {
  return part.empty() ||
         (part.data() >= whole.data() && part.data() + part.size() <= whole.data() + whole.size());
}

void Check(const replication::Change& change, std::string_view message) {
  const auto& op = change.operation;
  for (std::string_view text : {op.id, op.type, op.collection, op.doc_id, op.client_id,
                                op.vector_clock, op.data.value_or("")})
    fuzz::Expect(Borrows(text, message), "a change borrows from its message");
}

void Check(const replication::Begin& begin, std::string_view message) {
  std::string again = "B" + Integer(begin.commit_lsn.bytes(), 8);
  again.append(message.substr(9, 8));
  fuzz::Expect(again + Integer(begin.xid, 4) == message, "a begin holds every byte");
}

void Check(const replication::Commit& commit, std::string_view message) {
  std::string again = Integer(commit.commit_lsn.bytes(), 8) + Integer(commit.end_lsn.bytes(), 8);
  fuzz::Expect(message.substr(2, 16) == again && message.size() == 26, "a commit names two places");
}

void Check(const replication::Other&, std::string_view message) {
  fuzz::Expect(std::string_view("RIUDTYOMA").find(message[0]) != std::string_view::npos,
               "only known kinds are passed over");
}

// Changes are counted inside a transaction, and stand only there.
class Order {
 public:
  void Take(const replication::Event& event) {
    auto* change = std::get_if<replication::Change>(&event);
    if (change != nullptr) fuzz::Expect(open_ && change->index == next_++, "changes are counted");
    if (std::holds_alternative<replication::Begin>(event)) {
      fuzz::Expect(!open_, "transactions are not nested");
      open_ = true;
      next_ = 0;
    }
    if (std::holds_alternative<replication::Commit>(event)) {
      fuzz::Expect(open_, "a commit closes a transaction");
      open_ = false;
    }
  }

 private:
  bool open_ = false;
  uint64_t next_ = 0;
};

void ReadAsTheyCome(const std::vector<std::string_view>& messages) {
  replication::PgOutput decoder("public", "operations");
  Order order;
  for (std::string_view message : messages) {
    try {
      auto event = decoder.Decode(message);
      std::visit([&](const auto& one) { Check(one, message); }, event);
      order.Take(event);
    } catch (const replication::DecodeError&) {
      return;
    }
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  std::string_view text = fuzz::Text(data, size);
  auto pieces = fuzz::Split(text, kSeparator);
  text.starts_with('v') ? WriteAndRead(pieces) : ReadAsTheyCome(pieces);
  return 0;
}
