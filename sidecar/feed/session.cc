// Who comes, what it says, and how it ends.
#include "sidecar/feed/session.h"

#include <poll.h>
#include <sys/socket.h>

#include <algorithm>
#include <cerrno>
#include <utility>

#include "sidecar/feed/peer.h"
#include "sidecar/log/log.h"

namespace syncflow::feed {
namespace {

using std::chrono::seconds;

constexpr size_t kInputBytes = 16 << 10;  // a whole record of TLS
// Beyond these, nothing more is read from this client until what it asked for is answered.
constexpr size_t kControlMax = 16 << 10;
constexpr size_t kPingsMax = 64;
constexpr seconds kHelloMax{5};
constexpr seconds kPlainHeartbeat{30};
constexpr seconds kCloseMax{5};   // for a client that does not take its last line
constexpr seconds kLingerMax{1};  // between the last line and the end of the connection
constexpr seconds kWarningInterval{10};
constexpr char kTlsHandshake = 0x16;  // how TLS begins; no line of text does

}  // namespace

Session::Session(Hub& hub, Socket socket)
    : hub_(hub), socket_(std::move(socket)), wire_(socket_.native_handle()), delivery_(hub) {}

void Session::Start(std::list<std::shared_ptr<Session>>::iterator self, bool turn_away) {
  self_ = self;
  turn_away_ = turn_away;
  if (!hub_.tls) return Opened();
  wire_.Secure(*hub_.tls);
  state_ = State::kHandshake;
  deadline_ = Clock::now() + kHelloMax;
  AwaitInput();
}

// Bytes can travel.
void Session::Opened() {
  if (turn_away_) return TurnAway();
  state_ = State::kSilent;
  hub_.await_hello(shared_from_this());
  AwaitInput();
}

// ---- the handshake of TLS ----

void Session::Shake() {
  char first = 0;
  ssize_t got = recv(socket_.native_handle(), &first, 1, MSG_PEEK | MSG_DONTWAIT);
  if (got == 0) return Close(CloseReason::kPeerClosed);
  if (got > 0 && !std::exchange(spoke_, true) && first != kTlsHandshake) return RefusePlain();
  switch (wire_.Shake()) {
    case Wire::Shaken::kDone:
      Opened();
      break;
    case Wire::Shaken::kWaits:
      break;
    case Wire::Shaken::kFailed:
      return HandshakeFailed();
  }
  Pump();
}

// Whoever does not know that this feed speaks TLS can read the answer.
void Session::RefusePlain() {
  wire_.Unsecure();
  Refuse("tls_required",
         "this feed speaks TLS: connect with it (openssl s_client does, for a look)", {},
         CloseReason::kHandshakeFailed);
  Pump();
}

void Session::HandshakeFailed() {
  wire_.Flush();  // the other end is told why,
  Drain();        // and nothing unread turns that into a reset
  auto now = Clock::now();
  if (now >= hub_.next_handshake_warning) {
    hub_.next_handshake_warning = now + kWarningInterval;
    log::Warning("feed", "a consumer's TLS handshake failed: " + wire_.shake_failure());
  }
  Close(CloseReason::kHandshakeFailed);
}

void Session::HandshakeOver() {
  if (!spoke_) return RefusePlain();
  Close(CloseReason::kTimeout);
}

// ---- from the client ----

void Session::AwaitInput() {
  bool enough = control_.size() >= kControlMax || pings_.size() >= kPingsMax || wire_.HasUnsent();
  if (reads_ || enough || input_ended_ || state_ == State::kClosed) return;
  reads_ = true;
  socket_.async_wait(Socket::wait_read, [self = shared_from_this()](std::error_code error) {
    self->reads_ = false;
    if (!error && self->state_ != State::kClosed) self->ReadInput();
  });
}

void Session::ReadInput() {
  if (state_ == State::kHandshake) return Shake();
  auto& scratch = hub_.scratch;
  ssize_t got = wire_.Receive({scratch.data(), kInputBytes});
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
  bool busy = state_ == State::kSearching || state_ == State::kNaming;
  if (busy || state_ == State::kStreaming || state_ == State::kSnapshot) {
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
  if (name_.empty() && !delivery_.has_window())
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

// ---- a client that has not said its hello ----

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
  wire_.EndSending();
  state_ = State::kLingering;
  deadline_ = Clock::now() + kLingerMax;
  if (input_ended_) return Close(close_reason_);
  if (close_reason_ != CloseReason::kShutdown) return;
  Drain();  // nobody waits for a client at the end, but unread input would turn the bye into a
            // reset
  Close(close_reason_);
}

void Session::Drain() {
  for (int i = 0; i < 16; ++i) {
    if (recv(wire_.socket(), hub_.scratch.data(), kInputBytes, MSG_DONTWAIT) <= 0) return;
  }
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

// Without its input, a client that vanishes would be noticed only by the next line.
bool Session::IsReset() const {
  pollfd look{wire_.socket(), 0, 0};
  return poll(&look, 1, 0) > 0;
}

// It is told what happens.
bool Session::IsGreeted() const {
  return state_ == State::kStreaming || state_ == State::kSnapshot ||
         (state_ == State::kSearching && download_);
}

bool Session::IsEnding() const {
  return state_ == State::kClosing || state_ == State::kLingering || state_ == State::kClosed;
}

// Where everything that is to come lies behind `position`, whether a line stands there or not.
std::optional<uint64_t> Session::PlaceBehindTheLastLine(journal::Position position) const {
  // In this order: lines that are announced between the two lie beyond what was recorded.
  replication::Lsn recorded = hub_.journal.recorded();
  journal::Head head = hub_.journal.head();
  bool is_past = head.position < position && position.commit_lsn < recorded;
  if (position != head.position && !is_past) return std::nullopt;
  return head.offset;
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
