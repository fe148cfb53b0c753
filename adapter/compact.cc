#include "adapter/compact.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <stdexcept>
#include <thread>

namespace syncflow::adapter {
namespace {

constexpr int kAttempts = 5;
constexpr int kBatchRowsMax = 100'000;

void Validate(const CompactOptions& options) {
  if (options.older_than.count() < 0) throw std::invalid_argument("older_than is negative");
  if (options.batch_rows < 1 || options.batch_rows > kBatchRowsMax)
    throw std::invalid_argument("batch_rows is not between 1 and 100000");
  if (!(options.share_max > 0 && options.share_max <= 1))
    throw std::invalid_argument("share_max is not greater than 0 and at most 1");
  if (options.pause.count() < 0 || options.lock_timeout.count() < 1)
    throw std::invalid_argument("pause is negative or lock_timeout is below 1 ms");
}

int64_t Number(const Result& result, int column) {
  return std::stoll(std::string(result.Get(0, column)));
}

class Run {
 public:
  Run(Connection& connection, const std::string& schema, const CompactOptions& options)
      : connection_(connection),
        table_(connection.QuoteIdentifier(schema) + ".operations"),
        options_(options) {}

  CompactResult Do() {
    Count();
    if (options_.dry_run) {
      result_.deleted = quota_;
      return result_;
    }
    while (result_.deleted < quota_ && DeleteBatch()) {
      result_.cancelled =
          options_.progress && !options_.progress({result_.eligible, result_.deleted});
      if (result_.cancelled) return result_;
      if (result_.deleted < quota_) std::this_thread::sleep_for(options_.pause);
    }
    if (options_.vacuum) connection_.Execute("VACUUM (ANALYZE) " + table_);
    return result_;
  }

 private:
  void Count() {
    Result counted = connection_.Query(
        "WITH cutoff AS MATERIALIZED (SELECT (extract(epoch FROM clock_timestamp()) * "
        "1000)::bigint - $1::bigint AS at) SELECT at, (SELECT count(*) FROM " +
            table_ + " WHERE timestamp < at), (SELECT count(*) FROM " + table_ +
            " WHERE $2::boolean) FROM cutoff",
        {std::to_string(options_.older_than.count()), options_.share_max < 1 ? "t" : "f"});
    result_.cutoff = Number(counted, 0);
    result_.eligible = quota_ = Number(counted, 1);
    if (options_.share_max == 1) return;
    auto share = std::floor(static_cast<double>(Number(counted, 2)) * options_.share_max);
    quota_ = std::min(quota_, static_cast<int64_t>(share));
    result_.limited = quota_ < result_.eligible;
  }

  // False when nothing more was found.
  bool DeleteBatch() {
    for (int attempt = 1;; ++attempt) {
      try {
        return TryDeleteBatch();
      } catch (const Error& error) {
        if (!error.NeedsReconnect() && !connection_.idle()) connection_.Execute("ROLLBACK");
        bool in_the_way = error.sqlstate() == "55P03" || error.sqlstate() == "40P01";
        if (!in_the_way || attempt == kAttempts) throw;
      }
      std::this_thread::sleep_for(options_.pause);
    }
  }

  // Begins where the batch before ended: the index still holds what that one deleted.
  bool TryDeleteBatch() {
    int64_t rows = std::min<int64_t>(options_.batch_rows, quota_ - result_.deleted);
    auto results = connection_.Pipeline(
        {{"BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE", {}},
         {"SELECT set_config('lock_timeout', $1, true)",
          {std::to_string(options_.lock_timeout.count())}},
         {"WITH gone AS (DELETE FROM " + table_ + " WHERE ctid = ANY (ARRAY (SELECT ctid FROM " +
              table_ +
              " WHERE timestamp >= $1 AND timestamp < $2 ORDER BY timestamp LIMIT $3 FOR UPDATE "
              "SKIP LOCKED)) RETURNING timestamp) SELECT count(*), coalesce(max(timestamp), $1) "
              "FROM gone",
          {std::to_string(from_), std::to_string(result_.cutoff), std::to_string(rows)}},
         {"COMMIT", {}}});
    result_.deleted += Number(results[2], 0);
    from_ = Number(results[2], 1);
    return Number(results[2], 0) > 0;
  }

  Connection& connection_;
  std::string table_;
  const CompactOptions& options_;
  CompactResult result_;
  int64_t quota_ = 0;  // how many may be deleted
  int64_t from_ = std::numeric_limits<int64_t>::min();
};

}  // namespace

CompactResult Compact(Connection& connection, const std::string& schema,
                      const CompactOptions& options) {
  Validate(options);
  return Run(connection, schema, options).Do();
}

std::string CompactResult::ToJson() const {
  return "{\"message\":\"Compaction completed\",\"deletedCount\":" + std::to_string(deleted) + "}";
}

}  // namespace syncflow::adapter
