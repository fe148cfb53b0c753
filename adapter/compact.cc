#include "adapter/compact.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <stdexcept>
#include <thread>

#include "adapter/text_array.h"

namespace syncflow::adapter {
namespace {

using std::chrono::milliseconds;

constexpr int kAttempts = 5;
constexpr int kBatchRowsMax = 100'000;
constexpr int kCountRows = 20'000;
constexpr int kRowsLeast = 100;
constexpr milliseconds kSlow{500};
constexpr milliseconds kQuick{100};
constexpr milliseconds kNap{100};
// Beyond a statement's own timeouts: from a server that is there.
constexpr milliseconds kAnswerMax = std::chrono::minutes(1);
constexpr milliseconds kVacuumMax = std::chrono::hours(24);
constexpr int64_t kLeast = std::numeric_limits<int64_t>::min();
constexpr int64_t kMost = std::numeric_limits<int64_t>::max();

void Validate(const CompactOptions& options) {
  auto require = [](bool holds, const char* otherwise) {
    if (!holds) throw std::invalid_argument(otherwise);
  };
  auto is_age = [](const CompactAge& age) { return !age || age->count() >= 0; };
  require(is_age(options.older_than), "older_than is negative");
  for (const auto& [name, age] : options.collections)
    require(is_age(age), "the age of a collection is negative");
  require(options.keep_last >= 0, "keep_last is negative");
  require(options.batch_rows >= 1 && options.batch_rows <= kBatchRowsMax,
          "batch_rows is not between 1 and 100000");
  require(options.share_max > 0 && options.share_max <= 1,
          "share_max is not greater than 0 and at most 1");
  require(!options.deleted_max || *options.deleted_max >= 0, "deleted_max is negative");
  require(options.pause.count() >= 0, "pause is negative");
  require(options.lock_timeout.count() >= 1, "lock_timeout is below 1 ms");
  require(options.statement_timeout.count() >= 1, "statement_timeout is below 1 ms");
}

int64_t Number(const Result& result, int column) {
  return std::stoll(std::string(result.Get(0, column)));
}

// How many rows one transaction looks at: fewer where they take long.
class Window {
 public:
  explicit Window(int most) : most_(most), rows_(most) {}
  int rows() const { return rows_; }
  void Took(Clock::duration time) {
    if (time >= kSlow) rows_ = std::max(rows_ / 2, std::min(kRowsLeast, most_));
    if (time <= kQuick) rows_ = std::min(rows_ * 2, most_);
  }

 private:
  int most_;
  int rows_;
};

// Walks through the table in the order of (timestamp, id), a window in each transaction.
class Run {
 public:
  Run(Connection& connection, const std::string& schema, const CompactOptions& options)
      : connection_(connection),
        table_(connection.QuoteIdentifier(schema) + ".operations"),
        options_(options) {}

  CompactResult Do() {
    ExpectAnswers();
    if (options_.keep_last > 0) RequireIndex();
    FixAges();
    if (!Count()) return result_;
    if (options_.dry_run) {
      result_.deleted = *quota_;
      return result_;
    }
    if (!Delete()) return result_;
    if (options_.vacuum) Vacuum();
    return result_;
  }

 private:
  // Each statement ends by the server's timeouts, where there is a server.
  void ExpectAnswers() {
    connection_.set_timeout(options_.lock_timeout + options_.statement_timeout + kAnswerMax);
  }

  // Without it, every row would be compared with the whole table.
  void RequireIndex() {
    Result found = connection_.Query(
        "SELECT 1 FROM pg_catalog.pg_index WHERE indrelid = $1::regclass AND indisvalid AND "
        "indpred IS NULL AND pg_catalog.pg_get_indexdef(indexrelid, 1, true) = 'collection' AND "
        "pg_catalog.pg_get_indexdef(indexrelid, 2, true) = 'doc_id'",
        {table_});
    if (found.rows() > 0) return;
    throw Error("keep_last needs an index that finds the operations of a document", "55000",
                "syncflow-sidecar init --index document");
  }

  // Where something else holds the table, or the time is over, autovacuum will do it.
  void Vacuum() {
    milliseconds left{0};  // no limit
    if (options_.vacuum_until) {
      left = std::chrono::ceil<milliseconds>(*options_.vacuum_until - Clock::now());
      if (left.count() <= 0) return;
    }
    connection_.set_timeout(left.count() > 0 ? left + kAnswerMax : kVacuumMax);
    connection_.Execute("SET statement_timeout = " + std::to_string(left.count()));
    try {
      connection_.Execute("VACUUM (ANALYZE, SKIP_LOCKED) " + table_);
    } catch (const Error& error) {
      if (error.sqlstate() != "57014") throw;
    }
    ExpectAnswers();
    connection_.Execute("RESET statement_timeout");
  }

  // One look at the clock for the whole run.
  void FixAges() {
    Result clock =
        connection_.Query("SELECT (extract(epoch FROM clock_timestamp()) * 1000)::bigint");
    int64_t now = Number(clock, 0);
    auto cutoff = [now](const CompactAge& age) { return age ? now - age->count() : kLeast; };
    cutoff_ = result_.cutoff = cutoff(options_.older_than);
    TextArray names;
    TextArray cutoffs;
    for (const auto& [name, age] : options_.collections) {
      names.Add(name);
      cutoffs.Add(std::to_string(cutoff(age)));
      result_.cutoff = std::max(result_.cutoff, cutoff(age));
    }
    names_ = std::move(names).Take();
    cutoffs_ = std::move(cutoffs).Take();
  }

  // False when cancelled. What is too young is counted only as far as share_max asks for it.
  bool Count() {
    Window window(std::max(options_.batch_rows, kCountRows));
    Place place;
    int64_t total = 0;
    for (bool all = false; !all;) {
      Result counted = Step(window, CountSql(), place, kMost, {});
      total += Number(counted, 1);
      result_.eligible += Number(counted, 0);
      int64_t share = ShareOf(total);
      bool enough = HasFixedQuota() || share >= result_.eligible;
      all = place.at_end || (place.timestamp >= result_.cutoff && enough);
      if (all) quota_ = std::min(result_.eligible, share);
      if (!Go()) return false;
    }
    result_.limited = quota_ < result_.eligible;
    return true;
  }

  bool HasFixedQuota() const { return options_.share_max == 1 || options_.deleted_max; }

  int64_t ShareOf(int64_t total) const {
    if (options_.deleted_max) return *options_.deleted_max;
    if (options_.share_max == 1) return kMost;
    return static_cast<int64_t>(std::floor(static_cast<double>(total) * options_.share_max));
  }

  bool Delete() {
    Window window(options_.batch_rows);
    Place place;
    while (result_.deleted < quota_ && !place.at_end) {
      int64_t left = *quota_ - result_.deleted;
      Result gone = Step(window, DeleteSql(), place, result_.cutoff, std::to_string(left));
      result_.deleted += Number(gone, 0);
      if (!Go()) return false;
      bool more = result_.deleted < quota_ && !place.at_end;
      if (more && Number(gone, 0) > 0 && !Rest()) return false;
    }
    return true;
  }

  // False when cancelled meanwhile.
  bool Rest() {
    auto end = Clock::now() + options_.pause;
    for (auto now = Clock::now(); now < end; now = Clock::now()) {
      std::this_thread::sleep_for(std::min<Clock::duration>(end - now, kNap));
      if (!Go()) return false;
    }
    return true;
  }

  bool Go() {
    bool go = !options_.progress || options_.progress({result_.eligible, result_.deleted, quota_});
    result_.cancelled = !go;
    return go;
  }

  // ---- one transaction ----

  struct Place {
    int64_t timestamp = kLeast;
    std::string id;
    bool at_end = false;
  };

  // Its result: what the statement counted, the rows it looked at, timestamp and id of the last.
  Result Step(Window& window, const std::string& sql, Place& place, int64_t before,
              const std::optional<std::string>& quota) {
    for (int attempt = 1;; ++attempt) {
      auto began = Clock::now();
      int rows = window.rows();
      try {
        Result result = TryStep(sql, place, before, rows, quota);
        window.Took(Clock::now() - began);
        place.at_end = Number(result, 1) < rows;
        if (Number(result, 1) > 0) {
          place.timestamp = Number(result, 2);
          place.id = result.Get(0, 3);
        }
        return result;
      } catch (const Error& error) {
        if (!error.NeedsReconnect() && !connection_.idle()) connection_.Execute("ROLLBACK");
        bool in_the_way = error.sqlstate() == "55P03" || error.sqlstate() == "40P01";
        bool too_slow = error.sqlstate() == "57014";
        if ((!in_the_way && !too_slow) || attempt == kAttempts) throw;
        if (too_slow) window.Took(kSlow);
      }
      std::this_thread::sleep_for(options_.pause);
    }
  }

  // The settings lead to the index by timestamp, read just as far as the window goes, whatever the
  // statistics say or do not say about the table.
  Result TryStep(const std::string& sql, const Place& place, int64_t before, int rows,
                 const std::optional<std::string>& quota) {
    std::vector<std::optional<std::string>> parameters = {std::to_string(place.timestamp),
                                                          place.id,
                                                          std::to_string(before),
                                                          std::to_string(rows),
                                                          std::to_string(cutoff_),
                                                          names_,
                                                          cutoffs_,
                                                          options_.written_before,
                                                          std::to_string(options_.keep_last),
                                                          options_.table_oid};
    if (quota) parameters.push_back(quota);
    auto results = connection_.Pipeline(
        {{"BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE", {}},
         {"SELECT set_config('lock_timeout', $1, true), set_config('statement_timeout', $2, true), "
          "set_config('plan_cache_mode', 'force_custom_plan', true), "
          "set_config('enable_seqscan', 'off', true), set_config('enable_bitmapscan', 'off', "
          "true), "
          "set_config('enable_sort', 'off', true), set_config('jit', 'off', true)",
          {std::to_string(options_.lock_timeout.count()),
           std::to_string(options_.statement_timeout.count())}},
         {sql, parameters},
         {"COMMIT", {}}});
    return std::move(results[2]);
  }

  // $1, $2: behind this place; $3: before this timestamp; $4: so many rows.
  std::string Seen() const {
    return "WITH seen AS MATERIALIZED (SELECT o.place, o.timestamp, o.id, (" + Wanted() +
           ") AS wanted FROM (SELECT ctid AS place, xmin AS writer, tableoid AS relation, "
           "collection, doc_id, timestamp, id, received_at FROM ONLY " +
           table_ +
           " WHERE timestamp >= $1::bigint AND (timestamp, id) > ($1::bigint, $2::text) AND "
           "timestamp < $3::bigint ORDER BY timestamp, id LIMIT $4::bigint) o), "
           "last AS (SELECT timestamp, id FROM seen ORDER BY timestamp DESC, id DESC LIMIT 1)";
  }

  // $5: cutoff of collections that are not among $6 with theirs in $7; $8: written_before (half of
  // the 32-bit numbers are ahead of the present one, and a frozen row keeps its number: after 2^31
  // transactions it seems to be far ahead; one that was written a moment ago, just a little); $9:
  // keep_last; $10: table_oid. Each part that is not asked for is true. greatest() passes over
  // NULL.
  std::string Wanted() const {
    return "greatest(o.timestamp, extract(epoch FROM o.received_at) * 1000) < coalesce((SELECT "
           "own.cutoff FROM unnest($6::text[], $7::bigint[]) AS "
           "own (name, cutoff) WHERE own.name = o.collection), $5::bigint) AND "
           "($8::text IS NULL OR age(o.writer) < -1073741824 OR "
           "age(o.writer) > age($8::text::xid8::xid)) AND "
           "($10::text IS NULL OR o.relation = $10::text::oid) AND "
           "($9::bigint = 0 OR EXISTS (SELECT FROM ONLY " +
           table_ +
           " n WHERE n.collection = o.collection AND n.doc_id = o.doc_id AND (n.timestamp, n.id) > "
           "(o.timestamp, o.id) LIMIT 1 OFFSET greatest($9::bigint - 1, 0)))";
  }

  std::string CountSql() const {
    return Seen() +
           " SELECT count(*) FILTER (WHERE wanted), count(*), (SELECT timestamp FROM last), "
           "(SELECT id FROM last) FROM seen";
  }

  // $11: at most so many.
  std::string DeleteSql() const {
    return Seen() + ", gone AS (DELETE FROM ONLY " + table_ +
           " WHERE ctid = ANY (ARRAY (SELECT ctid FROM ONLY " + table_ +
           " WHERE ctid = ANY (ARRAY (SELECT place FROM seen WHERE wanted ORDER BY timestamp, id "
           "LIMIT $11::bigint)) FOR UPDATE SKIP LOCKED)) RETURNING 1) "
           "SELECT (SELECT count(*) FROM gone), count(*), (SELECT timestamp FROM last), "
           "(SELECT id FROM last) FROM seen";
  }

  Connection& connection_;
  std::string table_;
  const CompactOptions& options_;
  CompactResult result_;
  int64_t cutoff_ = 0;  // of collections without an age of their own
  std::string names_;   // of those that have one, and their cutoffs
  std::string cutoffs_;
  std::optional<int64_t> quota_;  // how many may be deleted, once they are counted
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
