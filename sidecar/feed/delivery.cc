#include "sidecar/feed/delivery.h"

#include <fcntl.h>
#include <sys/uio.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <utility>
#include <vector>

#include "sidecar/log/log.h"

namespace syncflow::feed {
namespace {

constexpr uint64_t kChunkBytes = 256 << 10;
constexpr uint64_t kReadAhead = 1 << 20;
// Of a longer line nothing is copied; its reader is disconnected should retention overtake it
// there.
constexpr size_t kRestMax = 32 << 10;

Delivery::Result Failed() {
  return errno == EAGAIN || errno == EINTR ? Delivery::Result::kFull : Delivery::Result::kGone;
}

std::string_view WhyUnreadable(ssize_t got) {
  return got == 0 ? "a journal segment is shorter than its index says: was it changed?"
                  : "a journal segment cannot be read: check the disk";
}

bool IsCached(int fd, uint64_t at) {
  char byte = 0;
  iovec piece{&byte, 1};
  return preadv2(fd, &piece, 1, static_cast<off_t>(at), RWF_NOWAIT) >= 0 || errno != EAGAIN;
}

// nullopt when the file is not what the index says; the log says so.
std::optional<std::string> ReadAll(const journal::Slice& slice) {
  std::string bytes(slice.length, '\0');
  for (size_t have = 0; have < bytes.size();) {
    ssize_t got = pread(slice.fd, bytes.data() + have, bytes.size() - have,
                        static_cast<off_t>(slice.file_offset + have));
    if (got < 0 && errno == EINTR) continue;
    if (got <= 0) {
      log::Error("feed", WhyUnreadable(got));
      return std::nullopt;
    }
    have += static_cast<size_t>(got);
  }
  return bytes;
}

void ReadThrough(const journal::Slice& slice) {
  std::vector<char> scratch(64 << 10);
  for (uint64_t at = 0; at < slice.length; at += scratch.size()) {
    ssize_t got =
        pread(slice.fd, scratch.data(), scratch.size(), static_cast<off_t>(slice.file_offset + at));
    if (got <= 0) return;
  }
}

}  // namespace

void Delivery::Choose(std::shared_ptr<const Filter> filter, uint32_t window) {
  filter_ = std::move(filter);
  if (!filter_ && window > 0) filter_ = hub_.filters.everything();
  window_ = window == 0 ? nullptr : std::make_unique<Window>(Window{window, {}});
}

void Delivery::Start(uint64_t offset, journal::Position position) {
  Pass(offset, position);
  warm_until_ = 0;
}

Delivery::Result Delivery::Send(Wire& wire, uint64_t& budget) {
  if (!rest_.empty()) return SendRest(wire, budget);
  try {
    if (filter_ && AtLineEnd()) return SendPage(wire, budget);
    if (auto view = hub_.journal.Tail(offset_, Wanted())) {
      if (view->bytes.empty()) return Result::kHead;
      return SendFromMemory(wire, view->bytes, budget);
    }
    auto found = hub_.journal.Read(offset_, Wanted());
    auto* slice = std::get_if<journal::Slice>(&found);
    return slice == nullptr ? Result::kLost : SendFromFile(wire, *slice, budget);
  } catch (const journal::Error& error) {
    log::Error("feed", error.what());
    return Result::kUnreadable;
  }
}

// What was begun is finished before anything is added to it.
uint64_t Delivery::Wanted() const {
  return AtLineEnd() ? kChunkBytes : chunk_end_ - offset_;
}

Delivery::Result Delivery::SendRest(Wire& wire, uint64_t& budget) {
  ssize_t sent = wire.Send(rest_);
  if (sent < 0) return Failed();
  rest_.erase(0, static_cast<size_t>(sent));
  if (rest_.empty()) rest_.shrink_to_fit();
  Advance(static_cast<size_t>(sent), budget);
  return Result::kSent;
}

Delivery::Result Delivery::SendFromMemory(Wire& wire, std::string_view bytes, uint64_t& budget) {
  bool begins = AtLineEnd();
  // The kernel copies, so nothing refers to the block afterwards.
  ssize_t result = wire.Send(bytes);
  if (result < 0) return Failed();
  auto sent = static_cast<size_t>(result);
  if (begins) Begin(bytes.size(), LastPosition(bytes, true).value_or(chunk_last_));
  Advance(sent, budget);
  if (sent < bytes.size()) CutShort(bytes, sent, begins);
  return Result::kSent;
}

Delivery::Result Delivery::SendFromFile(Wire& wire, const journal::Slice& slice, uint64_t& budget) {
  if (!IsWarm(slice)) return Result::kCold;
  bool begins = AtLineEnd();
  uint64_t length = begins ? slice.length : std::min(slice.length, Wanted());
  ssize_t result = wire.SendFile(slice.fd, slice.file_offset, length);
  if (result == 0 || (result < 0 && errno == EIO)) {
    log::Error("feed", WhyUnreadable(result));
    return Result::kUnreadable;
  }
  if (result < 0) return Failed();
  auto sent = static_cast<size_t>(result);
  hub_.probe.journal_bytes += sent;
  if (begins) Begin(length, slice.last);
  Advance(sent, budget);
  if (sent == length) return Result::kSent;
  auto& window = hub_.scratch;
  uint64_t from = sent - std::min(sent, window.size() / 2);
  ssize_t got = pread(slice.fd, window.data(), std::min(window.size(), length - from),
                      static_cast<off_t>(slice.file_offset + from));
  if (got > 0)
    CutShort({window.data(), static_cast<size_t>(got)}, sent - from, begins && from == 0);
  return Result::kSent;
}

// ---- through a filter ----

Delivery::Result Delivery::SendPage(Wire& wire, uint64_t& budget) {
  if (window_ && window_->IsFull())
    return offset_ == hub_.journal.head().offset ? Result::kHead : Result::kPaused;
  auto page = hub_.pages.Find(filter_.get(), offset_);
  if (!page) {
    auto made = MakePage(budget);
    if (auto* result = std::get_if<Result>(&made)) return *result;
    page = std::get<std::shared_ptr<const Page>>(made);
  }
  size_t first = page->LineAt(offset_);
  size_t end = page->lines.size();
  if (window_) end = std::min(end, first + window_->room());
  std::string_view bytes = page->bytes;
  bytes = bytes.substr(page->BeginOf(first), page->BeginOf(end) - page->BeginOf(first));
  size_t sent = 0;
  if (!bytes.empty()) {
    ssize_t result = wire.Send(bytes);
    if (result < 0) return Failed();
    sent = static_cast<size_t>(result);
    Count(sent, budget);
  }
  if (sent < bytes.size()) {
    PassPart(*page, first, page->BeginOf(first) + sent);
    return Result::kSent;
  }
  NoteSent(*page, first, end);
  if (end == page->lines.size()) {
    Pass(page->end, page->last);
  } else {
    Pass(page->lines[end - 1].offset_end, page->PositionOf(end - 1));
  }
  return Result::kSent;
}

// The line that holds the last byte sent, which is page.bytes[sent - 1], is finished from the
// journal, like any other.
void Delivery::PassPart(const Page& page, size_t first, size_t sent) {
  size_t line = first;
  while (page.lines[line].end < sent) ++line;
  NoteSent(page, first, line + 1);
  std::string_view rest(page.bytes);
  rest = rest.substr(sent, page.lines[line].end - sent);
  offset_ = page.lines[line].offset_end - rest.size();
  chunk_end_ = page.lines[line].offset_end;
  chunk_last_ = page.PositionOf(line);
  if (rest.size() <= kRestMax) rest_ = rest;
  if (AtLineEnd()) delivered_ = chunk_last_;
}

void Delivery::NoteSent(const Page& page, size_t first, size_t end) {
  if (!window_) return;
  for (size_t line = first; line < end; ++line)
    window_->unacknowledged.push_back(page.PositionOf(line));
}

void Delivery::Acknowledge(journal::Position position) {
  if (!window_) return;
  auto& waiting = window_->unacknowledged;
  while (!waiting.empty() && waiting.front() <= position) waiting.pop_front();
}

// Reading and choosing is work, which the budget pays for too.
std::variant<std::shared_ptr<const Page>, Delivery::Result> Delivery::MakePage(uint64_t& budget) {
  std::shared_ptr<const Page> page;
  if (auto view = hub_.journal.Tail(offset_, kChunkBytes)) {
    if (view->bytes.empty()) return Result::kHead;
    page = std::make_shared<Page>(*filter_, offset_, view->bytes);
  } else {
    auto found = hub_.journal.Read(offset_, kChunkBytes);
    auto* slice = std::get_if<journal::Slice>(&found);
    if (slice == nullptr) return Result::kLost;
    if (!IsWarm(*slice)) return Result::kCold;
    auto bytes = ReadAll(*slice);
    if (!bytes) return Result::kUnreadable;
    hub_.probe.journal_bytes += bytes->size();
    page = std::make_shared<Page>(*filter_, offset_, *bytes);
  }
  budget -= std::min(budget, page->end - page->begin);
  hub_.pages.Add(filter_, page);
  ++hub_.probe.pages;
  return page;
}

void Delivery::Pass(uint64_t end, journal::Position last) {
  offset_ = chunk_end_ = end;
  delivered_ = chunk_last_ = last;
}

void Delivery::Begin(uint64_t length, journal::Position last) {
  chunk_end_ = offset_ + length;
  chunk_last_ = last;
}

void Delivery::Advance(size_t sent, uint64_t& budget) {
  Count(sent, budget);
  offset_ += sent;
  if (AtLineEnd()) delivered_ = chunk_last_;
}

void Delivery::Count(size_t sent, uint64_t& budget) {
  ++hub_.probe.sends;
  hub_.probe.delivered_bytes += sent;
  budget -= std::min<uint64_t>(budget, sent);
}

void Delivery::CutShort(std::string_view window, size_t sent, bool begins_at_line) {
  size_t end = window.find('\n', sent - 1);
  if (end == std::string_view::npos) return;
  auto last = LastPosition(window.substr(0, end + 1), begins_at_line);
  if (!last) return;
  std::string_view rest = window.substr(sent, end + 1 - sent);
  chunk_end_ = offset_ + rest.size();
  chunk_last_ = *last;
  if (rest.size() <= kRestMax) rest_ = rest;
  if (AtLineEnd()) delivered_ = chunk_last_;
}

// ---- the disk ----

bool Delivery::IsWarm(const journal::Slice& slice) const {
  if (offset_ + slice.length <= warm_until_) return true;
  uint64_t last = slice.file_offset + slice.length - 1;
  if (!IsCached(slice.fd, slice.file_offset) || !IsCached(slice.fd, last)) return false;
  posix_fadvise(slice.fd, static_cast<off_t>(last), kReadAhead, POSIX_FADV_WILLNEED);
  return true;
}

uint64_t Delivery::Warm(const journal::Journal& journal, uint64_t offset) {
  try {
    auto found = journal.Read(offset, kChunkBytes);
    auto* slice = std::get_if<journal::Slice>(&found);
    if (slice == nullptr) return offset;
    ReadThrough(*slice);
    return offset + slice->length;
  } catch (const journal::Error&) {
    return offset;  // Send meets it again and reports it
  }
}

std::optional<journal::Position> LastPosition(std::string_view bytes, bool begins_at_line) {
  constexpr auto kNone = std::string_view::npos;
  size_t before = bytes.size() < 2 ? kNone : bytes.rfind('\n', bytes.size() - 2);
  if (before == kNone && !begins_at_line) return std::nullopt;
  auto cursor = journal::CursorOfLine(bytes.substr(before == kNone ? 0 : before + 1));
  if (!cursor) return std::nullopt;
  return cursor->position;
}

}  // namespace syncflow::feed
