// All documents as of one moment that the journal knows: under the snapshot that a temporary slot
// exports. A transaction is in it when the slot would no longer send it, whether SELECT shows it
// yet or not.
#pragma once

#include <string>

#include "adapter/connection.h"
#include "sidecar/feed/documents.h"
#include "sidecar/journal/journal.h"

namespace syncflow {

struct DocumentsReaderOptions {
  adapter::ConnectOptions connect;
  std::string schema = "public";
  std::string slot;  // the beginning of the temporary one's name
};

// Waits at most a minute for the transactions that write now; holds one row in memory. Throws
// adapter::Error; on a server whose history the journal does not follow, and where row security
// would hide documents, too. Any thread.
void ReadDocuments(const DocumentsReaderOptions& options, const journal::Journal& journal,
                   feed::DocumentSink& sink, int stop_fd);

}  // namespace syncflow
