// One consumer: what it says, what it is told, and when. Used only on the feed thread.
//
// Whatever happens to a session (input, a timer, new bytes, the disk) is noted in its members and
// ends in one call of Pump, which sends what can be sent; nothing below Pump calls it again.
// session.cc has who comes, speaks and goes, session_start.cc what a hello begins, session_send.cc
// what is sent.
#pragma once

#include <chrono>
#include <list>
#include <memory>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "sidecar/feed/close_reason.h"
#include "sidecar/feed/delivery.h"
#include "sidecar/feed/hub.h"
#include "sidecar/feed/protocol.h"
#include "sidecar/feed/snapshot.h"
#include "sidecar/feed/wire.h"

namespace syncflow::feed {

class Session : public std::enable_shared_from_this<Session> {
 public:
  using Clock = std::chrono::steady_clock;

  Session(Hub& hub, Socket socket);

  // Begins to listen to the client; or, when there are as many as there may be, says so and closes.
  void Start(std::list<std::shared_ptr<Session>>::iterator self, bool turn_away);
  // The client has said nothing within the hello timeout: plain mode.
  void GraceOver();
  // New bytes, or the journal was bound.
  void Announced();
  // There are more documents.
  void SnapshotGrew() {
    if (download_) Pump();
  }
  // Once a second: heartbeat and deadlines.
  void Tick(Clock::time_point now);
  // PostgreSQL went away; hub.upstream_down says why.
  void UpstreamDown();
  // Acknowledgements were made durable.
  void AcksSaved();
  // hub.tokens are others now.
  void Reauthorise();
  // The sidecar stops: says bye at the next line end and closes.
  void Bye();
  // Closes as it stands.
  void Abandon() { Close(CloseReason::kShutdown); }

 private:
  enum class State {
    kHandshake,  // TLS is not there yet
    kSilent,     // nothing heard yet: plain mode when the grace time passes
    kHello,      // the first line has begun
    kUnbound,    // asked, but the journal has no history yet
    kSearching,  // the cold reader looks for the cursor
    kNaming,     // its named position is being made durable
    kSnapshot,   // it is given the documents
    kStreaming,
    kClosing,    // what is queued goes out, then the connection ends
    kLingering,  // it is out; the client has a moment to read it
    kClosed,
  };

  // ---- the handshake of TLS ----
  void Opened();
  void Shake();
  void RefusePlain();
  void HandshakeFailed();
  void HandshakeOver();

  // ---- from the client ----
  void AwaitInput();
  void ReadInput();
  void InputEnded();
  void TakeInput(std::string_view bytes);
  void TakeLine(std::string line);
  void Take(const Hello& hello);
  void Take(const Ack& ack);
  void Take(const Ping& ping);
  void Take(const Unknown&) {}
  void Take(const Refusal& refusal);

  // ---- start ----
  void HelloMissing();
  void BeginPlain();
  void Begin(Hello hello);
  bool Authorise();
  void Locate();
  void BeginNext();
  void AwaitHistory();
  void Search();
  // std::monostate: it could not be read.
  using Found = std::variant<std::monostate, uint64_t, journal::Miss>;
  void Searched(const Found& found);
  void Unreadable();
  std::shared_ptr<const Filter> FilterOf(const Hello& hello);
  void StreamFrom(uint64_t offset, journal::Position position);
  journal::Cursor StartsAt() const;
  void Greet();

  // ---- documents first ----
  void BeginSnapshot();
  void Join();
  bool DeliverDocuments(uint64_t& budget);
  bool DocumentsDelivered();
  void FollowSnapshot(uint64_t offset, journal::Position position);
  void SnapshotFailed();
  void SnapshotUnfinished();
  bool IsGreeted() const;

  // ---- durable consumers ----
  std::string Token() const;
  bool MayTake(const std::string& name);
  void TakeName(const std::string& name);
  void LeaveName();
  void Superseded();
  void KeepPosition();
  void PositionKept(const std::string& failure);
  void RefuseAck(const std::string& message);

  // ---- to the client ----
  void Pump();
  bool CanSend() const;
  bool AtLineEnd() const;
  bool TurnPage();
  bool Speak();
  void SayBye();
  bool SendControl();
  bool Stuck();
  bool Deliver(uint64_t& budget);
  void GoLive();
  void Overtaken();
  void AwaitOutput();
  void AwaitDisk();
  void AwaitTurn();

  // ---- the end ----
  void TurnAway();
  void Refuse(const std::string& code, const std::string& message, ErrorDetails details,
              CloseReason reason);
  void EndAfterControl(CloseReason reason);
  void FinishClosing();
  void Drain();
  void Close(CloseReason reason);

  bool IsEnding() const;
  bool IsReset() const;
  journal::Cursor CursorAt(journal::Position position) const;
  std::optional<uint64_t> PlaceBehindTheLastLine(journal::Position position) const;
  std::optional<journal::Cursor> Delivered() const;
  ErrorDetails Bounds(bool retry) const;

  Hub& hub_;
  Socket socket_;
  Wire wire_;
  std::list<std::shared_ptr<Session>>::iterator self_;
  State state_ = State::kSilent;
  CloseReason close_reason_ = CloseReason::kPeerClosed;
  Clock::time_point deadline_;  // of kHandshake, kHello, kClosing and kLingering

  std::string input_;                     // an incomplete line; usually without memory
  std::unique_ptr<Hello> hello_;          // the one that is being answered; nullptr once it streams
  std::string name_;                      // in hub_.names, while this session has it
  std::shared_ptr<const Rights> rights_;  // nullptr: nobody was asked for a token
  std::chrono::seconds heartbeat_{0};
  Clock::time_point next_heartbeat_;

  Delivery delivery_;
  std::unique_ptr<Download> download_;  // until what follows the documents is found

  // Lines that are not changes, sent between them. What names a cursor is written only at a line
  // end: until then nobody knows which.
  std::string control_;
  std::string gap_;                 // to be told behind the hello
  std::unique_ptr<Hello> next_;     // begins there; a newer one takes its place
  std::vector<std::string> pings_;  // ids

  std::optional<journal::Cursor> ack_told_;  // the last one said to be durable

  // Together, because a thousand consumers have them a thousand times.
  journal::Epoch epoch_{};
  bool turn_away_ = false;
  bool spoke_ = false;  // in the handshake
  bool input_ended_ = false;
  bool reads_ = false;
  bool plain_ = false;
  bool continue_after_gap_ = false;
  bool live_ = false;
  bool waits_for_socket_ = false;
  bool waits_for_disk_ = false;
  bool waits_for_turn_ = false;
  bool heartbeat_due_ = false;
  bool acked_due_ = false;
  bool down_due_ = false;
  bool told_down_ = false;   // while there was no history
  bool told_begin_ = false;  // of the snapshot
  std::optional<CloseReason> bye_due_;
};

}  // namespace syncflow::feed
