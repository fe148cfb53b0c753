// The documents of the table, as the feed asks for them. Who reads them is not its business.
#pragma once

#include <cstdint>
#include <functional>
#include <string_view>

#include "replication/lsn.h"

namespace syncflow::feed {

struct Document {
  std::string_view collection;
  std::string_view id;
  std::string_view data;  // JSON
  int64_t rev = 0;
  bool deleted = false;
  std::string_view vector_clock;  // JSON
  int64_t updated_at = 0;         // milliseconds since 1970
};

class DocumentSink {
 public:
  virtual ~DocumentSink() = default;
  // Once, first: the documents are what all transactions that committed before `lsn` have left.
  virtual void Begin(replication::Lsn lsn) = 0;
  virtual void Add(const Document& document) = 0;
};

// Gives every document, also deleted ones, to the sink; throws std::exception with a sentence, also
// soon after `stop_fd` has become readable. Called on a thread of its own.
using ReadDocuments = std::function<void(DocumentSink& sink, int stop_fd)>;

}  // namespace syncflow::feed
