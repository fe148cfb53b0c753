#include "sidecar/feed/delivery.h"

#include <fcntl.h>
#include <sys/sendfile.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
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

bool IsCached(int fd, uint64_t at) {
  char byte = 0;
  iovec piece{&byte, 1};
  return preadv2(fd, &piece, 1, static_cast<off_t>(at), RWF_NOWAIT) >= 0 || errno != EAGAIN;
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

void Delivery::Start(uint64_t offset, journal::Position position) {
  offset_ = chunk_end_ = offset;
  delivered_ = chunk_last_ = position;
  warm_until_ = 0;
}

Delivery::Result Delivery::Send(int socket, uint64_t& budget) {
  if (!rest_.empty()) return SendRest(socket, budget);
  try {
    if (auto view = hub_.journal.Tail(offset_, Wanted())) {
      if (view->bytes.empty()) return Result::kHead;
      return SendFromMemory(socket, view->bytes, budget);
    }
    auto found = hub_.journal.Read(offset_, Wanted());
    auto* slice = std::get_if<journal::Slice>(&found);
    return slice == nullptr ? Result::kLost : SendFromFile(socket, *slice, budget);
  } catch (const journal::Error& error) {
    log::Error("feed", error.what());
    return Result::kUnreadable;
  }
}

// What was begun is finished before anything is added to it.
uint64_t Delivery::Wanted() const {
  return AtLineEnd() ? kChunkBytes : chunk_end_ - offset_;
}

Delivery::Result Delivery::SendRest(int socket, uint64_t& budget) {
  ssize_t sent = send(socket, rest_.data(), rest_.size(), MSG_DONTWAIT | MSG_NOSIGNAL);
  if (sent < 0) return Failed();
  rest_.erase(0, static_cast<size_t>(sent));
  if (rest_.empty()) rest_.shrink_to_fit();
  Advance(static_cast<size_t>(sent), budget);
  return Result::kSent;
}

Delivery::Result Delivery::SendFromMemory(int socket, std::string_view bytes, uint64_t& budget) {
  bool begins = AtLineEnd();
  // The kernel copies, so nothing refers to the block afterwards.
  ssize_t result = send(socket, bytes.data(), bytes.size(), MSG_DONTWAIT | MSG_NOSIGNAL);
  if (result < 0) return Failed();
  auto sent = static_cast<size_t>(result);
  if (begins) Begin(bytes.size(), LastPosition(bytes, true).value_or(chunk_last_));
  Advance(sent, budget);
  if (sent < bytes.size()) CutShort(bytes, sent, begins);
  return Result::kSent;
}

Delivery::Result Delivery::SendFromFile(int socket, const journal::Slice& slice, uint64_t& budget) {
  if (!IsWarm(slice)) return Result::kCold;
  bool begins = AtLineEnd();
  uint64_t length = begins ? slice.length : std::min(slice.length, Wanted());
  auto at = static_cast<off_t>(slice.file_offset);
  ssize_t result = sendfile(socket, slice.fd, &at, length);
  if (result == 0 || (result < 0 && errno == EIO)) {
    log::Error("feed", result == 0
                           ? "a journal segment is shorter than its index says: was it changed?"
                           : "a journal segment cannot be read: check the disk");
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

void Delivery::Begin(uint64_t length, journal::Position last) {
  chunk_end_ = offset_ + length;
  chunk_last_ = last;
}

void Delivery::Advance(size_t sent, uint64_t& budget) {
  ++hub_.probe.sends;
  hub_.probe.delivered_bytes += sent;
  offset_ += sent;
  budget -= std::min<uint64_t>(budget, sent);
  if (AtLineEnd()) delivered_ = chunk_last_;
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
