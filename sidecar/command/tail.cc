#include "sidecar/command/tail.h"

#include <poll.h>
#include <signal.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <string_view>

#include "sidecar/command/show.h"

namespace syncflow::command {
namespace {

using client::Event;
using Type = Event::Type;

constexpr int kLookMs = 100;  // how late an interrupt may be noticed by a write that waits

// ---- signals ----

std::atomic<client::Subscription*> running = nullptr;
std::atomic<bool> interrupted = false;

void OnInterrupt(int) {
  int saved = errno;
  interrupted = true;
  if (client::Subscription* feed = running) feed->Stop();
  errno = saved;
}

// SIGINT and SIGTERM stop the subscription and break blocking writes; SIGPIPE is ignored. Put back
// at the end.
class Signals {
 public:
  explicit Signals(client::Subscription& feed) {
    interrupted = false;
    running = &feed;
    struct sigaction action {};
    action.sa_handler = OnInterrupt;
    sigaction(SIGINT, &action, &old_int_);
    sigaction(SIGTERM, &action, &old_term_);
    action.sa_handler = SIG_IGN;
    sigaction(SIGPIPE, &action, &old_pipe_);
  }
  ~Signals() {
    sigaction(SIGINT, &old_int_, nullptr);
    sigaction(SIGTERM, &old_term_, nullptr);
    sigaction(SIGPIPE, &old_pipe_, nullptr);
    running = nullptr;
  }
  Signals(const Signals&) = delete;
  Signals& operator=(const Signals&) = delete;

 private:
  struct sigaction old_int_ {};
  struct sigaction old_term_ {};
  struct sigaction old_pipe_ {};
};

// ---- printing ----

class Printer {
 public:
  explicit Printer(const TailOptions& options)
      : options_(options), raw_(options.json || isatty(options.out) == 0) {}

  void Print(const Event& event);
  // False when nothing can be written any more; exit_code() says what that means.
  bool Flush();
  void Say(const std::string& sentence) const;
  int exit_code() const { return exit_code_; }

 private:
  void PrintSnapshotBegin(const Event& event);
  void PrintGap(const Event& event);
  bool CannotWrite(int error);
  void Append(std::string_view line) { out_.append(line).push_back('\n'); }

  const TailOptions& options_;
  const bool raw_;
  bool inside_snapshot_ = false;
  std::string out_;
  int exit_code_ = 0;
};

void Printer::Print(const Event& event) {
  switch (event.type) {
    case Type::kChange:
      return raw_ ? Append(event.line) : Append(ShowChange(event.line));
    case Type::kDocument:
      return raw_ ? Append(event.line) : Append(ShowDocument(event.line));
    case Type::kSnapshotBegin:
      return PrintSnapshotBegin(event);
    case Type::kSnapshotEnd:
      inside_snapshot_ = false;
      return raw_ ? Append(event.line) : void();
    case Type::kGap:
      return PrintGap(event);
    case Type::kProblem:
      return Say(std::string(event.code) + ": " + std::string(event.message));
    case Type::kDisconnected:
      return Say(std::string(event.message) + "; reconnecting in " +
                 std::to_string(event.retry_in.count()) + " ms");
    default:
      return;
  }
}

void Printer::PrintSnapshotBegin(const Event& event) {
  if (event.resumed) return;
  if (inside_snapshot_) Say("the snapshot that was begun is gone: another one begins");
  inside_snapshot_ = true;
  if (raw_) Append(event.line);
}

void Printer::PrintGap(const Event& event) {
  if (raw_) Append(event.line);
  bool recovered = event.code == "history_recovered";
  Say("gap: changes after " + std::string(event.after) +
      (recovered ? " were lost and are taken from the table"
                 : " are lost, going on at " + std::string(event.cursor)) +
      " (" + std::string(event.code) + ": " + std::string(event.message) + ")");
}

bool Printer::Flush() {
  std::string_view rest = out_;
  while (!rest.empty() && !interrupted) {
    ssize_t wrote = write(options_.out, rest.data(), rest.size());
    if (wrote > 0) rest.remove_prefix(static_cast<size_t>(wrote));
    if (wrote >= 0 || errno == EINTR) continue;
    if (errno != EAGAIN) return CannotWrite(errno);
    pollfd room{options_.out, POLLOUT, 0};
    poll(&room, 1, kLookMs);
  }
  out_.clear();
  return !interrupted;
}

bool Printer::CannotWrite(int error) {
  if (error == EPIPE) return false;
  Say(std::string("cannot write: ") + strerror(error));
  exit_code_ = 1;
  return false;
}

void Printer::Say(const std::string& sentence) const {
  dprintf(options_.err, "%s\n", Printable(sentence).c_str());
}

// ---- the whole of it ----

client::Options OptionsOf(const TailOptions& options) {
  client::Options feed = options.feed;
  feed.continue_after_gap = true;
  if (!options.token_file.empty()) feed.token = client::TokenFromFile(options.token_file);
  return feed;
}

int Follow(client::Subscription& feed, Printer& printer) {
  std::string printed;
  try {
    while (auto event = feed.Next()) {
      printer.Print(*event);
      if (!event->cursor.empty()) printed = event->cursor;
      if (feed.HasMore()) continue;
      if (!printer.Flush()) return printer.exit_code();
      feed.Acknowledge(printed);
    }
    return 0;
  } catch (const client::Refused& refused) {
    printer.Flush();
    printer.Say(refused.code + ": " + refused.what());
    return 1;
  }
}

}  // namespace

int Tail(const TailOptions& options) {
  Printer printer(options);
  try {
    client::Subscription feed(OptionsOf(options));
    Signals signals(feed);
    return Follow(feed, printer);
  } catch (const std::invalid_argument& error) {
    printer.Say(error.what());
    return 2;
  }
}

}  // namespace syncflow::command
