#include "sidecar/client/subscription.h"

#include <sys/eventfd.h>

#include <algorithm>
#include <atomic>
#include <cstdio>
#include <fstream>
#include <random>
#include <utility>

#include "adapter/backoff.h"
#include "sidecar/client/connection.h"
#include "sidecar/client/lines.h"

namespace syncflow::client {
namespace {

using nlohmann::json;
using std::chrono::milliseconds;
using Type = Event::Type;

constexpr double kHeartbeatsMissed = 2.5;
constexpr double kHeartbeatUnknown = 30;  // seconds; before the feed says how often it beats
constexpr size_t kLineMax = 64u << 20;    // or what the feed says, if that is more

std::string RandomRequest() {
  char text[9];
  std::snprintf(text, sizeof text, "%08x", std::random_device{}());
  return text;
}

milliseconds SilenceMax(double heartbeat) {
  return milliseconds(static_cast<int64_t>(heartbeat * kHeartbeatsMissed * 1000));
}

}  // namespace

struct Subscription::State {
  explicit State(Options wanted);
  ~State();

  std::optional<Event> Next();
  void Acknowledge(std::string_view cursor);

  void Connect();
  std::string Token() const;
  std::optional<Event> Step();
  void SendAck(milliseconds patience);
  Event Disconnect(const ConnectionError& error);

  std::optional<Event> Take(std::string_view text);
  std::optional<Event> TakeFirst(std::string_view type, std::string_view text);
  Event Greet(std::string_view text);
  Event TakeOther(std::string_view type, std::string_view text);
  Event TakeChange(std::string_view text, std::string_view cursor);
  Event TakeDocument(std::string_view text, const DocumentHead& head);
  Event TakeSnapshotBegin(std::string_view text);
  Event TakeGap(std::string_view text);
  Event TakeError(std::string_view text);
  [[noreturn]] void TakeBye();
  Event Pass(Event event, std::string_view cursor);

  const Options options;
  const Address address;
  Socket stop_fd;
  std::atomic<bool> stopped = false;
  adapter::Backoff backoff;
  milliseconds pause{0};  // in front of the next connection
  std::optional<Refused> refused;
  // Of the next hello. With a name, up to it everything is acknowledged; else, handed out.
  Place place;

  // One connection's state.
  std::optional<Connection> connection;
  std::string request;
  bool greeted = false;  // our hello was answered: the lines are ours
  milliseconds silence_max{0};
  std::string acknowledged;
  std::string acknowledged_sent;

  // What the last event's views point into.
  json line;
  std::string message;
  std::string code;
};

Subscription::State::State(Options wanted)
    : options(std::move(wanted)),
      address(Address::Parse(options.address)),
      stop_fd(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)),
      backoff(options.backoff_min, options.backoff_max),
      place{options.from, {}, 0} {
  try {
    if (options.tls) CheckTlsFiles(*options.tls);
  } catch (const ConnectionError& error) {
    throw std::invalid_argument(error.what());
  }
}

Subscription::State::~State() {
  try {
    if (connection && greeted) SendAck(milliseconds(0));
  } catch (const ConnectionError&) {
    // What was acknowledged comes again.
  }
}

std::optional<Event> Subscription::State::Next() {
  if (refused) throw Refused(*refused);
  while (!stopped) {
    try {
      if (!connection) Connect();
      if (auto event = Step()) return event;
    } catch (const ConnectionError& error) {
      if (!stopped) return Disconnect(error);
    }
  }
  return std::nullopt;
}

// ---- a connection begins and ends ----

void Subscription::State::Connect() {
  WaitFor(-1, 0, pause, stop_fd.fd());
  if (stopped) throw ConnectionError("stopped");
  std::string token = Token();
  connection.emplace(options, address, stop_fd.fd());
  greeted = false;
  silence_max = options.hello_timeout;
  request = RandomRequest();
  connection->Send(HelloLine(options, request, token, place), silence_max);
}

std::string Subscription::State::Token() const {
  try {
    return options.token ? options.token() : "";
  } catch (const std::exception& error) {
    throw ConnectionError(error.what());
  }
}

Event Subscription::State::Disconnect(const ConnectionError& error) {
  connection.reset();
  message = error.what();
  code = error.code;
  pause = error.retry_after.value_or(backoff.Next());
  return {.type = Type::kDisconnected, .code = code, .message = message, .retry_in = pause};
}

// nullopt: nothing has come yet that concerns the caller.
std::optional<Event> Subscription::State::Step() {
  if (connection->HasLine()) return Take(connection->TakeLine());
  SendAck(silence_max);
  connection->Fill(silence_max);
  return std::nullopt;
}

// ---- acknowledgements ----

void Subscription::State::Acknowledge(std::string_view cursor) {
  bool counts = !options.name.empty() || options.window > 0;
  if (cursor.empty() || !counts) return;
  acknowledged = cursor;
  if (!options.name.empty()) place.from = cursor;
}

void Subscription::State::SendAck(milliseconds patience) {
  if (!greeted || acknowledged == acknowledged_sent) return;
  connection->Send(AckLine(acknowledged), patience);
  acknowledged_sent = acknowledged;
}

// ---- lines ----

std::optional<Event> Subscription::State::Take(std::string_view text) {
  if (greeted) {
    if (auto cursor = CursorOfChange(text)) return TakeChange(text, *cursor);
    if (auto head = HeadOfDocument(text)) return TakeDocument(text, *head);
  }
  line = json::parse(text, nullptr, false);
  if (!line.is_object()) throw ConnectionError("the server sent a line that is no JSON object");
  std::string_view type = Text(line, "type");
  if (type == "error") return TakeError(text);
  if (type == "bye") TakeBye();
  return greeted ? TakeOther(type, text) : TakeFirst(type, text);
}

// In front of the answer come lines of the stream that began before our hello was heard.
std::optional<Event> Subscription::State::TakeFirst(std::string_view type, std::string_view text) {
  if (type == "hello" && Text(line, "request") == request) return Greet(text);
  silence_max = std::max(silence_max, SilenceMax(kHeartbeatUnknown));
  return std::nullopt;
}

Event Subscription::State::Greet(std::string_view text) {
  greeted = true;
  backoff.Reset();
  silence_max = SilenceMax(std::clamp(Number(line, "heartbeat", kHeartbeatUnknown), 0.01, 300.0));
  double line_bytes = std::clamp(Number(line, "max_line_bytes", 0), 0.0, 4e9);
  connection->Allow(std::max(kLineMax, 2 * static_cast<size_t>(line_bytes)));
  std::string_view start = Text(line, "start");
  acknowledged = acknowledged_sent = start;
  if (!start.empty()) place.from = start;
  return {.type = Type::kConnected, .line = text, .cursor = start};
}

Event Subscription::State::TakeOther(std::string_view type, std::string_view text) {
  std::string_view cursor = Text(line, "cursor");
  if (type == "change") return TakeChange(text, cursor);
  if (type == "document") {
    auto number = static_cast<uint64_t>(std::clamp(Number(line, "number", 0), 0.0, 9e15));
    return TakeDocument(text, {Text(line, "snapshot"), number});
  }
  if (type == "gap") return TakeGap(text);
  if (type == "live") return Pass({.type = Type::kLive, .line = text}, cursor);
  if (type == "heartbeat") return Pass({.type = Type::kHeartbeat, .line = text}, cursor);
  if (type == "acked") return {.type = Type::kAcked, .line = text, .acked = cursor};
  if (type == "snapshot_begin") return TakeSnapshotBegin(text);
  if (type != "snapshot_end") return {.type = Type::kOther, .line = text};
  auto documents = static_cast<uint64_t>(std::clamp(Number(line, "documents", 0), 0.0, 9e15));
  return Pass({.type = Type::kSnapshotEnd,
               .line = text,
               .snapshot = Text(line, "snapshot"),
               .number = documents},
              cursor);
}

// Everything up to `cursor` is handed out. Where a name stands, only acknowledgements say.
Event Subscription::State::Pass(Event event, std::string_view cursor) {
  event.cursor = cursor;
  if (options.name.empty() && !cursor.empty()) place.from = cursor;
  return event;
}

Event Subscription::State::TakeChange(std::string_view text, std::string_view cursor) {
  if (cursor.empty()) throw ConnectionError("the server sent a change without a cursor");
  return Pass({.type = Type::kChange, .line = text}, cursor);
}

// What the filter leaves out has a number too.
Event Subscription::State::TakeDocument(std::string_view text, const DocumentHead& head) {
  place.number = head.number + 1;
  return {.type = Type::kDocument, .line = text, .snapshot = head.snapshot, .number = head.number};
}

Event Subscription::State::TakeSnapshotBegin(std::string_view text) {
  std::string_view snapshot = Text(line, "snapshot");
  bool resumed = snapshot == place.snapshot;
  if (!resumed) place.number = 0;
  place.snapshot = snapshot;
  return {.type = Type::kSnapshotBegin, .line = text, .snapshot = snapshot, .resumed = resumed};
}

Event Subscription::State::TakeGap(std::string_view text) {
  return Pass({.type = Type::kGap,
               .line = text,
               .code = Text(line, "code"),
               .message = Text(line, "reason"),
               .after = Text(line, "after")},
              Text(line, "resume"));
}

Event Subscription::State::TakeError(std::string_view text) {
  std::string_view said = Text(line, "message");
  code = Text(line, "code");
  if (!Is(line, "fatal", true)) {
    if (!greeted) silence_max = std::max(silence_max, SilenceMax(kHeartbeatUnknown));
    return {.type = Type::kProblem, .line = text, .code = code, .message = said};
  }
  if (Is(line, "retry", false)) {
    refused.emplace(code, std::string(said));
    connection.reset();
    throw Refused(*refused);
  }
  throw ConnectionError(code + ": " + std::string(said), code);
}

void Subscription::State::TakeBye() {
  std::string why(Text(line, "code"));
  // What may be read now may have passed already.
  if (why == "rights_changed") place.snapshot.clear();
  double delay = Number(line, "retry_ms", -1);
  auto longest = static_cast<double>(options.backoff_max.count());
  std::optional<milliseconds> after;
  if (delay >= 0) after = milliseconds(static_cast<int64_t>(std::min(delay, longest)));
  throw ConnectionError("the server said bye (" + why + ")", why, after);
}

// ---- the outside ----

std::function<std::string()> TokenFromFile(std::string path) {
  return [path = std::move(path)] {
    std::ifstream file(path);
    std::string token;
    if (!std::getline(file, token) || token.empty())
      throw std::runtime_error("no token can be read from " + path);
    return token;
  };
}

Subscription::Subscription(Options options) : state_(std::make_unique<State>(std::move(options))) {}
Subscription::~Subscription() = default;
Subscription::Subscription(Subscription&&) noexcept = default;

std::optional<Event> Subscription::Next() {
  return state_->Next();
}

bool Subscription::HasMore() const {
  return state_->connection && state_->connection->HasLine();
}

void Subscription::Acknowledge(std::string_view cursor) {
  state_->Acknowledge(cursor);
}

void Subscription::Stop() {
  state_->stopped = true;
  eventfd_write(state_->stop_fd.fd(), 1);
}

}  // namespace syncflow::client
