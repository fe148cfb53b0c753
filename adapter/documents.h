// The documents that the operations made, and what the tables hold in numbers.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "adapter/connection.h"

namespace syncflow::adapter {

// {"_id","_rev",...data} as JSON, digits as they were written; nullopt when there is none or it is
// deleted. A member of data that is called _id or _rev goes before ours, as with SyncFlow.
std::optional<std::string> GetDocument(Connection& connection, const std::string& schema,
                                       const std::string& collection, const std::string& id);

struct DocumentOrder {
  std::string path;  // dotted, as in a filter; compared as jsonb, documents without it last
  bool descending = false;
};

struct DocumentQuery {
  std::string filter = "{}";         // see filter.h
  std::vector<DocumentOrder> order;  // then, and by default: updated last first, then by id
  int64_t limit = 0;                 // 0 = all
};

// The documents of a collection that are not deleted, in the form of GetDocument. Throws
// std::invalid_argument for a filter, path or limit that cannot be used, Error otherwise.
std::vector<std::string> QueryDocuments(Connection& connection, const std::string& schema,
                                        const std::string& collection, const DocumentQuery& query);

struct Stats {
  int64_t total_operations = 0;
  int64_t total_documents = 0;  // without deleted ones
  int64_t unsynced_operations = 0;

  std::string ToJson() const;  // {"totalOperations","totalDocuments","unsyncedOperations"}
};

// Counts rows: takes as long as reading the tables' indexes. Throws Error.
Stats GetStats(Connection& connection, const std::string& schema);

}  // namespace syncflow::adapter
