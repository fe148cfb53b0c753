// What a consumer is told, and when: lines of the feed's own between changes, as far as its socket
// takes them.
#include <asio/post.hpp>
#include <cerrno>
#include <random>
#include <utility>

#include "sidecar/feed/peer.h"
#include "sidecar/feed/session.h"

namespace syncflow::feed {
namespace {

constexpr uint64_t kTurnBytes = 256 << 10;  // what one consumer takes before others have their turn
constexpr std::string_view kNotReachedYet =
    "PostgreSQL has not been reached yet; this connection stays and the feed begins when it is";

}  // namespace

// ---- what happens ----

void Session::Announced() {
  if (state_ == State::kUnbound) Locate();
  Pump();
}

void Session::UpstreamDown() {
  if (IsGreeted()) down_due_ = true;
  Pump();
}

// What was read in the middle of a line is finished; the next one is subject to the new rights.
void Session::Reauthorise() {
  if (!rights_) return;
  auto rights = hub_.tokens->Renew(*rights_);
  if (!rights) {
    Refuse("auth_failed", "the token is not known here any more", {}, CloseReason::kNotAllowed);
  } else if (rights->collections == rights_->collections && name_.empty()) {
    rights_ = rights;  // whatever it is called now
  } else if (*rights != *rights_) {
    bye_due_ = CloseReason::kRightsChanged;
  }
  Pump();
}

void Session::Bye() {
  if (state_ == State::kHandshake) return Close(CloseReason::kShutdown);
  bye_due_ = CloseReason::kShutdown;
  Pump();
}

void Session::Tick(Clock::time_point now) {
  if (state_ == State::kHandshake && now >= deadline_) return HandshakeOver();
  if (state_ == State::kHello && now >= deadline_) HelloMissing();
  if (IsEnding() && now >= deadline_) return Close(close_reason_);
  if (!name_.empty()) hub_.journal.consumers().Seen(name_, true, MicrosecondsNow());
  if (input_ended_ && IsReset()) return Close(IsEnding() ? close_reason_ : CloseReason::kReset);
  bool beats = IsGreeted() || state_ == State::kUnbound;
  if (beats && now >= next_heartbeat_) {
    if (IsDead(socket_.native_handle())) return Close(CloseReason::kTimeout);
    next_heartbeat_ = now + heartbeat_;
    // There is no cursor yet that a heartbeat could name.
    (state_ == State::kUnbound ? down_due_ : heartbeat_due_) = true;
  }
  Pump();
}

// ---- to the client ----

void Session::Pump() {
  uint64_t budget = kTurnBytes;
  while (CanSend()) {
    if (AtLineEnd() && !TurnPage()) break;
    if (waits_for_disk_) break;
    if (budget == 0) {
      AwaitTurn();
      break;
    }
    if (!Deliver(budget)) break;
  }
  AwaitInput();
}

bool Session::CanSend() const {
  return state_ != State::kClosed && !waits_for_socket_;
}

bool Session::AtLineEnd() const {
  return download_ ? download_->AtLineEnd() : delivery_.AtLineEnd();
}

// At a line end: says what waits for one. True when changes may follow.
bool Session::TurnPage() {
  do {
    if (!SendControl()) return false;
  } while (Speak());
  return state_ == State::kStreaming || state_ == State::kSnapshot;
}

// The next thing to say goes to control_; false when there is none.
bool Session::Speak() {
  if (state_ == State::kClosing) FinishClosing();
  if (IsEnding() || state_ == State::kHandshake) return false;
  if (bye_due_) {
    SayBye();
  } else if (next_ && (state_ == State::kStreaming || state_ == State::kSnapshot)) {
    BeginNext();
  } else if (!pings_.empty()) {
    for (const std::string& id : std::exchange(pings_, {})) control_ += PongLine(id, Delivered());
  } else if (std::exchange(down_due_, false)) {
    bool unbound = state_ == State::kUnbound && hub_.upstream_down.empty();
    std::string_view why = unbound ? kNotReachedYet : hub_.upstream_down;
    if (why.empty()) return true;  // it is back already
    ++hub_.probe.errors;
    control_ += ErrorLine("upstream_down", why, {false, true, {}, {}});
  } else if (std::exchange(acked_due_, false)) {
    control_ += AckedLine(*ack_told_);
  } else if (std::exchange(heartbeat_due_, false)) {
    control_ +=
        HeartbeatLine(Delivered(), CursorAt(hub_.journal.head().position), MicrosecondsNow());
  }
  return !control_.empty();
}

void Session::SayBye() {
  std::uniform_int_distribution<int> retry_ms(500, 2500);
  control_ += ByeLine(NameOf(*bye_due_), Delivered(), retry_ms(hub_.random));
  EndAfterControl(*bye_due_);
}

bool Session::SendControl() {
  while (!control_.empty()) {
    ssize_t sent = wire_.Send(control_);
    if (sent < 0) return Stuck();
    ++hub_.probe.sends;
    hub_.probe.delivered_bytes += static_cast<uint64_t>(sent);
    control_.erase(0, static_cast<size_t>(sent));
  }
  control_.shrink_to_fit();  // an idle consumer holds no memory
  return wire_.Flush() == 0 || Stuck();
}

// The socket takes nothing now, or nothing any more. Always false.
bool Session::Stuck() {
  if (errno == EAGAIN || errno == EINTR) {
    AwaitOutput();
  } else {
    Close(ReasonOf(errno));
  }
  return false;
}

// False when nothing can follow now.
bool Session::Deliver(uint64_t& budget) {
  if (download_) return DeliverDocuments(budget);
  switch (delivery_.Send(wire_, budget)) {
    case Delivery::Result::kSent:
      return true;
    case Delivery::Result::kHead:
      if (live_) return false;
      GoLive();
      return true;
    case Delivery::Result::kFull:
      AwaitOutput();
      return false;
    case Delivery::Result::kPaused:
      return false;
    case Delivery::Result::kCold:
      AwaitDisk();
      return false;
    case Delivery::Result::kLost:
      Overtaken();
      return true;
    case Delivery::Result::kUnreadable:
      if (!delivery_.AtLineEnd()) Close(CloseReason::kHistoryLost);
      Unreadable();
      return true;
    case Delivery::Result::kGone:
      Close(ReasonOf(errno));
      return false;
  }
  return false;
}

void Session::GoLive() {
  live_ = true;
  control_ += LiveLine(CursorAt(delivery_.delivered()));
}

// Retention has overtaken this consumer.
void Session::Overtaken() {
  // Inside a line there is nothing valid left to say; the next hello will be told.
  if (!delivery_.AtLineEnd()) return Close(CloseReason::kHistoryLost);
  if (!continue_after_gap_) {
    return Refuse("history_lost",
                  "this consumer fell behind what the journal keeps: start with earliest, or say "
                  "\"on_gap\":\"continue\"",
                  Bounds(false), CloseReason::kHistoryLost);
  }
  journal::Earliest earliest = hub_.journal.earliest();
  control_ += GapLine(CursorAt(delivery_.delivered()), CursorAt(earliest.base),
                      "removed by retention before it was read");
  delivery_.Start(earliest.offset, earliest.base);
}

void Session::AwaitOutput() {
  waits_for_socket_ = true;
  socket_.async_wait(Socket::wait_write, [self = shared_from_this()](std::error_code error) {
    self->waits_for_socket_ = false;
    if (!error) self->Pump();
  });
}

void Session::AwaitDisk() {
  waits_for_disk_ = true;
  auto warm = [this]() -> std::function<uint64_t()> {
    if (download_) return download_->Warm();
    return [&journal = hub_.journal, offset = delivery_.offset()] {
      return Delivery::Warm(journal, offset);
    };
  };
  uint64_t begin = download_ ? download_->offset() : delivery_.offset();
  asio::post(hub_.cold, [self = shared_from_this(), warm = warm(), begin] {
    uint64_t end = warm();
    asio::post(self->hub_.io, [self, begin, end] {
      self->waits_for_disk_ = false;
      self->download_ ? self->download_->Warmed(begin, end) : self->delivery_.Warmed(begin, end);
      self->Pump();
    });
  });
}

// Others first.
void Session::AwaitTurn() {
  if (std::exchange(waits_for_turn_, true)) return;
  asio::post(hub_.io, [self = shared_from_this()] {
    self->waits_for_turn_ = false;
    self->Pump();
  });
}

// ---- the documents ----

// False when nothing can follow now.
bool Session::DeliverDocuments(uint64_t& budget) {
  const Spool& spool = download_->spool();
  Spool::Progress progress = spool.progress();
  if (!told_begin_ && !progress.failed) {
    if (!progress.as_of) return false;
    told_begin_ = true;
    control_ += SnapshotBeginLine(spool.id(), CursorAt(*progress.as_of), hello_->collections);
    return true;
  }
  size_t sent = 0;
  Download::Result result = download_->Send(wire_, budget, sent);
  if (sent > 0) ++hub_.probe.sends;
  hub_.probe.delivered_bytes += sent;
  switch (result) {
    case Download::Result::kSent:
      return true;
    case Download::Result::kEnded:
      return DocumentsDelivered();
    case Download::Result::kWaits:
      return false;
    case Download::Result::kFull:
      AwaitOutput();
      return false;
    case Download::Result::kCold:
      AwaitDisk();
      return false;
    case Download::Result::kFailed:
      // Inside a line there is nothing valid left to say.
      if (!AtLineEnd()) Close(CloseReason::kSnapshotFailed);
      SnapshotFailed();
      return true;
    case Download::Result::kGone:
      Close(ReasonOf(errno));
      return false;
  }
  return false;
}

// The end is told once the journal has everything up to it: before, a failover could still take
// some of it back. False when nothing can follow now.
bool Session::DocumentsDelivered() {
  journal::Position as_of = *download_->spool().progress().as_of;
  auto place = PlaceBehindTheLastLine(as_of);
  if (place) {
    FollowSnapshot(*place, as_of);
    return true;
  }
  if (hub_.journal.head().position > as_of) {
    hello_->cursor = CursorAt(as_of);
    Search();
  }
  return false;
}

void Session::FollowSnapshot(uint64_t offset, journal::Position position) {
  const Spool& spool = download_->spool();
  control_ += SnapshotEndLine(spool.id(), CursorAt(*spool.progress().as_of),
                              spool.Count(download_->filter()));
  control_ += std::exchange(gap_, {});
  download_.reset();
  hello_.reset();
  state_ = State::kStreaming;
  delivery_.Start(offset, position);
}

}  // namespace syncflow::feed
