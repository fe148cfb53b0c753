#include "adapter/accept.h"

#include <algorithm>
#include <chrono>
#include <map>
#include <nlohmann/json.hpp>
#include <random>
#include <set>
#include <span>
#include <stdexcept>
#include <thread>

#include "adapter/merge.h"
#include "adapter/raw_json.h"
#include "adapter/text_array.h"

namespace syncflow::adapter {
namespace {

constexpr size_t kBatchOperationsMax = 1000;
constexpr size_t kBatchBytesMax = 4 << 20;
constexpr int kAttempts = 4;
constexpr std::chrono::milliseconds kPause{10};  // before the second attempt, doubled each time
constexpr size_t kNameBytesMax = 1000;           // an index entry has room for 2700
constexpr size_t kDataBytesMax = 64 << 20;
constexpr std::string_view kTypes[] = {"insert", "update", "delete", "batch"};

// ---- what cannot be stored ----

std::string ReasonOfName(const char* what, const std::string& name) {
  if (name.empty()) return std::string("its ") + what + " is empty";
  if (name.size() > kNameBytesMax)
    return std::string("its ") + what + " is longer than " + std::to_string(kNameBytesMax) +
           " bytes";
  if (name.find('\0') != name.npos) return std::string("its ") + what + " holds a NUL character";
  return "";
}

std::string ReasonOfData(const Operation& operation) {
  if (!operation.data) return "";
  const std::string& data = *operation.data;
  if (data.size() > kDataBytesMax) return "its data is larger than 64 MiB";
  if (!nlohmann::json::accept(data))
    return "its data is no JSON, or has a number beyond a double's range";
  if (HoldsNulEscape(data)) return "its data holds \\u0000, which PostgreSQL's jsonb cannot store";
  bool plain = operation.type == "delete" || operation.type == "batch" || data == "null";
  if (!plain && data[data.find_first_not_of(" \t\r\n")] != '{') return "its data is no JSON object";
  return "";
}

std::string ReasonOfClock(const VectorClock& clock) {
  for (const auto& [client, counter] : clock.counters()) {
    if (counter < 0) return "its vector clock has a negative counter";
    if (client.find('\0') != client.npos) return "its vector clock holds a NUL character";
  }
  return "";
}

// Valid JSON is valid UTF-8.
bool IsUtf8(const Operation& operation) {
  std::string names = "[";
  auto add = [&](std::string_view name) {
    if (names.size() > 1) names += ',';
    AppendJsonString(names, name);
  };
  for (const std::string* name :
       {&operation.id, &operation.collection, &operation.doc_id, &operation.client_id})
    add(*name);
  for (const auto& [client, counter] : operation.vector_clock.counters()) add(client);
  return nlohmann::json::accept(names + "]");
}

// ---- one transaction ----

using Key = std::pair<std::string, std::string>;  // collection and id of a document

// Worked on as one transaction; refers to the caller's operations.
class Batch {
 public:
  Batch(Connection& connection, const std::string& schema,
        std::span<const Operation* const> operations)
      : connection_(connection),
        schema_(connection.QuoteIdentifier(schema)),
        operations_(operations) {}

  // Stores what can be stored; nothing when it throws.
  Acceptance Run() {
    Begin();
    Acceptance acceptance;
    for (const Operation* operation : operations_) Take(*operation, acceptance);
    Finish();
    return acceptance;
  }

 private:
  // First round trip. Documents are locked in the order of their keys, those that are not there yet
  // by a row that nobody else sees, so batches wait for each other and never in a circle.
  void Begin() {
    TextArray collections, ids, operations;
    for (const Operation* operation : operations_) {
      documents_.try_emplace({operation->collection, operation->doc_id});
      operations.Add(operation->id);
    }
    for (const auto& [key, document] : documents_) {
      collections.Add(key.first);
      ids.Add(key.second);
    }
    std::string first = std::move(collections).Take();
    std::string second = std::move(ids).Take();
    auto results = connection_.Pipeline(
        {{"BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE", {}},
         {"SET LOCAL lock_timeout = '2s'", {}},
         {"INSERT INTO " + schema_ +
              ".documents (collection, id, data, rev, deleted, vector_clock, updated_at) SELECT "
              "collection, id, '{}', 0, true, '{}', 0 FROM unnest($1::text[], $2::text[]) AS "
              "wanted(collection, id) ON CONFLICT (collection, id) DO NOTHING",
          {first, second}},
         {"SELECT d.collection, d.id, d.data, d.rev, d.deleted, d.vector_clock, d.updated_at FROM "
          "unnest($1::text[], $2::text[]) WITH ORDINALITY AS wanted(collection, id, n) JOIN " +
              schema_ + ".documents d USING (collection, id) ORDER BY n FOR UPDATE OF d",
          {first, second}},
         {"SELECT id FROM " + schema_ + ".operations WHERE id = ANY ($1::text[])",
          {std::move(operations).Take()}}});
    for (int row = 0; row < results[3].rows(); ++row) Read(results[3], row);
    for (int row = 0; row < results[4].rows(); ++row) known_.emplace(results[4].Get(row, 0));
  }

  void Read(const Result& result, int row) {
    DocumentState& document =
        documents_.at({std::string(result.Get(row, 0)), std::string(result.Get(row, 1))});
    document.rev = std::stoll(std::string(result.Get(row, 3)));
    if (document.rev == 0) return;  // our own row in place of a new document
    document.exists = true;
    document.data = result.Get(row, 2);
    document.deleted = result.Get(row, 4) == "t";
    document.vector_clock = VectorClock::FromJson(result.Get(row, 5));
    document.updated_at = std::stoll(std::string(result.Get(row, 6)));
  }

  // A client applies it like an operation from elsewhere: an update would bring a deleted document
  // back there, and a delete take away one that lives.
  static std::string TypeOfConflict(const Operation& operation, const DocumentState& document) {
    if (document.deleted) return "delete";
    return operation.type == "delete" ? "insert" : operation.type;
  }

  void Take(const Operation& operation, Acceptance& acceptance) {
    DocumentState& document = documents_.at({operation.collection, operation.doc_id});
    if (known_.contains(operation.id)) {
      acceptance.accepted.push_back(operation.id);
    } else if (Apply(operation, document)) {
      known_.insert(operation.id);
      stored_.push_back(&operation);
      acceptance.accepted.push_back(operation.id);
    } else {
      Operation& conflict = acceptance.conflicts.emplace_back(operation);
      conflict.type = TypeOfConflict(operation, document);
      conflict.data = document.data;
      conflict.vector_clock = document.vector_clock;
    }
  }

  // Second round trip.
  void Finish() {
    std::vector<Statement> statements;
    if (!stored_.empty()) statements.push_back(InsertOperations());
    AddDocuments(statements);
    statements.push_back({"COMMIT", {}});
    connection_.Pipeline(statements);
  }

  Statement InsertOperations() const {
    TextArray ids, types, collections, doc_ids, data, timestamps, clients, clocks;
    for (const Operation* operation : stored_) {
      ids.Add(operation->id);
      types.Add(operation->type);
      collections.Add(operation->collection);
      doc_ids.Add(operation->doc_id);
      data.AddOrNull(operation->data);
      timestamps.Add(std::to_string(operation->timestamp));
      clients.Add(operation->client_id);
      clocks.Add(operation->vector_clock.ToJson());
    }
    return {
        "INSERT INTO " + schema_ +
            ".operations (id, type, collection, doc_id, data, timestamp, client_id, synced, "
            "vector_clock) SELECT id, type, collection, doc_id, data, timestamp, client_id, false, "
            "vector_clock FROM unnest($1::text[], $2::text[], $3::text[], $4::text[], "
            "$5::jsonb[], $6::bigint[], $7::text[], $8::jsonb[]) AS new(id, type, collection, "
            "doc_id, data, timestamp, client_id, vector_clock)",
        {std::move(ids).Take(), std::move(types).Take(), std::move(collections).Take(),
         std::move(doc_ids).Take(), std::move(data).Take(), std::move(timestamps).Take(),
         std::move(clients).Take(), std::move(clocks).Take()}};
  }

  void AddDocuments(std::vector<Statement>& statements) const {
    TextArray collections, ids, data, revs, deleted, clocks, times, unused_collections, unused_ids;
    bool any = false, any_unused = false;
    for (const auto& [key, document] : documents_) {
      if (document.changed) {
        any = true;
        collections.Add(key.first);
        ids.Add(key.second);
        data.Add(document.data);
        revs.Add(std::to_string(document.rev));
        deleted.Add(document.deleted ? "t" : "f");
        clocks.Add(document.vector_clock.ToJson());
        times.Add(std::to_string(document.updated_at));
      } else if (!document.exists) {
        any_unused = true;
        unused_collections.Add(key.first);
        unused_ids.Add(key.second);
      }
    }
    if (any) {
      statements.push_back(
          {"UPDATE " + schema_ +
               ".documents d SET data = new.data, rev = new.rev, deleted = new.deleted, "
               "vector_clock "
               "= new.vector_clock, updated_at = new.updated_at FROM unnest($1::text[], "
               "$2::text[], "
               "$3::jsonb[], $4::int[], $5::bool[], $6::jsonb[], $7::bigint[]) AS new(collection, "
               "id, "
               "data, rev, deleted, vector_clock, updated_at) WHERE d.collection = new.collection "
               "AND "
               "d.id = new.id",
           {std::move(collections).Take(), std::move(ids).Take(), std::move(data).Take(),
            std::move(revs).Take(), std::move(deleted).Take(), std::move(clocks).Take(),
            std::move(times).Take()}});
    }
    if (any_unused) {
      statements.push_back({"DELETE FROM " + schema_ +
                                ".documents d USING unnest($1::text[], $2::text[]) AS "
                                "unused(collection, id) WHERE d.collection = unused.collection AND "
                                "d.id = unused.id AND d.rev = 0",
                            {std::move(unused_collections).Take(), std::move(unused_ids).Take()}});
    }
  }

  Connection& connection_;
  std::string schema_;  // quoted
  std::span<const Operation* const> operations_;
  std::map<Key, DocumentState> documents_;
  std::set<std::string, std::less<>> known_;
  std::vector<const Operation*> stored_;
};

// ---- many transactions ----

// Another transaction was in the way: it holds a lock, or has just stored the same operation.
bool IsRetryable(const Error& error) {
  constexpr std::string_view kStates[] = {"40001", "40P01", "55P03", "23505"};
  return std::find(std::begin(kStates), std::end(kStates), error.sqlstate()) != std::end(kStates);
}

// Something in the batch is what PostgreSQL does not store: a value, a constraint, a limit.
bool IsOfTheData(const Error& error) {
  const std::string& state = error.sqlstate();
  return state.starts_with("22") || state.starts_with("23") || state.starts_with("54");
}

void Pause(int attempt) {
  thread_local std::minstd_rand random{std::random_device{}()};
  auto longest = kPause * (1 << attempt);
  std::uniform_int_distribution<int64_t> jitter(longest.count() / 2, longest.count());
  std::this_thread::sleep_for(std::chrono::milliseconds(jitter(random)));
}

class Acceptor {
 public:
  Acceptor(Connection& connection, const std::string& schema)
      : connection_(connection), schema_(schema) {}

  void Accept(std::span<const Operation* const> operations, std::span<const size_t> indices) {
    while (!operations.empty()) {
      size_t count = FirstBatch(operations);
      AcceptBatch(operations.first(count), indices.first(count));
      operations = operations.subspan(count);
      indices = indices.subspan(count);
    }
  }

  Acceptance acceptance;

 private:
  static size_t FirstBatch(std::span<const Operation* const> operations) {
    size_t bytes = 0;
    size_t count = 0;
    while (count < operations.size() && count < kBatchOperationsMax &&
           (count == 0 || bytes < kBatchBytesMax)) {
      const Operation& operation = *operations[count++];
      bytes += operation.data ? operation.data->size() : 0;
    }
    return count;
  }

  void AcceptBatch(std::span<const Operation* const> operations, std::span<const size_t> indices) {
    try {
      Append(RunPatiently(operations));
    } catch (const Error& error) {
      if (!IsOfTheData(error)) throw;
      if (operations.size() == 1) {
        acceptance.rejected.push_back(
            {indices[0], operations[0]->id, std::string("PostgreSQL refuses it: ") + error.what()});
        return;
      }
      size_t half = operations.size() / 2;
      AcceptBatch(operations.first(half), indices.first(half));
      AcceptBatch(operations.subspan(half), indices.subspan(half));
    }
  }

  Acceptance RunPatiently(std::span<const Operation* const> operations) {
    for (int attempt = 1;; ++attempt) {
      try {
        return Batch(connection_, schema_, operations).Run();
      } catch (const Error& error) {
        if (!error.NeedsReconnect() && !connection_.idle()) connection_.Execute("ROLLBACK");
        if (!IsRetryable(error) || attempt == kAttempts) throw;
      }
      Pause(attempt);
    }
  }

  void Append(Acceptance&& more) {
    std::move(more.accepted.begin(), more.accepted.end(), std::back_inserter(acceptance.accepted));
    std::move(more.conflicts.begin(), more.conflicts.end(),
              std::back_inserter(acceptance.conflicts));
  }

  Connection& connection_;
  const std::string& schema_;
};

Acceptance Accept(Connection& connection, const std::string& schema,
                  const std::vector<Operation>& operations, const std::vector<size_t>& indices,
                  std::vector<Rejection> rejected) {
  std::vector<const Operation*> good;
  std::vector<size_t> good_indices;
  for (size_t i = 0; i < operations.size(); ++i) {
    std::string reason = ReasonToReject(operations[i]);
    if (!reason.empty()) {
      rejected.push_back({indices[i], operations[i].id, reason});
      continue;
    }
    good.push_back(&operations[i]);
    good_indices.push_back(indices[i]);
  }
  Acceptor acceptor(connection, schema);
  acceptor.acceptance.rejected = std::move(rejected);
  acceptor.Accept(good, good_indices);
  auto& all = acceptor.acceptance.rejected;
  std::sort(all.begin(), all.end(), [](const auto& a, const auto& b) { return a.index < b.index; });
  return std::move(acceptor.acceptance);
}

}  // namespace

std::string ReasonToReject(const Operation& operation) {
  for (const auto& reason :
       {ReasonOfName("id", operation.id), ReasonOfName("collection", operation.collection),
        ReasonOfName("docId", operation.doc_id), ReasonOfName("clientId", operation.client_id),
        ReasonOfClock(operation.vector_clock)}) {
    if (!reason.empty()) return reason;
  }
  if (std::find(std::begin(kTypes), std::end(kTypes), operation.type) == std::end(kTypes))
    return "its type is none of insert, update, delete, batch";
  if (!IsUtf8(operation)) return "it is not valid UTF-8";
  return ReasonOfData(operation);
}

Acceptance AcceptOperations(Connection& connection, const std::string& schema,
                            const std::vector<Operation>& operations) {
  std::vector<size_t> indices(operations.size());
  for (size_t i = 0; i < indices.size(); ++i) indices[i] = i;
  return Accept(connection, schema, operations, indices, {});
}

Acceptance AcceptOperationsJson(Connection& connection, const std::string& schema,
                                std::string_view array) {
  if (!nlohmann::json::accept(array) || array.substr(array.find_first_not_of(" \t\r\n"), 1) != "[")
    throw std::invalid_argument("the operations are no JSON array");
  std::vector<Operation> operations;
  std::vector<size_t> indices;
  std::vector<Rejection> rejected;
  size_t index = 0;
  for (std::string_view element : RawElements(array)) {
    try {
      operations.push_back(Operation::FromJson(element));
      indices.push_back(index);
    } catch (const std::invalid_argument& error) {
      rejected.push_back({index, "", error.what()});
    }
    ++index;
  }
  return Accept(connection, schema, operations, indices, std::move(rejected));
}

std::string Acceptance::ToJson() const {
  auto list = [](const auto& elements, const auto& append) {
    std::string out = "[";
    for (const auto& element : elements) {
      if (out.size() > 1) out += ',';
      append(out, element);
    }
    return out + "]";
  };
  std::string out =
      "{\"accepted\":" +
      list(accepted, [](std::string& to, const std::string& id) { AppendJsonString(to, id); }) +
      ",\"conflicts\":" +
      list(conflicts, [](std::string& to, const Operation& one) { to += one.ToJson(); });
  if (!rejected.empty()) {
    out += ",\"rejected\":" + list(rejected, [](std::string& to, const Rejection& one) {
             to += "{\"index\":" + std::to_string(one.index) + ",\"id\":";
             AppendJsonString(to, one.id);
             to += ",\"reason\":";
             AppendJsonString(to, one.reason);
             to += '}';
           });
  }
  return out + "}";
}

}  // namespace syncflow::adapter
