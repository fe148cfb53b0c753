// SyncFlow's Operation, as it stands in the table `operations` and as JSON.
//
//   {"id","type","collection","docId","data"?,"timestamp","clientId","synced",
//    "vectorClock":{clientId:counter}}
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "adapter/vector_clock.h"

namespace syncflow::adapter {

// One row of `operations`, borrowed: the column texts as PostgreSQL prints them. What the hot path
// uses.
struct OperationView {
  std::string_view id;
  std::string_view type;  // insert | update | delete | batch; others pass through
  std::string_view collection;
  std::string_view doc_id;
  std::optional<std::string_view> data;  // JSON text; nullopt = SQL NULL
  int64_t timestamp = 0;                 // milliseconds since 1970, set by the client
  std::string_view client_id;
  bool synced = false;
  std::string_view vector_clock;  // JSON text
};

// The same, owned.
struct Operation {
  std::string id;
  std::string type;
  std::string collection;
  std::string doc_id;
  std::optional<std::string> data;
  int64_t timestamp = 0;
  std::string client_id;
  bool synced = false;
  VectorClock vector_clock;

  // Reads the JSON form. Unknown keys are ignored; a missing or mistyped one throws
  // std::invalid_argument with a sentence that names it. `data` stays as it was written, without
  // space outside its strings; numbers beyond a double's range are refused.
  static Operation FromJson(std::string_view json);
  std::string ToJson() const;

  bool operator==(const Operation&) const = default;
};

// Appends `text` as a JSON string: quotes, backslash, \b \f \n \r \t, other control characters as
// \u00xx; everything else as it is.
void AppendJsonString(std::string& out, std::string_view text);

// Appends the JSON form. `data` and `vector_clock` are spliced as they are: the caller vouches that
// they are JSON without raw line feeds, as jsonb text is.
void AppendOperationJson(std::string& out, const OperationView& operation);

}  // namespace syncflow::adapter
