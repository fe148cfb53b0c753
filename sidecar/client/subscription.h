// A consumer of the feed: connects, comes back after every break where it was, and hands out what
// the feed says, one event at a time. How to keep a search index, a cache or a file up to date:
//
//   client::Options options;
//   options.address = "127.0.0.1:7433";
//   options.from = LoadCursor();  // nothing stored yet: "snapshot", "earliest" or "latest"
//   client::Subscription feed(options);
//   while (auto event = feed.Next()) {
//     if (event->type == client::Event::Type::kChange) Apply(event->line);
//     if (!event->cursor.empty()) StoreCursor(event->cursor);  // in one transaction with Apply
//   }
//
// With a name the feed remembers the place instead:
//
//   options.name = "billing";
//   …
//     if (!event->cursor.empty()) feed.Acknowledge(event->cursor);  // it is processed
//
// Nothing is left out; after a break something may come again.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

#include "sidecar/client/event.h"

namespace syncflow::client {

// TLS 1.2 or later. The files are PEM, and read again at every connection.
struct Tls {
  std::string ca_file;           // who may vouch for the server; empty: whom the system trusts
  std::string certificate_file;  // who we are, with what leads to its issuer; empty: nobody
  std::string key_file;          // of that certificate
  std::string server_name;       // that the server must prove; empty: the address's host
};

struct Options {
  std::string address = "127.0.0.1:7433";  // host:port or [v6]:port
  // Of a durable consumer: 1 to 128 letters, digits, dots, underscores or hyphens. Empty: none.
  std::string name;
  // latest, earliest, snapshot (all documents first) or a cursor. Empty: where the name stands,
  // else latest. With a name, the name is moved there.
  std::string from;
  std::vector<std::string> collections;  // empty: all
  // Asked at every connection; what it throws is a reason to try again later. None: no token.
  std::function<std::string()> token;
  // When removed changes were not read: false ends with Refused history_lost, true tells kGap.
  bool continue_after_gap = false;
  std::chrono::seconds heartbeat{0};  // 1 to 300: how often a quiet feed beats; 0: it decides
  // The feed pauses after so many changes without Acknowledge, at most 10000; 0: never.
  uint32_t window = 0;
  std::optional<Tls> tls;  // none: plain TCP

  std::chrono::milliseconds connect_timeout{10'000};  // for each address of the host, and for TLS
  std::chrono::milliseconds hello_timeout{10'000};    // for the feed's first word
  std::chrono::milliseconds backoff_min{500};         // pauses between attempts double, jittered
  std::chrono::milliseconds backoff_max{30'000};
};

// A token that lies in a file: its first line.
std::function<std::string()> TokenFromFile(std::string path);

// The feed will not give what is asked for, however often: what() is its sentence. `code` says what
// to do; with history_lost and epoch_changed for example begin anew with "snapshot" or "earliest".
class Refused : public std::runtime_error {
 public:
  Refused(std::string code_said, const std::string& sentence)
      : std::runtime_error(sentence), code(std::move(code_said)) {}
  std::string code;
};

// Used by one thread at a time, except Stop. Starts none.
class Subscription {
 public:
  // Connects with the first Next. Throws std::invalid_argument with a sentence where the address is
  // none or a TLS file cannot be used.
  explicit Subscription(Options options);
  // Sends the last acknowledgement, if it can be sent at once.
  ~Subscription();
  Subscription(Subscription&&) noexcept;

  // Waits for the next event; nullopt only after Stop. Whatever breaks is an event kDisconnected
  // and mended by the call after it; throws only Refused, and that again when called again.
  std::optional<Event> Next();
  // The next event is here already: Next will not wait. A good moment to commit is when it is not.
  bool HasMore() const;
  // Everything up to `cursor`, of an event since the last kConnected, is processed. It is sent
  // before Next waits. Without a name or a window nobody needs it, and it is ignored.
  void Acknowledge(std::string_view cursor);

  // From any thread or signal handler: Next returns nullopt, now and later.
  void Stop();

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace syncflow::client
