#include "adapter/change_listener.h"

#include <poll.h>

#include <algorithm>
#include <random>

#include "adapter/rows.h"
#include "adapter/text_array.h"

namespace syncflow::adapter {
namespace {

using std::chrono::milliseconds;

constexpr std::chrono::seconds kMarkEvery{2};
constexpr std::chrono::hours kTableTimeout{1};  // after a gap the whole table is read
constexpr size_t kFetchMax = 500;
constexpr size_t kRememberedMax = 8;
constexpr const char* kSnapshot =
    "SELECT pg_snapshot_xmin(pg_current_snapshot()), pg_snapshot_xmax(pg_current_snapshot())";

std::string RandomName() {
  constexpr char kHex[] = "0123456789abcdef";
  std::random_device random;
  std::string name = "syncflow_listener_";
  for (int i = 0; i < 16; ++i) name += kHex[random() & 15];
  return name;
}

ListenerOptions OptionsOf(const ChangeListenerOptions& options, const std::string& marker_channel) {
  ListenerOptions listener;
  listener.connect = options.connect;
  listener.channel = options.channel;
  listener.second_channel = marker_channel;
  listener.backoff_min = options.backoff_min;
  listener.backoff_max = options.backoff_max;
  return listener;
}

uint64_t Number(const Result& result, int column) {
  return std::stoull(std::string(result.Get(0, column)));
}

// A callback has thrown; apart from all that the listener itself catches.
struct Ended {};

}  // namespace

template <typename Callback, typename... Arguments>
void ChangeListener::Tell(const Callback& callback, const Arguments&... arguments) {
  if (!callback) return;
  try {
    callback(arguments...);
  } catch (...) {
    thrown_ = std::current_exception();
    Stop();
    throw Ended();
  }
}

template <typename Action>
void ChangeListener::Guarded(const Action& action) {
  try {
    if (!thrown_) action();
  } catch (const Ended&) {
  }
}

ChangeListener::ChangeListener(ChangeListenerOptions options)
    : options_(std::move(options)),
      marker_channel_(RandomName()),
      listener_(OptionsOf(options_, marker_channel_)),
      backoff_(options_.backoff_min, options_.backoff_max),
      remembered_(1) {
  options_.connect.stop_fd = listener_.stop_fd();
}

ChangeListener::~ChangeListener() = default;

void ChangeListener::Run(const ChangeEvents& events) {
  events_ = events;
  Listener::Events heard;
  heard.notice = [this](const OperationNotice& notice) {
    if (Remember(notice.id)) (in_gap_ ? since_gap_ : pending_).push_back(notice.id);
  };
  heard.second = [this](std::string_view marker) { Arrived(marker); };
  heard.gap_begin = [this](const Error& error) {
    next_base_.reset();
    in_gap_ = true;
    Guarded([&] { Tell(events_.trouble, error); });
  };
  heard.gap_end = [this](milliseconds away) { away_ = away_.value_or(milliseconds(0)) + away; };
  heard.tick = [this] { Guarded([this] { Work(); }); };
  listener_.Run(heard);
  if (thrown_) std::rethrow_exception(thrown_);
}

// LISTEN is in force for the first time. What is visible is none of ours; it is remembered where a
// transaction as young as one still in progress wrote it.
void ChangeListener::Begin() {
  Found found = Find(std::nullopt);
  for (const std::string& id : found.ids) Remember(id);
  base_ = found.snapshot;
  EndGap();
  begun_ = true;
  Tell(events_.listening);
}

void ChangeListener::Work() {
  if (Clock::now() < retry_at_) return;
  try {
    if (away_ && !begun_) Begin();
    if (away_) CatchUp();
    while (!pending_.empty()) HandOver();
    MoveOn();
    if (failing_) backoff_.Reset();
    failing_ = false;
  } catch (const Error& error) {
    Failed(error);
  }
}

// LISTEN is in force again: what is committed from now on is announced; what was before is found,
// and stands before what has been heard since.
void ChangeListener::CatchUp() {
  Found found = Find(base_.xmin);
  ChangeGap gap;
  gap.away = *away_;
  gap.complete = found.snapshot.xmax >= base_.xmax;
  if (!gap.complete) found.ids.clear();
  std::unordered_set<std::string> heard_only(since_gap_.begin(), since_gap_.end());
  for (const std::string& id : found.ids) {
    bool is_new = Remember(id);
    if (is_new) ++gap.recovered;
    if (is_new || heard_only.erase(id) > 0) pending_.push_back(id);
  }
  std::erase_if(since_gap_, [&](const std::string& id) { return !heard_only.contains(id); });
  base_ = found.snapshot;
  EndGap();
  Tell(events_.gap, gap);
}

// What has been heard since it began follows.
void ChangeListener::EndGap() {
  CloseRemembered(base_.xmax);
  pending_.insert(pending_.end(), since_gap_.begin(), since_gap_.end());
  since_gap_.clear();
  in_gap_ = false;
  away_.reset();
}

void ChangeListener::HandOver() {
  TextArray ids;
  size_t wanted = std::min(pending_.size(), kFetchMax);
  for (size_t i = 0; i < wanted; ++i) ids.Add(pending_[i]);
  std::string schema = Worker().QuoteIdentifier(options_.schema);
  Result result =
      Worker().Query(std::string("SELECT ") + kOperationColumns +
                         " FROM unnest($1::text[]) WITH ORDINALITY AS wanted(wanted_id, n) JOIN " +
                         schema + ".operations ON id = wanted_id ORDER BY n",
                     {std::move(ids).Take()});
  for (int row = 0; row < result.rows(); ++row) HandOver(result, row, schema);
  pending_.erase(pending_.begin(), pending_.begin() + static_cast<ptrdiff_t>(wanted));
}

void ChangeListener::HandOver(const Result& result, int row, const std::string& schema) {
  std::optional<Operation> operation;
  try {
    operation = ReadOperation(result, row, schema);
  } catch (const Error& error) {
    return Tell(events_.trouble, error);
  }
  Tell(events_.change, *operation);
}

// Sends a marker behind everything that is visible now.
void ChangeListener::MoveOn() {
  bool heard = !remembered_.back().ids.empty() || remembered_.size() > 1;
  if (!heard || Clock::now() - marked_ < kMarkEvery) return;
  Result now = Worker().Execute(kSnapshot);
  next_base_ = Snapshot{Number(now, 0), Number(now, 1)};
  CloseRemembered(next_base_->xmax);
  Worker().Query("SELECT pg_catalog.pg_notify($1, $2)",
                 {marker_channel_, std::to_string(++marker_)});
  marked_ = Clock::now();
}

void ChangeListener::Arrived(std::string_view marker) {
  if (!next_base_ || marker != std::to_string(marker_)) return;
  base_ = *next_base_;
  next_base_.reset();
  while (remembered_.size() > 1 && remembered_.front().below <= base_.xmin) remembered_.pop_front();
}

void ChangeListener::Failed(const Error& error) {
  if (Stopped()) return;
  worker_.reset();
  retry_at_ = Clock::now() + backoff_.Next();
  bool first = !failing_;
  failing_ = true;
  if (first) Tell(events_.trouble, error);
}

// The operations that transactions from `since` on wrote; nullopt = from the oldest in progress on.
// A row has the lower 32 bits of its transaction's number; subtransactions have numbers of their
// own, after their parent's, so a parent in progress covers them.
ChangeListener::Found ChangeListener::Find(std::optional<uint64_t> since) {
  std::string table = Worker().QuoteIdentifier(options_.schema) + ".operations";
  auto results = Worker().Pipeline(
      {{"BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY", {}},
       {kSnapshot, {}},
       {"WITH s AS MATERIALIZED (SELECT coalesce($1::bigint, "
        "pg_snapshot_xmin(pg_current_snapshot())::text::bigint) AS since, "
        "pg_snapshot_xmax(pg_current_snapshot())::text::bigint AS next), o AS (SELECT id, "
        "received_at, s.since, s.next - ((s.next - xmin::text::bigint) & 4294967295) AS writer "
        "FROM s, " +
            table +
            " WHERE s.since < s.next) SELECT id FROM o WHERE writer >= since ORDER BY "
            "received_at, id",
        {since ? std::optional(std::to_string(*since)) : std::nullopt}},
       {"COMMIT", {}}});
  Found found;
  found.snapshot = {Number(results[1], 0), Number(results[1], 1)};
  for (int row = 0; row < results[2].rows(); ++row) found.ids.emplace_back(results[2].Get(row, 0));
  return found;
}

// False when it is remembered already.
bool ChangeListener::Remember(const std::string& id) {
  for (const Ids& ids : remembered_) {
    if (ids.ids.contains(id)) return false;
  }
  return remembered_.back().ids.insert(id).second;
}

void ChangeListener::CloseRemembered(uint64_t below) {
  if (remembered_.back().ids.empty()) return;
  remembered_.back().below = below;
  if (remembered_.size() > kRememberedMax) {  // a long transaction: look-ups stay cheap
    remembered_[1].ids.merge(remembered_[0].ids);
    remembered_.pop_front();
  }
  remembered_.emplace_back();
}

bool ChangeListener::Stopped() const {
  pollfd stop{listener_.stop_fd(), POLLIN, 0};
  return poll(&stop, 1, 0) > 0;
}

Connection& ChangeListener::Worker() {
  if (worker_) return *worker_;
  worker_ = std::make_unique<Connection>(options_.connect);
  worker_->set_timeout(kTableTimeout);
  return *worker_;
}

}  // namespace syncflow::adapter
