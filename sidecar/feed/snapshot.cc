#include "sidecar/feed/snapshot.h"

#include <fcntl.h>
#include <sys/eventfd.h>
#include <sys/uio.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <random>
#include <stdexcept>
#include <utility>

#include "adapter/operation.h"
#include "sidecar/log/log.h"

namespace syncflow::feed {
namespace {

using std::chrono::minutes;
using std::chrono::seconds;

constexpr size_t kBatchBytes = 256 << 10;
constexpr size_t kPieceBytes = 64 << 10;
constexpr seconds kYoung{60};        // so long, whoever comes gets the same snapshot
constexpr minutes kForgotten{5};     // so long, a connection that broke can be resumed
constexpr seconds kFailurePause{1};  // so long, nobody tries again
constexpr size_t kKeptMax = 2;       // copies of the table on the disk

std::string NewId() {
  char text[16];
  std::snprintf(text, sizeof text, "s-%08x", std::random_device{}());
  return text;
}

// Nobody finds it by a name, so nothing has to be cleared away.
journal::File OpenNameless(const std::filesystem::path& folder) {
  std::filesystem::path path = folder / "snapshot.tmp";
  std::filesystem::remove(path);
  journal::File file = journal::File::Open(path);
  std::filesystem::remove(path);
  return file;
}

void AppendText(std::string& out, const char* key, std::string_view text) {
  out += key;
  adapter::AppendJsonString(out, text);
}

std::string LineOf(const Document& document, const std::string& snapshot, uint64_t number) {
  std::string line = "{\"type\":\"document\",\"snapshot\":\"" + snapshot +
                     "\",\"number\":" + std::to_string(number);
  AppendText(line, ",\"document\":{\"collection\":", document.collection);
  AppendText(line, ",\"id\":", document.id);
  line += ",\"data\":";
  line += document.data;
  line += ",\"rev\":" + std::to_string(document.rev);
  line += document.deleted ? ",\"deleted\":true" : ",\"deleted\":false";
  line += ",\"vectorClock\":";
  line += document.vector_clock;
  return line + ",\"updatedAt\":" + std::to_string(document.updated_at) + "}}\n";
}

// The collection of a document's line as JSON text; nullopt when `line` ends before it does.
std::optional<std::string_view> CollectionOfDocument(std::string_view line) {
  constexpr std::string_view kBefore = ",\"document\":{\"collection\":";
  size_t begin = line.find(kBefore);
  if (begin == line.npos) return std::nullopt;
  begin += kBefore.size();
  size_t end = EndOfJsonString(line, begin);
  if (end >= line.size()) return std::nullopt;
  return line.substr(begin, end - begin);
}

}  // namespace

// ---- the spool ----

Spool::Spool(std::filesystem::path folder, uint64_t line_bytes_max, std::function<void()> announce)
    : id_(NewId()),
      folder_(std::move(folder)),
      line_bytes_max_(line_bytes_max),
      announce_(std::move(announce)) {}

void Spool::Begin(replication::Lsn lsn) {
  file_ = OpenNameless(folder_);
  bytes_max_ = std::filesystem::space(folder_).available / 2;
  std::lock_guard lock(mutex_);
  progress_.as_of = journal::Position::Before(lsn);
}

void Spool::Add(const Document& document) {
  std::string line = LineOf(document, id_, number_);
  batch_ += line.size() <= line_bytes_max_ ? line : Shortened(document);
  ++number_;
  ++counts_of_batch_.try_emplace(std::string(document.collection)).first->second;
  if (batch_.size() >= kBatchBytes) Write();
}

// The largest field goes first, until the line fits; without all four every line does.
std::string Spool::Shortened(Document document) const {
  struct Field {
    const char* name;
    std::string_view* text;
    const char* blank;
    size_t bytes;
  };
  Field fields[] = {{"data", &document.data, "null", document.data.size()},
                    {"vectorClock", &document.vector_clock, "{}", document.vector_clock.size()},
                    {"id", &document.id, "", document.id.size()},
                    {"collection", &document.collection, "", document.collection.size()}};
  std::ranges::stable_sort(fields, std::ranges::greater(), &Field::bytes);
  std::string omitted;
  std::string line;
  for (Field& field : fields) {
    if (!omitted.empty()) omitted += ',';
    omitted += '"' + std::string(field.name) + "\":" + std::to_string(field.bytes);
    *field.text = field.blank;
    line = LineOf(document, id_, number_);
    line.insert(line.size() - 2, ",\"omitted\":{" + omitted + "}");
    if (line.size() <= line_bytes_max_) break;
  }
  return line;
}

void Spool::Write() {
  uint64_t begin = progress().bytes;
  if (begin + batch_.size() > bytes_max_)
    throw std::runtime_error(
        "they need more than half of the space that is free in journal.directory: give it more");
  file_.WriteAt(begin, batch_);
  {
    std::lock_guard lock(mutex_);
    progress_.bytes = begin + batch_.size();
    for (const auto& [collection, count] : counts_of_batch_) counts_[collection] += count;
    places_.push_back({progress_.bytes, number_});
  }
  batch_.clear();
  counts_of_batch_.clear();
  announce_();
}

void Spool::End() {
  if (!batch_.empty()) Write();
  {
    std::lock_guard lock(mutex_);
    progress_.ended = true;
  }
  announce_();
}

void Spool::Fail() {
  {
    std::lock_guard lock(mutex_);
    progress_.failed = true;
  }
  if (file_.fd() >= 0) [[maybe_unused]]
    int ignored = ftruncate(file_.fd(), 0);
  announce_();
}

Spool::Progress Spool::progress() const {
  std::lock_guard lock(mutex_);
  return progress_;
}

uint64_t Spool::Count(const Filter* filter) const {
  std::lock_guard lock(mutex_);
  uint64_t all = 0;
  for (const auto& [collection, count] : counts_) {
    if (filter == nullptr || filter->Wants(collection)) all += count;
  }
  return all;
}

Spool::Place Spool::Near(uint64_t number) const {
  std::lock_guard lock(mutex_);
  auto after = std::ranges::upper_bound(places_, number, {}, &Place::number);
  return after == places_.begin() ? Place{} : *std::prev(after);
}

// ---- who has it ----

Snapshots::Snapshots(ReadDocuments read, const journal::Journal& journal, uint64_t line_bytes_max,
                     std::function<void()> announce,
                     std::function<void(std::function<void()>)> later)
    : read_(std::move(read)),
      journal_(journal),
      line_bytes_max_(line_bytes_max),
      announce_(std::move(announce)),
      later_(std::move(later)),
      stop_fd_(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)) {}

Snapshots::~Snapshots() {
  Stop();
  close(stop_fd_);
}

void Snapshots::Stop() {
  eventfd_write(stop_fd_, 1);
  if (reader_.joinable()) reader_.join();
}

std::shared_ptr<const Spool> Snapshots::Join(const std::string& id) {
  const Kept* chosen = Choose(id);
  if (chosen == nullptr) {
    MakeRoom();
    Start();
    chosen = &kept_.back();
  }
  kept_[static_cast<size_t>(chosen - kept_.data())].used = Clock::now();
  return chosen->spool;
}

// nullptr when a new one is needed. One that is being read is used by everybody: there is never
// more than one reader.
const Snapshots::Kept* Snapshots::Choose(const std::string& id) const {
  for (const Kept& kept : kept_) {
    if (kept.spool->id() == id && IsUsable(*kept.spool)) return &kept;
  }
  if (kept_.empty()) return nullptr;
  const Kept& newest = kept_.back();
  auto age = Clock::now() - newest.begun;
  if (newest.spool->progress().failed) return age < kFailurePause ? &newest : nullptr;
  if (!newest.spool->progress().ended) return &newest;
  if (!IsUsable(*newest.spool)) return nullptr;
  bool full = kept_.size() == kKeptMax && kept_.front().InUse();
  return age < kYoung || full ? &newest : nullptr;
}

bool Snapshots::IsUsable(const Spool& spool) const {
  Spool::Progress progress = spool.progress();
  if (progress.failed) return false;
  return !progress.as_of ||
         *progress.as_of >= journal_.earliest().base;  // else what follows is gone
}

// Who still reads what the journal no longer continues would be told so at its end.
void Snapshots::MakeRoom() {
  for (size_t i = kept_.size(); i-- > 0;) {
    if (!IsUsable(*kept_[i].spool)) {
      kept_[i].spool->Fail();
      Forget(i);
    }
  }
  if (kept_.size() == kKeptMax) Forget(0);
}

// Giving back the space of a large file takes a while.
void Snapshots::Forget(size_t index) {
  later_([spool = std::move(kept_[index].spool)]() mutable { spool.reset(); });
  kept_.erase(kept_.begin() + static_cast<ptrdiff_t>(index));
}

void Snapshots::Start() {
  if (reader_.joinable()) reader_.join();  // it has ended
  auto spool = std::make_shared<Spool>(journal_.directory(), line_bytes_max_, announce_);
  reader_ = std::thread([this, spool] {
    try {
      read_(*spool, stop_fd_);
      spool->End();
      log::Info("feed", "a snapshot of the documents is ready",
                {{"snapshot", spool->id()}, {"documents", spool->Count(nullptr)}});
    } catch (const std::exception& error) {
      log::Error("feed",
                 std::string("the documents could not be read for a snapshot: ") + error.what());
      spool->Fail();
    }
  });
  kept_.push_back({spool, Clock::now(), Clock::now()});
}

void Snapshots::Tick() {
  auto now = Clock::now();
  for (size_t i = kept_.size(); i-- > 0;) {
    if (kept_[i].InUse()) kept_[i].used = now;
    if (now - kept_[i].used > kForgotten) Forget(i);
  }
}

// ---- the way through it ----

Download::Download(std::shared_ptr<const Spool> spool, std::shared_ptr<const Filter> filter,
                   uint64_t number)
    : spool_(std::move(spool)), filter_(std::move(filter)), first_(number) {
  Spool::Place place = spool_->Near(number);
  offset_ = place.offset;
  number_ = place.number;
}

Download::Result Download::Send(Wire& wire, uint64_t& budget, size_t& sent) {
  sent = 0;
  if (piece_.empty()) {
    if (auto result = Fill(budget)) return *result;
    if (piece_.empty()) return Result::kSent;  // nothing of it passes
  }
  ssize_t got = wire.Send(piece_);
  if (got < 0) return errno == EAGAIN || errno == EINTR ? Result::kFull : Result::kGone;
  sent = static_cast<size_t>(got);
  piece_.erase(0, sent);
  if (piece_.empty()) piece_.shrink_to_fit();
  return Result::kSent;
}

// Takes what is next in the file to piece_; the result when there is nothing.
std::optional<Download::Result> Download::Fill(uint64_t& budget) {
  Spool::Progress progress = spool_->progress();
  if (progress.failed) return Result::kFailed;
  if (offset_ == progress.bytes) return progress.ended ? Result::kEnded : Result::kWaits;
  std::string bytes(std::min<uint64_t>(kPieceBytes, progress.bytes - offset_), '\0');
  bool warm = offset_ + bytes.size() <= warm_until_;
  iovec part{bytes.data(), bytes.size()};
  auto at = static_cast<off_t>(offset_);
  ssize_t got = preadv2(spool_->fd(), &part, 1, at, warm ? 0 : RWF_NOWAIT);
  if (got < 0 && errno == EOPNOTSUPP) got = preadv2(spool_->fd(), &part, 1, at, 0);
  // The end of what is cached may lie in the middle of a name that the filter has to see.
  bool cold = got < 0 ? errno == EAGAIN : static_cast<size_t>(got) < bytes.size();
  if (cold && !warm) return Result::kCold;
  if (cold || got <= 0) return Result::kFailed;
  // Whole lines, where there are: what must be said between them need not wait.
  if (size_t end = bytes.rfind('\n'); end != bytes.npos) bytes.resize(end + 1);
  offset_ += bytes.size();
  budget -= std::min<uint64_t>(budget, bytes.size());
  Choose(bytes);
  return std::nullopt;
}

void Download::Choose(std::string_view bytes) {
  while (!bytes.empty()) {
    size_t end = bytes.find('\n');
    std::string_view line = bytes.substr(0, end == bytes.npos ? end : end + 1);
    bytes.remove_prefix(line.size());
    if (!in_line_) {
      // A name that does not fit a piece is longer than any that can be asked for.
      auto collection = CollectionOfDocument(line);
      passes_ = number_ >= first_ &&
                (filter_ == nullptr || (collection && filter_->WantsJson(*collection)));
    }
    if (passes_) piece_ += line;
    in_line_ = end == line.npos;
    if (!in_line_) ++number_;
  }
}

std::function<uint64_t()> Download::Warm() const {
  return [spool = spool_, offset = offset_] {
    std::string bytes(kPieceBytes, '\0');
    ssize_t got = pread(spool->fd(), bytes.data(), bytes.size(), static_cast<off_t>(offset));
    return offset + static_cast<uint64_t>(std::max<ssize_t>(got, 0));
  };
}

}  // namespace syncflow::feed
