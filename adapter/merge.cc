#include "adapter/merge.h"

#include "adapter/raw_json.h"

namespace syncflow::adapter {
namespace {

// JSON's null is no data, as a missing member is none.
std::string DataOf(const Operation& operation) {
  return operation.data && *operation.data != "null" ? *operation.data : "{}";
}

void ApplyType(const Operation& operation, DocumentState& document) {
  bool deletes = operation.type == "delete";
  if (!document.exists) {
    document.data = deletes ? "{}" : DataOf(operation);
    document.rev = 1;
  } else if (operation.type == "update") {
    document.data = MergeRawObjects(document.data, DataOf(operation));
    ++document.rev;
  } else if (!deletes) {
    document.data = DataOf(operation);
    ++document.rev;
  }
  document.deleted = deletes;
}

}  // namespace

bool Apply(const Operation& operation, DocumentState& document) {
  if (document.exists) {
    ClockOrder order = operation.vector_clock.Compare(document.vector_clock);
    if (order == ClockOrder::kBefore || order == ClockOrder::kConcurrent) return false;
  }
  if (operation.type == "batch") return true;
  ApplyType(operation, document);
  document.exists = document.changed = true;
  document.vector_clock = operation.vector_clock;
  document.updated_at = operation.timestamp;
  return true;
}

}  // namespace syncflow::adapter
