// Stores operations in one of three ways and prints one line: operations a second, microseconds of
// this process's processor time an operation, allocations an operation. Everything that is sent is
// made beforehand, so that only the way of storing is measured.
//   accept URL adapter|bare|each BATCH CONNECTIONS OPERATIONS ROUND
//     adapter  AcceptOperations
//     bare     the same work as set-based SQL in two pipelined round trips, nothing checked or
//              decided in between
//     each     a transaction for each operation, a round trip for each statement
#include <sys/resource.h>

#include <atomic>
#include <chrono>
#include <cstdlib>
#include <iostream>
#include <new>
#include <string>
#include <thread>
#include <vector>

#include "adapter/accept.h"
#include "adapter/text_array.h"

namespace {

std::atomic<uint64_t> allocations{0};

}  // namespace

// Not inlined: the compiler would see free() of what new gave.
[[gnu::noinline]] void* operator new(size_t size) {
  allocations.fetch_add(1, std::memory_order_relaxed);
  if (void* memory = std::malloc(size)) return memory;
  throw std::bad_alloc();
}
[[gnu::noinline]] void operator delete(void* memory) noexcept {
  std::free(memory);
}
[[gnu::noinline]] void operator delete(void* memory, size_t) noexcept {
  std::free(memory);
}

namespace {

using namespace syncflow::adapter;

using Batch = std::vector<Operation>;

constexpr int kDocuments = 20'000;  // of each connection

struct Work {
  std::string url;
  std::string method;
  int batch = 0;
  int connections = 0;
  int operations = 0;
  int round = 0;
};

// Updates of documents that only this connection writes, spread over all of them.
std::vector<Batch> MakeBatches(const Work& work, int connection) {
  std::vector<Batch> batches;
  std::string client = work.method + std::to_string(work.batch) + "-" + std::to_string(connection);
  std::string data = R"({"title":")" + std::string(150, 'x') + R"(","done":false,"position":1234})";
  int per_connection = work.operations / work.connections;
  for (int n = 0; n < per_connection; ++n) {
    if (n % work.batch == 0) batches.emplace_back();
    int document = static_cast<int>(n * 7919LL % kDocuments);
    VectorClock clock;
    clock.Set("client-1", work.round * 1'000'000LL + n);
    batches.back().push_back({client + "-" + std::to_string(work.round) + "-" + std::to_string(n),
                              "update", "todos",
                              "doc-" + std::to_string(connection) + "-" + std::to_string(document),
                              data, 1'700'000'000'000 + n, client, false, clock});
  }
  return batches;
}

// ---- bare ----

struct Arrays {
  std::string ids, types, collections, docs, data, timestamps, clients, clocks;
};

Arrays MakeArrays(const Batch& batch) {
  TextArray ids, types, collections, docs, data, timestamps, clients, clocks;
  for (const Operation& one : batch) {
    ids.Add(one.id);
    types.Add(one.type);
    collections.Add(one.collection);
    docs.Add(one.doc_id);
    data.AddOrNull(one.data);
    timestamps.Add(std::to_string(one.timestamp));
    clients.Add(one.client_id);
    clocks.Add(one.vector_clock.ToJson());
  }
  return {std::move(ids).Take(),     std::move(types).Take(), std::move(collections).Take(),
          std::move(docs).Take(),    std::move(data).Take(),  std::move(timestamps).Take(),
          std::move(clients).Take(), std::move(clocks).Take()};
}

void StoreBare(Connection& connection, const Arrays& a) {
  connection.Pipeline(
      {{"BEGIN", {}},
       {"INSERT INTO documents (collection, id, data, vector_clock, updated_at) SELECT DISTINCT c, "
        "d, '{}'::jsonb, '{}'::jsonb, 0 FROM unnest($1::text[], $2::text[]) u(c, d) ORDER BY 1, 2 "
        "ON CONFLICT DO NOTHING",
        {a.collections, a.docs}},
       {"SELECT d.collection, d.id, d.data, d.rev, d.deleted, d.vector_clock FROM documents d JOIN "
        "(SELECT DISTINCT c, i FROM unnest($1::text[], $2::text[]) u(c, i)) k ON d.collection = "
        "k.c AND d.id = k.i ORDER BY 1, 2 FOR UPDATE OF d",
        {a.collections, a.docs}},
       {"SELECT id FROM operations WHERE id = ANY ($1::text[])", {a.ids}}});
  connection.Pipeline(
      {{"INSERT INTO operations (id, type, collection, doc_id, data, timestamp, client_id, "
        "vector_clock) SELECT * FROM unnest($1::text[], $2::text[], $3::text[], $4::text[], "
        "$5::jsonb[], $6::bigint[], $7::text[], $8::jsonb[])",
        {a.ids, a.types, a.collections, a.docs, a.data, a.timestamps, a.clients, a.clocks}},
       {"UPDATE documents d SET data = n.data, rev = d.rev + 1, vector_clock = n.clock, updated_at "
        "= n.at FROM unnest($1::text[], $2::text[], $3::jsonb[], $4::jsonb[], $5::bigint[]) AS "
        "n(c, i, data, clock, at) WHERE d.collection = n.c AND d.id = n.i",
        {a.collections, a.docs, a.data, a.clocks, a.timestamps}},
       {"COMMIT", {}}});
}

// ---- each ----

void StoreEach(Connection& connection, const Operation& one) {
  connection.Pipeline({{"BEGIN", {}}});
  connection.Pipeline({{"SELECT id FROM operations WHERE id = $1", {one.id}}});
  connection.Pipeline(
      {{"SELECT data, rev, deleted, vector_clock FROM documents WHERE collection = "
        "$1 AND id = $2 FOR UPDATE",
        {one.collection, one.doc_id}}});
  connection.Pipeline(
      {{"INSERT INTO operations (id, type, collection, doc_id, data, timestamp, client_id, "
        "vector_clock) VALUES ($1, $2, $3, $4, $5, $6, $7, $8)",
        {one.id, one.type, one.collection, one.doc_id, one.data, std::to_string(one.timestamp),
         one.client_id, one.vector_clock.ToJson()}}});
  connection.Pipeline(
      {{"INSERT INTO documents AS d (collection, id, data, vector_clock, updated_at) VALUES ($1, "
        "$2, $3, $4, $5) ON CONFLICT (collection, id) DO UPDATE SET data = d.data || "
        "excluded.data, rev = d.rev + 1, vector_clock = excluded.vector_clock, updated_at = "
        "excluded.updated_at",
        {one.collection, one.doc_id, one.data, one.vector_clock.ToJson(),
         std::to_string(one.timestamp)}}});
  connection.Pipeline({{"COMMIT", {}}});
}

// ---- all ----

class Storing {
 public:
  Storing(const Work& work, int number)
      : work_(work), connection_(Options(work)), batches_(MakeBatches(work, number)) {
    if (work.method != "bare") return;
    for (const Batch& batch : batches_) arrays_.push_back(MakeArrays(batch));
  }

  void Run() {
    for (const Arrays& arrays : arrays_) StoreBare(connection_, arrays);
    if (!arrays_.empty()) return;
    for (const Batch& batch : batches_) {
      if (work_.method == "each") {
        for (const Operation& one : batch) StoreEach(connection_, one);
      } else if (AcceptOperations(connection_, "public", batch).accepted.size() != batch.size()) {
        throw std::runtime_error("not everything was accepted");
      }
    }
  }

 private:
  static ConnectOptions Options(const Work& work) {
    ConnectOptions options;
    options.url = work.url;
    options.timeout = std::chrono::seconds(60);
    return options;
  }

  const Work& work_;
  Connection connection_;
  std::vector<Batch> batches_;
  std::vector<Arrays> arrays_;
};

double ProcessorMicroseconds() {
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  auto of = [](const timeval& time) {
    return static_cast<double>(time.tv_sec) * 1e6 + static_cast<double>(time.tv_usec);
  };
  return of(usage.ru_utime) + of(usage.ru_stime);
}

}  // namespace

int main(int argc, char** argv) try {
  if (argc != 7) return 2;
  Work work{argv[1],           argv[2], std::stoi(argv[3]), std::stoi(argv[4]), std::stoi(argv[5]),
            std::stoi(argv[6])};
  std::vector<Storing> storing;
  storing.reserve(static_cast<size_t>(work.connections));
  for (int i = 0; i < work.connections; ++i) storing.emplace_back(work, i);
  uint64_t allocations_before = allocations;
  double processor_before = ProcessorMicroseconds();
  auto began = std::chrono::steady_clock::now();
  std::vector<std::thread> threads;
  for (Storing& one : storing) threads.emplace_back([&one] { one.Run(); });
  for (std::thread& thread : threads) thread.join();
  std::chrono::duration<double> elapsed = std::chrono::steady_clock::now() - began;
  double operations = work.operations;
  std::cout << operations / elapsed.count() << " "
            << (ProcessorMicroseconds() - processor_before) / operations << " "
            << static_cast<double>(allocations - allocations_before) / operations << "\n";
} catch (const std::exception& error) {
  std::cerr << error.what() << "\n";
  return 1;
}
