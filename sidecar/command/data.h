// `compact`, `stats`, `get`, `query` and `accept`: the adapter without code. Results go to stdout,
// one JSON value a line, everything else to stderr. What fails is thrown; see WithDatabase.
#pragma once

#include <cstdio>

#include "adapter/compact.h"
#include "adapter/documents.h"
#include "sidecar/command/database.h"

namespace syncflow::command {

// {"message","deletedCount"}, as SyncFlow's server answers; a sentence on stderr says more.
// Waits up to half a minute for the sidecar's slot to come to what is committed now, unless
// `past_slot`; without such a slot it waits for nobody.
int Compact(const Database& database, adapter::CompactOptions options, bool past_slot);

// {"totalOperations","totalDocuments","unsyncedOperations"}
int Stats(const Database& database);

// The document; 1 with a sentence when there is none.
int Get(const Database& database, const std::string& collection, const std::string& id);

// The documents.
int Query(const Database& database, const std::string& collection,
          const adapter::DocumentQuery& query);

// Stores operations, one JSON object a line of `input`. For each that conflicts
// {"conflict":operation}, for each that cannot be stored {"rejected":{"line","id","reason"}}, in no
// order between the two. 0 when none was rejected, else 1. Sent again, nothing changes.
int Accept(const Database& database, std::FILE* input);

}  // namespace syncflow::command
