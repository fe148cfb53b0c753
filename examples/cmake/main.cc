// The adapter as a library: stores an operation and reads the document that it made.
//   DATABASE_URL=postgresql://localhost/shop ./example
#include <adapter/postgres_sync_adapter.h>

#include <cstdlib>
#include <iostream>

using namespace syncflow::adapter;

int main() try {
  const char* url = std::getenv("DATABASE_URL");
  AdapterOptions options;
  options.pool.connect.url = url == nullptr ? "" : url;
  options.pool.connect.application_name = "syncflow-example";
  PostgresSyncAdapter adapter(options);
  adapter.Initialize();

  Acceptance result = adapter.AcceptOperationsJson(R"([{
      "id": "example-1", "type": "insert", "collection": "todos", "docId": "milk",
      "data": {"title": "Buy milk", "done": false}, "timestamp": 1700000000000,
      "clientId": "example", "synced": false, "vectorClock": {"example": 1}}])");
  std::cout << result.ToJson() << "\n";
  std::cout << adapter.GetDocument("todos", "milk").value_or("none") << "\n";

  DocumentQuery open;
  open.filter = R"({"done": {"$eq": false}})";
  std::cout << adapter.QueryDocuments("todos", open).size() << " open\n";
} catch (const Error& error) {
  std::cerr << error.Explain() << "\n";
  return 1;
}
