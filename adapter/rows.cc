#include "adapter/rows.h"

#include <stdexcept>

#include "adapter/raw_json.h"

namespace syncflow::adapter {
namespace {

std::string Quoted(std::string text) {
  for (size_t at = 0; (at = text.find('\'', at)) != text.npos; at += 2) text.insert(at, 1, '\'');
  return "'" + text + "'";
}

}  // namespace

Operation ReadOperation(const Result& result, int row, const std::string& quoted_schema) {
  auto text = [&](int column) { return std::string(result.Get(row, column)); };
  Operation operation;
  operation.id = text(0);
  operation.type = text(1);
  operation.collection = text(2);
  operation.doc_id = text(3);
  if (!result.IsNull(row, 4)) operation.data = WithoutSpace(result.Get(row, 4));
  operation.timestamp = std::stoll(text(5));
  operation.client_id = text(6);
  operation.synced = result.Get(row, 7) == "t";
  try {
    operation.vector_clock = VectorClock::FromJson(result.Get(row, 8));
  } catch (const std::invalid_argument& error) {
    throw Error("operation '" + operation.id + "' cannot be read: " + error.what(), "22023",
                "UPDATE " + quoted_schema +
                    ".operations SET vector_clock = '{}' WHERE id = " + Quoted(operation.id));
  }
  return operation;
}

}  // namespace syncflow::adapter
