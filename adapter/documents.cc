#include "adapter/documents.h"

#include <stdexcept>

#include "adapter/filter.h"
#include "adapter/operation.h"
#include "adapter/raw_json.h"

namespace syncflow::adapter {
namespace {

std::string DocumentJson(std::string_view id, std::string_view rev, std::string_view data) {
  std::string own = "{\"_id\":";
  AppendJsonString(own, id);
  own += ",\"_rev\":";
  own += rev;
  own += '}';
  return MergeRawObjects(own, WithoutSpace(data));
}

std::string OrderBy(const DocumentQuery& query, std::vector<std::optional<std::string>>& values) {
  std::string order = " ORDER BY ";
  for (const DocumentOrder& one : query.order) {
    values.emplace_back(PathArray(one.path));
    order += "data #> $" + std::to_string(values.size()) + "::text[] " +
             (one.descending ? "DESC" : "ASC") + " NULLS LAST, ";
  }
  return order + "updated_at DESC, id COLLATE \"C\"";
}

int64_t Number(const Result& result, int column) {
  return std::stoll(std::string(result.Get(0, column)));
}

}  // namespace

std::optional<std::string> GetDocument(Connection& connection, const std::string& schema,
                                       const std::string& collection, const std::string& id) {
  Result result =
      connection.Query("SELECT id, rev, data FROM " + connection.QuoteIdentifier(schema) +
                           ".documents WHERE collection = $1 AND id = $2 AND deleted IS NOT TRUE",
                       {collection, id});
  if (result.rows() == 0) return std::nullopt;
  return DocumentJson(result.Get(0, 0), result.Get(0, 1), result.Get(0, 2));
}

std::vector<std::string> QueryDocuments(Connection& connection, const std::string& schema,
                                        const std::string& collection, const DocumentQuery& query) {
  if (query.limit < 0) throw std::invalid_argument("the limit is negative");
  FilterSql filter = TranslateFilter(query.filter, 2);
  std::vector<std::optional<std::string>> values{collection};
  values.insert(values.end(), filter.parameters.begin(), filter.parameters.end());
  std::string sql = "SELECT id, rev, data FROM " + connection.QuoteIdentifier(schema) +
                    ".documents WHERE collection = $1 AND deleted IS NOT TRUE AND " + filter.where +
                    OrderBy(query, values);
  if (query.limit > 0) sql += " LIMIT " + std::to_string(query.limit);
  Result result = connection.Query(sql, values);
  std::vector<std::string> documents;
  for (int row = 0; row < result.rows(); ++row)
    documents.push_back(DocumentJson(result.Get(row, 0), result.Get(row, 1), result.Get(row, 2)));
  return documents;
}

Stats GetStats(Connection& connection, const std::string& schema) {
  std::string quoted = connection.QuoteIdentifier(schema);
  Result result = connection.Execute("SELECT (SELECT count(*) FROM " + quoted +
                                     ".operations), (SELECT count(*) FROM " + quoted +
                                     ".documents WHERE deleted IS NOT TRUE), (SELECT count(*) "
                                     "FROM " +
                                     quoted + ".operations WHERE synced IS NOT TRUE)");
  return {Number(result, 0), Number(result, 1), Number(result, 2)};
}

std::string Stats::ToJson() const {
  return "{\"totalOperations\":" + std::to_string(total_operations) +
         ",\"totalDocuments\":" + std::to_string(total_documents) +
         ",\"unsyncedOperations\":" + std::to_string(unsynced_operations) + "}";
}

}  // namespace syncflow::adapter
