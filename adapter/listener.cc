#include "adapter/listener.h"

#include <poll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <algorithm>
#include <nlohmann/json.hpp>
#include <utility>

#include "adapter/backoff.h"

namespace syncflow::adapter {
namespace {

using std::chrono::milliseconds;

constexpr milliseconds kTick{100};
// A link that died silently is found out by asking.
constexpr std::chrono::seconds kAskEvery{2};

std::optional<std::string> Text(const nlohmann::json& object, const char* key) {
  auto found = object.find(key);
  if (found == object.end() || !found->is_string()) return std::nullopt;
  return found->get<std::string>();
}

}  // namespace

std::optional<OperationNotice> ParseOperationNotice(std::string_view payload) {
  auto parsed = nlohmann::json::parse(payload, nullptr, false);
  if (!parsed.is_object()) return std::nullopt;
  auto id = Text(parsed, "id");
  if (!id) return std::nullopt;
  // A long payload is sent with less than everything; the id alone identifies the row.
  return OperationNotice{*id, Text(parsed, "type").value_or(""),
                         Text(parsed, "collection").value_or(""),
                         Text(parsed, "doc_id").value_or("")};
}

Listener::Listener(ListenerOptions options)
    : options_(std::move(options)), wake_fd_(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)) {
  options_.connect.stop_fd = wake_fd_;
}

Listener::~Listener() {
  close(wake_fd_);
}

void Listener::Stop() {
  stopping_ = true;
  eventfd_write(wake_fd_, 1);
}

void Listener::Run(const Events& events) {
  Backoff backoff(options_.backoff_min, options_.backoff_max);
  std::optional<Clock::time_point> heard;  // the last moment LISTEN was surely in force
  bool in_gap = false;
  while (!stopping_) {
    try {
      Listen(events, heard);
    } catch (const Error& error) {
      if (stopping_) return;
      bool first = !in_gap || connected_;
      in_gap = true;
      if (first && events.gap_begin) events.gap_begin(error);
      if (connected_) backoff.Reset();
      connected_ = false;
      Pause(backoff.Next(), events);
    }
  }
}

void Listener::Listen(const Events& events, std::optional<Clock::time_point>& heard) {
  Connection connection(options_.connect);
  connection.OnNotification([&](const Notification& notification) { Hand(notification, events); });
  connection.Execute("LISTEN " + connection.QuoteIdentifier(options_.channel));
  if (!options_.second_channel.empty())
    connection.Execute("LISTEN " + connection.QuoteIdentifier(options_.second_channel));
  auto now = Clock::now();
  auto away = heard ? std::chrono::duration_cast<milliseconds>(now - *heard) : milliseconds(0);
  heard = now;
  connected_ = true;
  if (events.gap_end) events.gap_end(away);
  while (!stopping_) {
    if (connection.Wait(Clock::now() + kTick, false, wake_fd_)) connection.ConsumeInput();
    if (Clock::now() - *heard >= kAskEvery) heard = Ask(connection);
    while (auto notification = connection.NextNotification()) Hand(*notification, events);
    if (events.tick) events.tick();
  }
}

// An empty query; its answer shows that LISTEN was in force when it was asked.
Clock::time_point Listener::Ask(Connection& connection) {
  auto asked = Clock::now();
  connection.Execute("");
  return asked;
}

void Listener::Hand(const Notification& notification, const Events& events) const {
  if (notification.channel != options_.channel) {
    if (events.second) events.second(notification.payload);
    return;
  }
  auto notice = ParseOperationNotice(notification.payload);
  if (notice) {
    if (events.notice) events.notice(*notice);
  } else if (events.foreign) {
    events.foreign(notification.payload);
  }
}

void Listener::Pause(milliseconds delay, const Events& events) const {
  auto end = Clock::now() + delay;
  while (!stopping_ && Clock::now() < end) {
    pollfd wake{wake_fd_, POLLIN, 0};
    auto left = std::chrono::duration_cast<milliseconds>(end - Clock::now());
    poll(&wake, 1, static_cast<int>(std::clamp<long>(left.count(), 1, kTick.count())));
    if (events.tick) events.tick();
  }
}

}  // namespace syncflow::adapter
