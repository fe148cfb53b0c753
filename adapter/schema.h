// SyncFlow's tables, indexes, sequence and NOTIFY trigger, created as its Node.js adapter creates
// them.
#pragma once

#include <string>
#include <vector>

#include "adapter/connection.h"

namespace syncflow::adapter {

enum class NotifyMode { kTrigger, kOff };

// The statements in order; each is idempotent. `schema` is quoted, never pasted.
std::vector<std::string> SchemaStatements(const Connection& connection, const std::string& schema,
                                          NotifyMode mode);

// Creates what is missing, in one transaction, under an advisory lock so that several starters do
// not race. Takes no lock on existing tables that would hold up writers (an existing, equal trigger
// is left alone). Throws Error.
void CreateSchema(Connection& connection, const std::string& schema, NotifyMode mode);

// Beyond SyncFlow's own; each makes one kind of question fast and every write a little dearer.
enum class ExtraIndex {
  kDocumentData,       // idx_docs_data: filters with $eq, a GIN index on documents.data
  kOperationClock,     // idx_ops_clock: getChanges with a vector clock
  kOperationDocument,  // idx_ops_document: compact with keep_last
};

// Builds the index without holding up writers, which takes as long as reading the table twice: the
// connection's timeout has to allow for it. Does nothing when it is there; one that an interrupted
// build left behind is replaced. Not inside a transaction. Throws Error.
void CreateIndexConcurrently(Connection& connection, const std::string& schema, ExtraIndex index);

// The statement that builds it.
std::string ExtraIndexStatement(const Connection& connection, const std::string& schema,
                                ExtraIndex index);

// True when both tables exist and have the columns the sidecar reads.
bool HasSchema(Connection& connection, const std::string& schema);

}  // namespace syncflow::adapter
