#include "sidecar/journal/journal.h"

#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <condition_variable>
#include <cstdio>
#include <cstdlib>
#include <deque>
#include <mutex>
#include <thread>
#include <utility>

#include "sidecar/journal/folder.h"
#include "sidecar/journal/meta.h"
#include "sidecar/journal/recovery.h"
#include "sidecar/journal/segment.h"
#include "sidecar/journal/tail.h"
#include "sidecar/now.h"

namespace syncflow::journal {
namespace {

using SteadyClock = std::chrono::steady_clock;

constexpr size_t kBatchBytes = 64 << 10;
constexpr int64_t kSegmentAgeMax = 3600ll * 1'000'000;  // microseconds

void Assert(bool holds, const char* promise) {
  if (holds) return;
  std::fprintf(stderr, "journal: broken promise: %s\n", promise);
  std::abort();
}

// When something that may take long was begun, for others to see.
class OnItsWay {
 public:
  class Scope {
   public:
    explicit Scope(OnItsWay& what) : what_(what) {
      what_.began_ = SteadyClock::now().time_since_epoch().count();
    }
    ~Scope() { what_.began_ = 0; }
    Scope(const Scope&) = delete;
    Scope& operator=(const Scope&) = delete;

   private:
    OnItsWay& what_;
  };

  SteadyClock::duration since() const {
    SteadyClock::duration began(began_.load());
    if (began.count() == 0) return SteadyClock::duration::zero();
    return SteadyClock::now().time_since_epoch() - began;
  }

 private:
  std::atomic<SteadyClock::rep> began_{0};
};

}  // namespace

struct Journal::State {
  explicit State(Options given)
      : options(std::move(given)),
        lock(options.directory, options.allow_any_filesystem),
        consumers(options.directory) {}

  // ---- ingest thread ----
  void Append(Position position, std::string_view line);
  void FlushBatch(replication::Lsn safe);
  void Write(std::string_view batch, const Entry& entry);
  void Mark(replication::Lsn safe);
  void Rotate();
  bool RotationIsDue() const;
  void Publish(uint64_t written, replication::Lsn safe);
  void OpenHistory(const Meta& found);
  void Change(const Meta& changed);

  // ---- sync thread ----
  void RunSync();
  void SyncOnce(std::unique_lock<std::mutex>& held);
  void Retain();
  std::shared_ptr<Segment> Expendable() const;
  bool IsPinned(uint64_t total) const;
  void Fail(const char* reason);

  // ---- any thread ----
  std::shared_ptr<Segment> SegmentOf(uint64_t offset) const;
  std::shared_ptr<Segment> SegmentOf(Position position) const;

  const Options options;
  const FolderLock lock;
  Consumers consumers;
  std::function<void()> announce;  // set before the threads that use it start to

  // Ingest thread only.
  std::shared_ptr<Segment> active;  // the last of segments
  Position appended;
  Position batch_first;
  uint32_t batch_lines = 0;

  OnItsWay writing;
  OnItsWay syncing;

  mutable std::mutex mutex;
  // Under mutex.
  std::optional<Meta> meta;
  std::unique_ptr<TailBlocks> tail;               // from OpenHistory on
  std::deque<std::shared_ptr<Segment>> segments;  // the last one is written to
  Head head;
  Head announced;  // what readers see of it
  bool held_back = false;
  uint64_t durable_offset = 0;  // up to here everything is on disk
  replication::Lsn recorded;
  replication::Lsn durable;
  std::deque<std::shared_ptr<Segment>> unsealed;  // complete, not yet durable; in order
  bool folder_dirty = false;
  uint64_t dirty_bytes = 0;
  bool dirty = false;
  bool sync_soon = false;
  bool stopping = false;
  std::optional<std::string> failure;
  Probe probe;

  std::condition_variable wake;
  std::thread sync_thread;
};

// ---- opening ----

Journal::Journal(Options options) : state_(std::make_unique<State>(std::move(options))) {
  const auto& folder = state_->options.directory;
  SetLostHistoryAside(folder);
  if (auto meta = LoadMeta(folder)) {
    auto began = std::chrono::steady_clock::now();
    state_->OpenHistory(*meta);
    auto took = std::chrono::steady_clock::now() - began;
    state_->probe.recovery_nanoseconds = static_cast<uint64_t>(took.count());
  } else {
    RefuseSegmentsWithoutMeta(folder);
  }
  state_->sync_thread = std::thread([state = state_.get()] { state->RunSync(); });
}

Journal::~Journal() {
  {
    std::lock_guard held(state_->mutex);
    state_->stopping = true;
  }
  state_->wake.notify_all();
  state_->sync_thread.join();
}

void Journal::State::OpenHistory(const Meta& found) {
  Recovered recovered = Recover(options.directory, found.epoch());
  Position base = Position::Before(found.start);
  bool fresh = recovered.segments.empty();
  if (fresh) {
    recovered.segments.push_back(std::make_shared<Segment>(
        options.directory, Cursor{found.epoch(), base}, 0, SegmentContent{.last = base}));
    recovered.last = base;
    SyncFolder(options.directory);
  }
  auto new_tail =
      std::make_unique<TailBlocks>(options.tail_bytes, recovered.segments.back()->end());
  std::unique_lock held(mutex);
  tail = std::move(new_tail);
  segments = std::move(recovered.segments);
  active = segments.back();
  appended = recovered.last;
  head = announced = {segments.back()->end(), recovered.last};
  durable_offset = head.offset;
  recorded = std::max(found.start, recovered.safe);
  durable = recorded;
  probe.recovered_cut_bytes = recovered.cut_bytes;
  meta = found;
  unsealed = std::move(recovered.unsealed);
  dirty = !unsealed.empty();  // the sync thread seals them
  held.unlock();
  wake.notify_all();
  Retain();
}

Consumers& Journal::consumers() const {
  return state_->consumers;
}

const std::filesystem::path& Journal::directory() const {
  return state_->options.directory;
}

std::optional<Identity> Journal::identity() const {
  std::lock_guard held(state_->mutex);
  if (!state_->meta) return std::nullopt;
  return state_->meta->identity;
}

Epoch Journal::Bind(const Identity& identity, replication::Lsn start, const std::string& sentence) {
  auto epoch_now = epoch();
  if (!epoch_now) {
    const auto& folder = state_->options.directory;
    auto loss = LoadLoss(folder);
    Meta meta{identity, std::max(identity.timeline, loss ? loss->generation : 0), start, ""};
    if (!sentence.empty()) SaveLoss(folder, {sentence, meta.generation});
    SaveMeta(folder, meta);
    state_->OpenHistory(meta);
    return meta.epoch();
  }
  if (auto difference = DifferenceOf(*state_->meta, identity)) {
    throw Error(Error::Kind::kForeign,
                "the journal in " + state_->options.directory.string() + " is " + *difference +
                    ": choose another journal.directory, or move its content away if that "
                    "history is not needed");
  }
  return *epoch_now;
}

void Journal::FollowTimeline(uint32_t timeline) {
  Meta meta = *state_->meta;
  meta.identity.timeline = timeline;
  state_->Change(meta);
}

void Journal::NoteTable(const std::string& version) {
  Meta meta = *state_->meta;
  meta.table_version = version;
  state_->Change(meta);
}

std::string Journal::table_version() const {
  std::lock_guard held(state_->mutex);
  return state_->meta ? state_->meta->table_version : "";
}

void Journal::State::Change(const Meta& changed) {
  SaveMeta(options.directory, changed);
  std::lock_guard held(mutex);
  meta = changed;
}

std::optional<Epoch> Journal::epoch() const {
  std::lock_guard held(state_->mutex);
  if (!state_->meta) return std::nullopt;
  return state_->meta->epoch();
}

void Journal::MarkLost(const std::string& sentence) {
  SaveLoss(state_->options.directory, {sentence, state_->meta->generation + 1});
}

std::optional<std::string> Journal::lost() const {
  auto loss = LoadLoss(state_->options.directory);
  if (!loss) return std::nullopt;
  return loss->sentence;
}

void Journal::LossTold() {
  std::filesystem::remove(state_->options.directory / kLossName);
}

void Journal::OnAnnounce(std::function<void()> announce) {
  state_->announce = std::move(announce);
}

// ---- appending ----

Position Journal::appended() const {
  return state_->appended;
}

void Journal::Append(Position position, std::string_view line) {
  state_->Append(position, line);
}

void Journal::State::Append(Position position, std::string_view line) {
  Assert(active != nullptr, "bound before the first line");
  Assert(position > appended, "positions rise");
  // A batch lies in one block, so that it can be written from there.
  if (batch_lines > 0 && !tail->Fits(line.size())) FlushBatch(recorded);
  tail->Append(line);
  if (batch_lines == 0) batch_first = position;
  ++batch_lines;
  appended = position;
  if (tail->batch().size() >= kBatchBytes) FlushBatch(recorded);
}

void Journal::Flush(replication::Lsn safe) {
  Assert(state_->active != nullptr, "bound before the first flush");
  Assert(safe >= state_->recorded, "the safe position never falls");
  if (state_->batch_lines > 0) {
    state_->FlushBatch(safe);
  } else if (safe > state_->recorded) {
    state_->Mark(safe);
  }
}

void Journal::State::FlushBatch(replication::Lsn safe) {
  std::string_view batch = tail->batch();
  Entry entry;
  entry.lines = batch_lines;
  entry.first = batch_first;
  entry.last = appended;
  entry.safe = safe;
  Write(batch, entry);
  Publish(batch.size(), safe);
  tail->EndBatch();
  batch_lines = 0;
  if (announce) announce();
}

void Journal::State::Mark(replication::Lsn safe) {
  Entry entry;
  entry.kind = EntryKind::kMark;
  entry.first = entry.last = appended;
  entry.safe = safe;
  Write({}, entry);
  Publish(0, safe);
}

void Journal::State::Write(std::string_view batch, const Entry& entry) {
  OnItsWay::Scope scope(writing);
  try {
    if (!batch.empty() && RotationIsDue()) Rotate();
    active->Write(batch, entry);
  } catch (const Error&) {
    std::lock_guard held(mutex);
    ++probe.write_errors;
    throw;
  }
}

bool Journal::State::RotationIsDue() const {
  if (active->bytes() == 0) return false;
  bool old = MicrosecondsNow() - active->oldest() >= kSegmentAgeMax;
  return old || active->bytes() >= options.segment_bytes;
}

void Journal::State::Rotate() {
  Cursor base{meta->epoch(), head.position};
  auto next = std::make_shared<Segment>(options.directory, base, head.offset,
                                        SegmentContent{.last = head.position});
  // The recorded position must survive the older segments.
  Entry entry;
  entry.kind = EntryKind::kMark;
  entry.first = entry.last = head.position;
  entry.safe = recorded;
  next->Write({}, entry);
  std::lock_guard held(mutex);
  unsealed.push_back(active);
  active = next;
  segments.push_back(std::move(next));
  folder_dirty = true;
}

void Journal::State::Publish(uint64_t written, replication::Lsn safe) {
  std::lock_guard held(mutex);
  head.offset += written;
  head.position = appended;
  if (!held_back) announced = head;
  recorded = safe;
  probe.appended_lines += written == 0 ? 0 : batch_lines;
  probe.appended_bytes += written;
  dirty_bytes += written;
  bool wake_now = !dirty || dirty_bytes >= options.sync_bytes;
  dirty = true;
  if (wake_now) wake.notify_all();
}

void Journal::SyncSoon() {
  std::lock_guard held(state_->mutex);
  state_->sync_soon = true;
  state_->wake.notify_all();
}

void Journal::HoldBack() {
  std::lock_guard held(state_->mutex);
  state_->held_back = true;
}

void Journal::Release() {
  {
    std::lock_guard held(state_->mutex);
    state_->held_back = false;
    state_->announced = state_->head;
  }
  if (state_->announce) state_->announce();
}

bool Journal::all_durable() const {
  std::lock_guard held(state_->mutex);
  return state_->durable_offset == state_->head.offset && state_->durable == state_->recorded;
}

replication::Lsn Journal::durable() const {
  std::lock_guard held(state_->mutex);
  return state_->durable;
}

replication::Lsn Journal::recorded() const {
  std::lock_guard held(state_->mutex);
  return state_->recorded;
}

SteadyClock::duration Journal::stall() const {
  return std::max(state_->writing.since(), state_->syncing.since());
}

std::optional<std::string> Journal::sync_failure() const {
  std::lock_guard held(state_->mutex);
  return state_->failure;
}

// ---- syncing ----

void Journal::State::RunSync() {
  std::unique_lock held(mutex);
  while (!failure) {
    wake.wait(held, [this] { return dirty || stopping; });
    if (!dirty) return;
    wake.wait_for(held, options.sync_interval,
                  [this] { return sync_soon || stopping || dirty_bytes >= options.sync_bytes; });
    SyncOnce(held);
  }
}

void Journal::State::SyncOnce(std::unique_lock<std::mutex>& held) {
  auto complete = std::exchange(unsealed, {});
  std::shared_ptr<Segment> newest = segments.back();
  replication::Lsn target = recorded;
  uint64_t target_offset = head.offset;
  bool folder = std::exchange(folder_dirty, false);
  dirty = sync_soon = false;
  dirty_bytes = 0;
  held.unlock();
  auto began = SteadyClock::now();
  uint64_t took = 0;
  OnItsWay::Scope scope(syncing);
  try {
    // Names first, then older before newer: what is durable must always be a beginning.
    if (folder) SyncFolder(options.directory);
    std::erase_if(complete, [](const auto& segment) {
      segment->Sync();
      return segment->Seal();
    });
    newest->Sync();
    took = static_cast<uint64_t>((SteadyClock::now() - began).count());
    Retain();
  } catch (const std::exception& error) {
    return Fail(error.what());
  }
  held.lock();
  unsealed.insert(unsealed.begin(), complete.begin(), complete.end());
  Assert(target >= durable && target <= recorded, "durable rises up to what was recorded");
  durable = target;
  durable_offset = target_offset;
  ++probe.syncs;
  probe.sync_nanoseconds += took;
  probe.last_sync_nanoseconds = took;
  probe.sync_latencies.Observe(std::chrono::nanoseconds(took));
}

void Journal::State::Fail(const char* reason) {
  std::lock_guard held(mutex);
  ++probe.write_errors;
  failure = std::string(reason) +
            "; nothing is confirmed any more, PostgreSQL keeps what was not: check the disk, "
            "then start again";
}

// Removes the oldest segments, one after another; those that read them keep the open files.
void Journal::State::Retain() {
  while (auto oldest = Expendable()) {
    // Where the folder does not let it, none after it may go either: that would be a hole.
    if (!Segment::Remove(options.directory, oldest->base_cursor())) return;
    std::lock_guard held(mutex);
    segments.pop_front();
  }
}

// The oldest segment when it is too much or too old, complete and durable; otherwise nullptr.
std::shared_ptr<Segment> Journal::State::Expendable() const {
  std::lock_guard held(mutex);
  const auto& oldest = segments.front();
  if (segments.size() == 1 || (!unsealed.empty() && oldest == unsealed.front())) return nullptr;
  uint64_t total = 0;
  for (const auto& segment : segments) total += segment->size_on_disk();
  int64_t age = MicrosecondsNow() - oldest->newest();
  bool expendable =
      total > options.retain_bytes || age > std::chrono::microseconds(options.retain_age).count();
  return expendable && !IsPinned(total) ? oldest : nullptr;
}

// Under mutex: a named consumer still needs the oldest segment, and the journal may be so large.
bool Journal::State::IsPinned(uint64_t total) const {
  if (total > options.pin_bytes) return false;
  auto slowest = consumers.Slowest(meta->epoch(), options.pin_age, MicrosecondsNow());
  return slowest && *slowest < segments[1]->base();
}

// ---- reading ----

Head Journal::head() const {
  std::lock_guard held(state_->mutex);
  return state_->announced;
}

Earliest Journal::earliest() const {
  std::lock_guard held(state_->mutex);
  if (state_->segments.empty()) return {};
  const Segment& oldest = *state_->segments.front();
  return {oldest.start(), oldest.base()};
}

std::shared_ptr<Segment> Journal::State::SegmentOf(uint64_t offset) const {
  std::lock_guard held(mutex);
  auto after =
      std::upper_bound(segments.begin(), segments.end(), offset,
                       [](uint64_t at, const auto& segment) { return at < segment->start(); });
  return after == segments.begin() ? nullptr : *std::prev(after);
}

std::shared_ptr<Segment> Journal::State::SegmentOf(Position position) const {
  std::lock_guard held(mutex);
  auto after = std::upper_bound(
      segments.begin(), segments.end(), position,
      [](const Position& at, const auto& segment) { return at < segment->base(); });
  return after == segments.begin() ? nullptr : *std::prev(after);
}

std::variant<uint64_t, Miss> Journal::Find(Position position) const {
  if (position > head().position) return Miss::kAhead;
  std::shared_ptr<Segment> segment = state_->SegmentOf(position);
  if (!segment) return Miss::kLost;
  return segment->start() + segment->Find(position);
}

std::optional<View> Journal::Tail(uint64_t offset, uint64_t max_bytes) const {
  std::unique_lock held(state_->mutex);
  uint64_t end = state_->announced.offset;
  const TailBlocks* tail = state_->tail.get();
  held.unlock();
  return tail == nullptr ? View{} : tail->Look(offset, end, max_bytes);
}

std::variant<Slice, Miss> Journal::Read(uint64_t offset, uint64_t max_bytes) const {
  uint64_t announced = head().offset;
  if (offset >= announced) return Miss::kAhead;
  std::shared_ptr<Segment> segment = state_->SegmentOf(offset);
  if (!segment) return Miss::kLost;
  uint64_t start = segment->start();
  return segment->Read(segment, offset - start, announced - start, max_bytes);
}

Probe Journal::probe() const {
  std::error_code unknown;
  auto available = std::filesystem::space(state_->options.directory, unknown);
  if (unknown) available = {0, 0, 0};
  std::lock_guard held(state_->mutex);
  Probe probe = state_->probe;
  probe.segments = state_->segments.size();
  probe.size_bytes = 0;
  for (const auto& segment : state_->segments) probe.size_bytes += segment->size_on_disk();
  if (probe.segments > 0) {
    probe.oldest += std::chrono::microseconds(state_->segments.front()->oldest());
  }
  probe.retain_bytes = state_->options.retain_bytes;
  probe.pin_bytes = state_->options.pin_bytes;
  probe.volume_available_bytes = available.available;
  probe.volume_bytes = available.capacity;
  return probe;
}

std::optional<std::string> CopyLines(const Journal& journal, uint64_t offset, uint64_t max_bytes) {
  if (offset == journal.head().offset) return "";
  if (auto view = journal.Tail(offset, max_bytes)) return std::string(view->bytes);
  auto found = journal.Read(offset, max_bytes);
  if (std::holds_alternative<Miss>(found)) return std::nullopt;
  const Slice& slice = std::get<Slice>(found);
  std::string lines(slice.length, '\0');
  ssize_t got = pread(slice.fd, lines.data(), lines.size(), static_cast<off_t>(slice.file_offset));
  if (got != static_cast<ssize_t>(lines.size()))
    throw Error(Error::Kind::kIo, "a journal segment cannot be read: check the disk");
  return lines;
}

}  // namespace syncflow::journal
