#include "replication/columns.h"

#include "replication/error.h"

namespace syncflow::replication {
namespace {

constexpr struct {
  std::string_view name;
  Column column;
} kColumns[] = {
    {"id", kId},
    {"type", kType},
    {"collection", kCollection},
    {"doc_id", kDocId},
    {"data", kData},
    {"timestamp", kTimestamp},
    {"client_id", kClientId},
    {"synced", kSynced},
    {"vector_clock", kVectorClock},
};

}  // namespace

unsigned ColumnOf(std::string_view name) {
  for (const auto& entry : kColumns) {
    if (entry.name == name) return entry.column;
  }
  return 0;
}

void RequireAllColumns(unsigned seen) {
  for (const auto& entry : kColumns) {
    if ((seen & entry.column) != 0) continue;
    throw DecodeError("a row was written while the operations table had no column '" +
                      std::string(entry.name) + "': restore it");
  }
}

}  // namespace syncflow::replication
