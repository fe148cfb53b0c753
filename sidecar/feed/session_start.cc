// What a hello begins: at a cursor, with the documents, or where a name stands.
#include <asio/post.hpp>
#include <utility>

#include "sidecar/feed/session.h"
#include "sidecar/log/log.h"

namespace syncflow::feed {

// ---- where a stream begins ----

void Session::BeginNext() {
  plain_ = false;
  Begin(std::move(*std::exchange(next_, nullptr)));
}

void Session::Begin(Hello hello) {
  hello_ = std::make_unique<Hello>(std::move(hello));
  continue_after_gap_ = hello_->continue_after_gap;
  gap_.clear();  // what one hello before was to be told
  download_.reset();
  if (!Authorise() || !MayTake(hello_->name)) return;
  TakeName(hello_->name);
  Locate();
}

// Where the stream begins.
void Session::Locate() {
  auto epoch = hub_.journal.epoch();
  if (!epoch) return AwaitHistory();
  epoch_ = *epoch;
  if (!name_.empty() && !hello_->says_from) {
    if (auto known = hub_.journal.consumers().Find(name_)) {
      if (known->acknowledged.position == journal::Position{}) return SnapshotUnfinished();
      hello_->from = From::kCursor;
      hello_->cursor = known->acknowledged;
    }
  }
  if (hello_->from == From::kEarliest) {
    journal::Earliest earliest = hub_.journal.earliest();
    return StreamFrom(earliest.offset, earliest.base);
  }
  if (hello_->from == From::kSnapshot) return BeginSnapshot();
  journal::Head head = hub_.journal.head();
  if (hello_->from == From::kLatest) return StreamFrom(head.offset, head.position);
  if (hello_->cursor.epoch != epoch_) {
    return Refuse("epoch_changed",
                  "the cursor belongs to another history: start with \"from\":\"earliest\" or "
                  "\"latest\"",
                  Bounds(false), CloseReason::kProtocolError);
  }
  if (auto place = PlaceBehindTheLastLine(hello_->cursor.position))
    return StreamFrom(*place, hello_->cursor.position);
  Search();
}

// Decides what hello_ may read.
bool Session::Authorise() {
  std::string token = std::exchange(hello_->token, {});
  if (!hub_.tokens) return true;
  auto refuse = [this](const char* code, const char* message) {
    Refuse(code, message, {}, CloseReason::kNotAllowed);
    return false;
  };
  if (token.empty())
    return refuse("auth_required", "this feed wants a token: give the hello a \"token\"");
  rights_ = hub_.tokens->Find(token);
  if (!rights_) return refuse("auth_failed", "the token is not known here");
  if (!rights_->Allow(hello_->collections))
    return refuse("forbidden_collection",
                  "the token is not for all of these collections: without \"collections\" you get "
                  "those it is for");
  hello_->collections = rights_->Narrow(hello_->collections);
  return true;
}

// Who may not read everything does not get either what nobody can tell the collection of.
std::shared_ptr<const Filter> Session::FilterOf(const Hello& hello) {
  bool limited = rights_ && !rights_->collections.empty();
  return hub_.filters.Get(hello.collections, limited);
}

void Session::AwaitHistory() {
  state_ = State::kUnbound;
  heartbeat_ = hello_->heartbeat.value_or(hub_.options.heartbeat);
  next_heartbeat_ = Clock::now() + heartbeat_;
  // Whatever the history will hold is newer than this moment.
  if (hello_->from == From::kLatest) hello_->from = From::kEarliest;
  if (!std::exchange(told_down_, true)) down_due_ = true;
}

// One search at a time: a hello that comes meanwhile waits in next_.
void Session::Search() {
  state_ = State::kSearching;
  asio::post(hub_.cold, [self = shared_from_this(), position = hello_->cursor.position] {
    Found found;
    try {
      std::visit([&found](auto place) { found = place; }, self->hub_.journal.Find(position));
    } catch (const journal::Error& error) {
      log::Error("feed", error.what());
    }
    asio::post(self->hub_.io, [self, found] {
      self->Searched(found);
      self->Pump();
    });
  });
}

void Session::Searched(const Found& found) {
  if (state_ != State::kSearching) return;
  if (next_) return BeginNext();
  if (std::holds_alternative<std::monostate>(found)) return Unreadable();
  if (auto* offset = std::get_if<uint64_t>(&found)) {
    return StreamFrom(*offset, hello_->cursor.position);
  }
  if (std::get<journal::Miss>(found) == journal::Miss::kAhead) {
    return Refuse("cursor_ahead",
                  "the cursor lies beyond the head: the sidecar is behind, try again later",
                  Bounds(true), CloseReason::kProtocolError);
  }
  if (!continue_after_gap_) {
    return Refuse("history_lost",
                  "the journal no longer holds what follows the cursor: start with earliest, or "
                  "say \"on_gap\":\"continue\"",
                  Bounds(false), CloseReason::kHistoryLost);
  }
  journal::Earliest earliest = hub_.journal.earliest();
  gap_ = GapLine(hello_->cursor, CursorAt(earliest.base), "removed by retention");
  StreamFrom(earliest.offset, earliest.base);
}

void Session::Unreadable() {
  Refuse("history_lost",
         "the journal cannot be read here: the sidecar's log says why; try again later, or start "
         "with latest",
         Bounds(true), CloseReason::kHistoryLost);
}

void Session::StreamFrom(uint64_t offset, journal::Position position) {
  if (download_) return FollowSnapshot(offset, position);
  delivery_.Choose(FilterOf(*hello_), hello_->window);
  delivery_.Start(offset, position);
  // Known is not enough: the file may not have taken the name yet, or whose it is.
  bool stays = name_.empty() || (hello_->from == From::kCursor && !hello_->says_from &&
                                 hub_.journal.consumers().IsSaved(name_, Token()));
  stays ? Greet() : KeepPosition();
}

// In front of a gap, until that is told: a consumer that stores it meets the gap again. (A name
// that stands at zero would be one that began with a snapshot.)
journal::Cursor Session::StartsAt() const {
  bool behind = gap_.empty() || hello_->cursor.position == journal::Position{};
  return behind ? CursorAt(delivery_.delivered()) : hello_->cursor;
}

void Session::Greet() {
  bool snapshot = hello_->from == From::kSnapshot;
  state_ = snapshot ? State::kSnapshot : State::kStreaming;
  live_ = heartbeat_due_ = acked_due_ = false;
  if (!name_.empty()) {
    hub_.journal.consumers().Seen(name_, true, MicrosecondsNow());  // a new one is known from here
    ack_told_ = hub_.journal.consumers().Saved(name_);
  }
  heartbeat_ = hello_->heartbeat.value_or(hub_.options.heartbeat);
  next_heartbeat_ = Clock::now() + heartbeat_;
  control_ += HelloLine({std::exchange(hello_->request, {}), hub_.options.server_name, epoch_,
                         snapshot ? std::nullopt : std::optional(StartsAt().position),
                         hub_.journal.head().position, hub_.journal.earliest().base, heartbeat_,
                         hub_.options.line_bytes_max, hello_->collections, plain_});
  control_ += std::exchange(gap_, {});
  bool told = std::exchange(told_down_, false);
  down_due_ = !told && !hub_.upstream_down.empty();
  snapshot ? Join() : hello_.reset();
}

// ---- documents first ----

// A name stands at zero, where no journal begins, until the consumer acknowledges something behind
// the snapshot.
void Session::BeginSnapshot() {
  if (!hub_.snapshots.offered()) return SnapshotFailed();
  delivery_.Choose(FilterOf(*hello_), hello_->window);
  delivery_.Start(hub_.journal.head().offset, {});
  name_.empty() ? Greet() : KeepPosition();
}

void Session::SnapshotUnfinished() {
  Refuse("history_lost",
         "this name began with a snapshot and has acknowledged nothing behind it: begin with "
         "\"from\":\"snapshot\" again",
         Bounds(false), CloseReason::kHistoryLost);
}

void Session::Join() {
  told_begin_ = false;
  try {
    auto spool = hub_.snapshots.Join(hello_->snapshot);
    uint64_t number = spool->id() == hello_->snapshot ? hello_->number : 0;
    download_ = std::make_unique<Download>(spool, FilterOf(*hello_), number);
  } catch (const std::exception& error) {
    log::Error("feed", error.what());
    SnapshotFailed();
  }
}

void Session::SnapshotFailed() {
  ErrorDetails details;
  details.retry = hub_.snapshots.offered();
  Refuse("snapshot_failed",
         details.retry ? "the documents cannot be read now: the sidecar's log says why; try again "
                         "later"
                       : "this server offers no snapshots: use earliest, latest or a cursor",
         details, CloseReason::kSnapshotFailed);
}

// ---- durable consumers ----

// The token that this consumer has shown; empty: none was asked for.
std::string Session::Token() const {
  return rights_ ? rights_->name : "";
}

// Whose the name is, or will be when there is a history to write its place in.
bool Session::MayTake(const std::string& name) {
  if (name.empty() || !rights_) return true;
  auto known = hub_.journal.consumers().Find(name);
  std::string owner = known ? known->token : "";
  ErrorDetails details;
  if (auto holder = hub_.names.find(name); owner.empty() && holder != hub_.names.end()) {
    if (!holder->second->IsEnding()) owner = holder->second->Token();
    details.retry = true;
  }
  if (owner.empty() || owner == Token()) return true;
  Refuse("forbidden_name",
         "another token has this name: choose another one, or let the operator give it to yours "
         "(syncflow-sidecar consumers give)",
         details, CloseReason::kNotAllowed);
  return false;
}

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
  bool has_room = hub_.journal.consumers().Move(name_, StartsAt(), MicrosecondsNow(), Token());
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

}  // namespace syncflow::feed
