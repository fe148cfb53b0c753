#include "sidecar/feed/session.h"

#include <netinet/tcp.h>
#include <poll.h>
#include <sys/socket.h>

#include <algorithm>
#include <asio/post.hpp>
#include <cerrno>
#include <random>
#include <utility>

#include "sidecar/feed/peer.h"
#include "sidecar/log/log.h"

namespace syncflow::feed {
namespace {

using std::chrono::seconds;

constexpr uint64_t kTurnBytes = 256 << 10;  // what one consumer takes before others have their turn
constexpr size_t kInputBytes = 16 << 10;
// Beyond these, nothing more is read from this client until what it asked for is answered.
constexpr size_t kControlMax = 16 << 10;
constexpr size_t kPingsMax = 64;
constexpr seconds kHelloMax{5};
constexpr seconds kPlainHeartbeat{30};
constexpr seconds kCloseMax{5};   // for a client that does not take its last line
constexpr seconds kLingerMax{1};  // between the last line and the end of the connection
constexpr std::string_view kNotReachedYet =
    "PostgreSQL has not been reached yet; this connection stays and the feed begins when it is";

int64_t MicrosecondsNow() {
  auto now = std::chrono::system_clock::now().time_since_epoch();
  return std::chrono::duration_cast<std::chrono::microseconds>(now).count();
}

}  // namespace

Session::Session(Hub& hub, asio::ip::tcp::socket socket)
    : hub_(hub), socket_(std::move(socket)), delivery_(hub) {}

void Session::Start(std::list<std::shared_ptr<Session>>::iterator self) {
  self_ = self;
  AwaitInput();
}

// ---- from the client ----

void Session::AwaitInput() {
  bool enough = control_.size() >= kControlMax || pings_.size() >= kPingsMax;
  if (reads_ || enough || input_ended_ || state_ == State::kClosed) return;
  reads_ = true;
  socket_.async_wait(asio::ip::tcp::socket::wait_read,
                     [self = shared_from_this()](std::error_code error) {
                       self->reads_ = false;
                       if (!error && self->state_ != State::kClosed) self->ReadInput();
                     });
}

void Session::ReadInput() {
  auto& scratch = hub_.scratch;
  ssize_t got = recv(socket_.native_handle(), scratch.data(), kInputBytes, MSG_DONTWAIT);
  if (got < 0 && errno != EAGAIN && errno != EINTR) return Close(ReasonOf(errno));
  if (got == 0) InputEnded();
  if (got > 0) TakeInput({scratch.data(), static_cast<size_t>(got)});
  Pump();
}

// No more commands; the stream goes on.
void Session::InputEnded() {
  input_ended_ = true;
  if (state_ == State::kLingering) return Close(close_reason_);
  if (!input_.empty() && !IsEnding()) TakeLine(std::exchange(input_, {}));
  if (state_ == State::kSilent || state_ == State::kHello) BeginPlain();
  AwaitReset();
}

// After the end of its input a client that vanishes would be noticed only by the next line.
void Session::AwaitReset() {
  if (state_ == State::kClosed) return;
  socket_.async_wait(asio::ip::tcp::socket::wait_error,
                     [self = shared_from_this()](std::error_code error) {
                       if (error || self->state_ == State::kClosed) return;
                       pollfd look{self->socket_.native_handle(), 0, 0};
                       if (poll(&look, 1, 0) == 0) return self->AwaitReset();
                       self->Close(self->IsEnding() ? self->close_reason_ : CloseReason::kReset);
                     });
}

void Session::TakeInput(std::string_view bytes) {
  if (state_ == State::kSilent) {
    state_ = State::kHello;
    deadline_ = Clock::now() + kHelloMax;
  }
  // At the end input is read all the same: closing with unread bytes would take the last line from
  // the client.
  while (!bytes.empty() && !IsEnding()) {
    size_t end = bytes.find('\n');
    size_t room = kClientLineMax + 1 - input_.size();
    input_.append(bytes.substr(0, std::min(end, room)));
    if (input_.size() > kClientLineMax) {
      return Take(Refusal{"line_too_long",
                          "a line may have 8192 bytes: send shorter ones, each ended by a line "
                          "feed"});
    }
    if (end == std::string_view::npos) return;
    bytes.remove_prefix(end + 1);
    TakeLine(std::exchange(input_, {}));
  }
}

void Session::TakeLine(std::string line) {
  if (line.ends_with('\r')) line.pop_back();
  if (line.empty()) return;
  std::visit([this](const auto& command) { Take(command); }, ParseCommand(line));
}

void Session::Take(const Hello& hello) {
  if (state_ == State::kStreaming || state_ == State::kSearching || state_ == State::kNaming) {
    next_ = std::make_unique<Hello>(hello);
    return;
  }
  plain_ = false;
  Begin(hello);
}

void Session::Take(const Ack& ack) {
  bool streams = state_ == State::kStreaming && ack.cursor.epoch == epoch_;
  if (!streams || ack.cursor.position > delivery_.begun())
    return RefuseAck("the ack is for what this connection was not sent: nothing has changed");
  if (name_.empty() && hello_.window == 0)
    return RefuseAck("nobody keeps this ack: give the hello a \"name\" or a \"window\"");
  delivery_.Acknowledge(ack.cursor.position);
  if (!name_.empty()) return hub_.journal.consumers().Acknowledge(name_, ack.cursor);
  ack_told_ = ack.cursor;
  acked_due_ = true;
}

void Session::RefuseAck(const std::string& message) {
  Take(Refusal{"bad_ack", message, false});
}

void Session::Take(const Ping& ping) {
  pings_.push_back(ping.id);
}

void Session::Take(const Refusal& refusal) {
  ErrorDetails details;
  details.fatal = refusal.fatal;
  if (refusal.fatal)
    return Refuse(refusal.code, refusal.message, details, CloseReason::kProtocolError);
  ++hub_.probe.errors;
  control_ += ErrorLine(refusal.code, refusal.message, details);
}

// ---- start ----

void Session::GraceOver() {
  if (state_ != State::kSilent) return;  // a line has begun in time
  if (hub_.tokens) {
    // There is nothing it could be given: its hello may take as long as one that has begun.
    state_ = State::kHello;
    deadline_ = Clock::now() + kHelloMax;
    return;
  }
  BeginPlain();
  Pump();
}

void Session::HelloMissing() {
  if (hub_.tokens && input_.empty()) return BeginPlain();
  Refuse("bad_hello",
         "no hello came within 5 seconds of the first byte: send one line that ends with a line "
         "feed, or nothing at all",
         {}, CloseReason::kTimeout);
}

void Session::BeginPlain() {
  plain_ = true;
  Hello hello;
  hello.heartbeat = kPlainHeartbeat;
  Begin(std::move(hello));
}

void Session::BeginNext() {
  plain_ = false;
  Begin(std::move(*std::exchange(next_, nullptr)));
}

void Session::Begin(Hello hello) {
  hello_ = std::move(hello);
  if (!Authorise()) return;
  TakeName(hello_.name);
  auto epoch = hub_.journal.epoch();
  if (!epoch) return AwaitHistory();
  epoch_ = *epoch;
  if (!name_.empty() && !hello_.says_from) {
    if (auto known = hub_.journal.consumers().Find(name_)) {
      hello_.from = From::kCursor;
      hello_.cursor = known->acknowledged;
    }
  }
  if (hello_.from == From::kEarliest) {
    journal::Earliest earliest = hub_.journal.earliest();
    return StreamFrom(earliest.offset, earliest.base);
  }
  journal::Head head = hub_.journal.head();
  if (hello_.from == From::kLatest) return StreamFrom(head.offset, head.position);
  if (hello_.cursor.epoch != epoch_) {
    return Refuse("epoch_changed",
                  "the cursor belongs to another history: start with \"from\":\"earliest\" or "
                  "\"latest\"",
                  Bounds(false), CloseReason::kProtocolError);
  }
  if (hello_.cursor.position == head.position) return StreamFrom(head.offset, head.position);
  Search();
}

// Decides what hello_ may read.
bool Session::Authorise() {
  std::string token = std::exchange(hello_.token, {});
  if (!hub_.tokens) return true;
  auto refuse = [this](const char* code, const char* message) {
    Refuse(code, message, {}, CloseReason::kNotAllowed);
    return false;
  };
  if (token.empty())
    return refuse("auth_required", "this feed wants a token: give the hello a \"token\"");
  rights_ = hub_.tokens->Find(token);
  if (!rights_) return refuse("auth_failed", "the token is not known here");
  if (!rights_->Allow(hello_.collections))
    return refuse("forbidden_collection",
                  "the token is not for all of these collections: without \"collections\" you get "
                  "those it is for");
  hello_.collections = rights_->Narrow(hello_.collections);
  return true;
}

void Session::AwaitHistory() {
  state_ = State::kUnbound;
  heartbeat_ = hello_.heartbeat.value_or(hub_.options.heartbeat);
  next_heartbeat_ = Clock::now() + heartbeat_;
  // Whatever the history will hold is newer than this moment.
  if (hello_.from == From::kLatest) hello_.from = From::kEarliest;
  if (!std::exchange(told_down_, true)) down_due_ = true;
}

// One search at a time: a hello that comes meanwhile waits in next_.
void Session::Search() {
  state_ = State::kSearching;
  asio::post(hub_.cold, [self = shared_from_this(), position = hello_.cursor.position] {
    std::variant<uint64_t, journal::Miss> found = journal::Miss::kLost;
    try {
      found = self->hub_.journal.Find(position);
    } catch (const journal::Error& error) {
      log::Error("feed", error.what());
    }
    asio::post(self->hub_.io, [self, found] {
      self->Found(found);
      self->Pump();
    });
  });
}

void Session::Found(std::variant<uint64_t, journal::Miss> found) {
  if (state_ != State::kSearching) return;
  if (next_) return BeginNext();
  if (auto* offset = std::get_if<uint64_t>(&found)) {
    return StreamFrom(*offset, hello_.cursor.position);
  }
  if (std::get<journal::Miss>(found) == journal::Miss::kAhead) {
    return Refuse("cursor_ahead",
                  "the cursor lies beyond the head: the sidecar is behind, try again later",
                  Bounds(true), CloseReason::kProtocolError);
  }
  if (!hello_.continue_after_gap) {
    return Refuse("history_lost",
                  "the journal no longer holds what follows the cursor: start with earliest, or "
                  "say \"on_gap\":\"continue\"",
                  Bounds(false), CloseReason::kHistoryLost);
  }
  journal::Earliest earliest = hub_.journal.earliest();
  gap_ = GapLine(hello_.cursor, CursorAt(earliest.base), "removed by retention");
  StreamFrom(earliest.offset, earliest.base);
}

void Session::StreamFrom(uint64_t offset, journal::Position position) {
  delivery_.Choose(hub_.filters.Get(hello_.collections), hello_.window);
  delivery_.Start(offset, position);
  bool stays = name_.empty() || (hello_.from == From::kCursor && !hello_.says_from);
  stays ? Greet() : KeepPosition();
}

void Session::Greet() {
  state_ = State::kStreaming;
  live_ = heartbeat_due_ = acked_due_ = false;
  if (!name_.empty()) {
    hub_.journal.consumers().Seen(name_, true, MicrosecondsNow());  // a new one is known from here
    ack_told_ = hub_.journal.consumers().Saved(name_);
  }
  heartbeat_ = hello_.heartbeat.value_or(hub_.options.heartbeat);
  next_heartbeat_ = Clock::now() + heartbeat_;
  control_ +=
      HelloLine({std::exchange(hello_.request, {}), hub_.options.server_name, epoch_,
                 delivery_.delivered(), hub_.journal.head().position, hub_.journal.earliest().base,
                 heartbeat_, hub_.options.line_bytes_max, hello_.collections, plain_});
  control_ += std::exchange(gap_, {});
  bool told = std::exchange(told_down_, false);
  down_due_ = !told && !hub_.upstream_down.empty();
}

// ---- durable consumers ----

// The newest connection has the name.
void Session::TakeName(const std::string& name) {
  if (name == name_) return;
  LeaveName();
  if (name.empty()) return;
  auto& holder = hub_.names[name];
  if (holder != nullptr) holder->Superseded();
  holder = this;
  name_ = name;
  hub_.journal.consumers().Seen(name_, true, MicrosecondsNow());
}

void Session::LeaveName() {
  if (name_.empty()) return;
  hub_.journal.consumers().Seen(name_, false, MicrosecondsNow());
  hub_.names.erase(std::exchange(name_, {}));
}

void Session::Superseded() {
  name_.clear();
  Refuse("superseded", "another connection has taken this name", {}, CloseReason::kSuperseded);
  // Its own turn: whoever visits all sessions now must not find this one gone.
  asio::post(hub_.io, [self = shared_from_this()] { self->Pump(); });
}

// Before the hello is answered: a consumer that was greeted is never forgotten.
void Session::KeepPosition() {
  bool has_room =
      hub_.journal.consumers().Move(name_, CursorAt(delivery_.delivered()), MicrosecondsNow());
  if (!has_room) {
    ErrorDetails details;
    return Refuse("too_many_names",
                  "10000 consumers have names already: remove those that are not used any more",
                  details, CloseReason::kProtocolError);
  }
  state_ = State::kNaming;
  asio::post(hub_.cold, [self = shared_from_this()] {
    std::string failure;
    try {
      self->hub_.journal.consumers().Save();
    } catch (const journal::Error& error) {
      log::Error("feed", error.what());
      failure = error.what();
    }
    asio::post(self->hub_.io, [self, failure] {
      self->PositionKept(failure);
      self->Pump();
    });
  });
}

void Session::PositionKept(const std::string& failure) {
  if (state_ != State::kNaming) return;
  if (next_) return BeginNext();
  if (failure.empty()) return Greet();
  ErrorDetails details;
  details.retry = true;
  Refuse("position_not_kept", "the position of this name cannot be written now: try again later",
         details, CloseReason::kProtocolError);
}

void Session::AcksSaved() {
  if (name_.empty() || state_ != State::kStreaming) return;
  auto saved = hub_.journal.consumers().Saved(name_);
  if (!saved || saved == ack_told_) return;
  ack_told_ = saved;
  acked_due_ = true;
  Pump();
}

// ---- to the client ----

void Session::Announced() {
  if (state_ == State::kUnbound) Begin(std::move(hello_));
  Pump();
}

void Session::UpstreamDown() {
  if (state_ == State::kStreaming) down_due_ = true;
  Pump();
}

// What was read in the middle of a line is finished; the next one is subject to the new rights.
void Session::Reauthorise() {
  if (!rights_) return;
  auto rights = hub_.tokens->Renew(*rights_);
  if (!rights) {
    Refuse("auth_failed", "the token is not known here any more", {}, CloseReason::kNotAllowed);
  } else if (rights->collections != rights_->collections) {
    bye_due_ = CloseReason::kRightsChanged;
  }
  Pump();
}

void Session::Bye() {
  bye_due_ = CloseReason::kShutdown;
  Pump();
}

void Session::Tick(Clock::time_point now) {
  if (state_ == State::kHello && now >= deadline_) HelloMissing();
  if (IsEnding() && now >= deadline_) return Close(close_reason_);
  if (!name_.empty()) hub_.journal.consumers().Seen(name_, true, MicrosecondsNow());
  bool beats = state_ == State::kStreaming || state_ == State::kUnbound;
  if (beats && now >= next_heartbeat_) {
    if (IsDead(socket_.native_handle())) return Close(CloseReason::kTimeout);
    next_heartbeat_ = now + heartbeat_;
    // There is no cursor yet that a heartbeat could name.
    (state_ == State::kUnbound ? down_due_ : heartbeat_due_) = true;
  }
  Pump();
}

void Session::Pump() {
  uint64_t budget = kTurnBytes;
  while (CanSend()) {
    if (delivery_.AtLineEnd() && !TurnPage()) break;
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

// At a line end: says what waits for one. True when changes may follow.
bool Session::TurnPage() {
  do {
    if (!SendControl()) return false;
  } while (Speak());
  return state_ == State::kStreaming;
}

// The next thing to say goes to control_; false when there is none.
bool Session::Speak() {
  if (state_ == State::kClosing) FinishClosing();
  if (IsEnding()) return false;
  if (bye_due_) {
    SayBye();
  } else if (next_ && state_ == State::kStreaming) {
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
    control_ += HeartbeatLine(CursorAt(delivery_.delivered()),
                              CursorAt(hub_.journal.head().position), MicrosecondsNow());
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
    ssize_t sent = send(socket_.native_handle(), control_.data(), control_.size(),
                        MSG_DONTWAIT | MSG_NOSIGNAL);
    if (sent < 0 && (errno == EAGAIN || errno == EINTR)) {
      AwaitOutput();
      return false;
    }
    if (sent < 0) {
      Close(ReasonOf(errno));
      return false;
    }
    ++hub_.probe.sends;
    hub_.probe.delivered_bytes += static_cast<uint64_t>(sent);
    control_.erase(0, static_cast<size_t>(sent));
  }
  control_.shrink_to_fit();  // an idle consumer holds no memory
  return true;
}

// False when nothing can follow now.
bool Session::Deliver(uint64_t& budget) {
  switch (delivery_.Send(socket_.native_handle(), budget)) {
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
      Refuse("history_lost",
             "the journal cannot be read here: tell the operator, and start with latest",
             Bounds(false), CloseReason::kHistoryLost);
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
  if (!hello_.continue_after_gap) {
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
  socket_.async_wait(asio::ip::tcp::socket::wait_write,
                     [self = shared_from_this()](std::error_code error) {
                       self->waits_for_socket_ = false;
                       if (!error) self->Pump();
                     });
}

void Session::AwaitDisk() {
  waits_for_disk_ = true;
  asio::post(hub_.cold, [self = shared_from_this(), offset = delivery_.offset()] {
    uint64_t end = Delivery::Warm(self->hub_.journal, offset);
    asio::post(self->hub_.io, [self, end] {
      self->waits_for_disk_ = false;
      self->delivery_.Warmed(end);
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

// ---- the end ----

void Session::TurnAway() {
  ErrorDetails details;
  details.retry = true;
  Refuse("too_many_connections", "feed.connections_max is reached: try again later", details,
         CloseReason::kTooManyConnections);
  Pump();
}

void Session::Refuse(const std::string& code, const std::string& message, ErrorDetails details,
                     CloseReason reason) {
  if (IsEnding()) return;
  ++hub_.probe.errors;
  control_ += ErrorLine(code, message, details);
  EndAfterControl(reason);
}

void Session::EndAfterControl(CloseReason reason) {
  state_ = State::kClosing;
  close_reason_ = reason;
  deadline_ = Clock::now() + kCloseMax;
  input_.clear();
  input_.shrink_to_fit();
}

// The last line is out: end the stream, give the client a moment to read it.
void Session::FinishClosing() {
  shutdown(socket_.native_handle(), SHUT_WR);
  state_ = State::kLingering;
  deadline_ = Clock::now() + kLingerMax;
  if (input_ended_) return Close(close_reason_);
  if (close_reason_ != CloseReason::kShutdown) return;
  // Nobody waits for a client at the end, but unread input would turn the bye into a reset.
  for (int i = 0; i < 16; ++i) {
    if (recv(socket_.native_handle(), hub_.scratch.data(), kInputBytes, MSG_DONTWAIT) <= 0) break;
  }
  Close(close_reason_);
}

void Session::Close(CloseReason reason) {
  if (state_ == State::kClosed) return;
  state_ = State::kClosed;
  LeaveName();
  ++hub_.probe.closed[static_cast<size_t>(reason)];
  --hub_.probe.consumers;
  log::Debug("feed", "a consumer is gone", {{"reason", NameOf(reason)}});
  std::error_code ignored;
  socket_.close(ignored);
  hub_.sessions.erase(self_);  // the caller holds another reference
  hub_.SessionEnded();
}

bool Session::IsEnding() const {
  return state_ == State::kClosing || state_ == State::kLingering || state_ == State::kClosed;
}

journal::Cursor Session::CursorAt(journal::Position position) const {
  return {epoch_, position};
}

std::optional<journal::Cursor> Session::Delivered() const {
  if (state_ != State::kStreaming) return std::nullopt;
  return CursorAt(delivery_.delivered());
}

ErrorDetails Session::Bounds(bool retry) const {
  ErrorDetails details;
  details.retry = retry;
  details.earliest = CursorAt(hub_.journal.earliest().base);
  details.head = CursorAt(hub_.journal.head().position);
  return details;
}

}  // namespace syncflow::feed
