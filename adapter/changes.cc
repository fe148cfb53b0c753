#include "adapter/changes.h"

#include <algorithm>
#include <stdexcept>

#include "adapter/rows.h"
#include "adapter/text_array.h"

namespace syncflow::adapter {
namespace {

constexpr int kLimitMax = 10'000;

// A loose index scan finds each client once; of each, only what is beyond the given clock is read
// (with idx_ops_clock; else all of its operations up to `since`), and not what is beyond the clock
// that the answer's page of newer operations leads to, when there are more pages: that stays late,
// and a client that is far behind would have most of the table searched with every page. Clients
// take over the whole clock of what they are given: the sum of its counters puts everything that it
// covers before it. As JSON, every number is smaller than `true`.
Statement LateOperations(const std::string& schema, const ChangesRequest& request) {
  TextArray clients, counters;
  for (const auto& [client, counter] : request.vector_clock->counters()) {
    clients.Add(client);
    counters.Add(std::to_string(counter));
  }
  std::string operations = schema + ".operations";
  return {"WITH RECURSIVE page AS MATERIALIZED (SELECT vector_clock FROM " + operations +
              " WHERE timestamp > $1 ORDER BY timestamp FETCH FIRST ($4::int) ROWS WITH TIES), "
              "ahead AS (SELECT key AS client, max(value::numeric) AS counter FROM page, "
              "jsonb_each(CASE jsonb_typeof(vector_clock) WHEN 'object' THEN vector_clock ELSE "
              "'{}' END) "
              "WHERE jsonb_typeof(value) = 'number' GROUP BY key), "
              "clients(client_id) AS ((SELECT client_id FROM " +
              operations +
              " ORDER BY client_id LIMIT 1) UNION ALL SELECT (SELECT o.client_id FROM " +
              operations +
              " o WHERE o.client_id > c.client_id ORDER BY o.client_id LIMIT 1) FROM "
              "clients c WHERE c.client_id IS NOT NULL), seen AS (SELECT c.client_id AS client, "
              "to_jsonb(coalesce(s.counter, 0)) AS counter, CASE WHEN (SELECT count(*) FROM page) "
              "< $4::int THEN to_jsonb(true) ELSE to_jsonb(coalesce(a.counter, 0)) END AS most "
              "FROM clients c LEFT JOIN unnest($2::text[], $3::bigint[]) AS s(client, counter) ON "
              "s.client = c.client_id LEFT JOIN ahead a ON a.client = c.client_id "
              "WHERE c.client_id IS NOT NULL) SELECT " +
              kOperationColumns + " FROM seen CROSS JOIN LATERAL (SELECT * FROM " + operations +
              " o WHERE o.client_id = seen.client AND o.vector_clock -> o.client_id > "
              "seen.counter AND o.vector_clock -> o.client_id <= seen.most AND o.timestamp <= $1 "
              "ORDER BY o.vector_clock -> o.client_id, o.timestamp LIMIT $4) late ORDER BY (SELECT "
              "sum(value::numeric) FROM jsonb_each(vector_clock) WHERE jsonb_typeof(value) = "
              "'number'), client_id, timestamp LIMIT $4",
          {std::to_string(request.since), std::move(clients).Take(), std::move(counters).Take(),
           std::to_string(request.limit)}};
}

Statement NewOperations(const std::string& schema, const ChangesRequest& request) {
  return {std::string("SELECT ") + kOperationColumns + " FROM (SELECT * FROM " + schema +
              ".operations WHERE timestamp > $1 ORDER BY timestamp FETCH FIRST ($2::int) ROWS WITH "
              "TIES) page ORDER BY timestamp, id COLLATE \"C\"",
          {std::to_string(request.since), std::to_string(request.limit)}};
}

bool NamesOthers(const ChangesRequest& request) {
  const auto& counters = request.vector_clock->counters();
  return std::any_of(counters.begin(), counters.end(),
                     [&](const auto& one) { return one.first != request.client_id; });
}

// How many of the late ones belong into the answer.
int LateCount(const Result& late, const ChangesRequest& request) {
  bool too_many = late.rows() >= request.limit;
  if (too_many && !NamesOthers(request)) return 0;
  return std::min(late.rows(), request.limit);
}

// The first `room` rows, and the rest of the last one's group.
int FreshCount(const Result& fresh, int room) {
  int count = std::min(fresh.rows(), room);
  while (count > 0 && count < fresh.rows() && fresh.Get(count, 5) == fresh.Get(count - 1, 5))
    ++count;
  return count;
}

}  // namespace

std::vector<Operation> GetChanges(Connection& connection, const std::string& schema,
                                  const ChangesRequest& request) {
  if (request.limit < 1 || request.limit > kLimitMax)
    throw std::invalid_argument("the limit is not between 1 and 10000");
  std::string quoted = connection.QuoteIdentifier(schema);
  std::vector<Statement> statements{{"BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY", {}},
                                    NewOperations(quoted, request)};
  if (request.vector_clock) statements.push_back(LateOperations(quoted, request));
  statements.push_back({"COMMIT", {}});
  auto results = connection.Pipeline(statements);
  int late = request.vector_clock ? LateCount(results[2], request) : 0;
  int fresh = FreshCount(results[1], request.limit - late);
  std::vector<Operation> changes;
  for (int row = 0; row < late; ++row) changes.push_back(ReadOperation(results[2], row, quoted));
  for (int row = 0; row < fresh; ++row) changes.push_back(ReadOperation(results[1], row, quoted));
  return changes;
}

}  // namespace syncflow::adapter
