#include "sidecar/command/tail.h"

#include <poll.h>
#include <signal.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <fstream>
#include <nlohmann/json.hpp>
#include <optional>
#include <random>
#include <string_view>
#include <utility>

#include "adapter/backoff.h"
#include "sidecar/command/dial.h"
#include "sidecar/command/show.h"

namespace syncflow::command {
namespace {

using nlohmann::json;
using std::chrono::milliseconds;
using Clock = std::chrono::steady_clock;

constexpr size_t kLineMax = 64u << 20;
constexpr size_t kReadBytes = 64u << 10;
constexpr double kHeartbeatsMissed = 2.5;

// ---- signals ----

volatile sig_atomic_t interrupted = 0;
volatile sig_atomic_t interrupt_fd = -1;

void OnInterrupt(int) {
  int saved = errno;
  interrupted = 1;
  eventfd_write(interrupt_fd, 1);
  errno = saved;
}

// SIGINT and SIGTERM make fd() readable and break blocking writes; SIGPIPE is ignored. Put back at
// the end.
class Signals {
 public:
  Signals() : wake_(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)) {
    interrupted = 0;
    interrupt_fd = wake_.fd();
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
    interrupt_fd = -1;
  }
  Signals(const Signals&) = delete;
  Signals& operator=(const Signals&) = delete;
  int fd() const { return wake_.fd(); }

 private:
  Socket wake_;
  struct sigaction old_int_ {};
  struct sigaction old_term_ {};
  struct sigaction old_pipe_ {};
};

// ---- small readers of JSON ----

std::string Text(const json& line, const char* key) {
  auto found = line.find(key);
  return found != line.end() && found->is_string() ? found->get<std::string>() : "";
}

bool Is(const json& line, const char* key, bool value) {
  auto found = line.find(key);
  return found != line.end() && *found == value;
}

double Number(const json& line, const char* key, double otherwise) {
  auto found = line.find(key);
  return found != line.end() && found->is_number() ? found->get<double>() : otherwise;
}

// The protocol fixes how a change line begins.
constexpr std::string_view kChange = R"({"type":"change","cursor":")";

std::string_view CursorOfChange(std::string_view line) {
  line.remove_prefix(kChange.size());
  return line.substr(0, line.find('"'));
}

std::string RandomRequest() {
  char text[9];
  std::snprintf(text, sizeof text, "%08x", std::random_device{}());
  return text;
}

// ---- the client ----

// What ends a connection.
struct Reconnect {
  std::string why;
  std::optional<milliseconds> after{};  // as the server asked; else the backoff decides
};
struct Finish {
  int exit_code;
};

class Client {
 public:
  Client(const TailOptions& options, Address address, int wake_fd);
  int Run();

 private:
  void Consume();  // one connection; ends with Reconnect or Finish
  void SendHello(int fd);
  std::string ReadToken() const;
  void Acknowledge(int fd);
  void SendWhole(int fd, const std::string& line) const;
  void ReadLines(int fd);
  void Receive(int fd);
  void Take(std::string_view line);
  void TakeChange(std::string_view line);
  void TakeHello(const json& line);
  void TakeGap(const json& line);
  void TakeError(const json& line);
  void TakeBye(const json& line);

  void WriteOut();
  void Say(const std::string& sentence) const;
  void Pause(milliseconds delay) const;

  const TailOptions& options_;
  Address address_;
  int wake_fd_;
  bool raw_;
  adapter::Backoff backoff_;
  std::string from_;  // of the next hello; everything up to it was printed

  // One connection's state.
  std::string request_;
  bool greeted_ = false;  // our hello was answered: the lines are ours
  milliseconds silence_max_{};
  std::string acknowledged_;
  std::string in_;
  std::string out_;
};

Client::Client(const TailOptions& options, Address address, int wake_fd)
    : options_(options),
      address_(std::move(address)),
      wake_fd_(wake_fd),
      raw_(options.json || isatty(options.out) == 0),
      backoff_(options.backoff_min, options.backoff_max),
      from_(options.from) {}

int Client::Run() {
  while (true) {
    Reconnect reason;
    try {
      Consume();
    } catch (const Finish& finish) {
      return finish.exit_code;
    } catch (const DialError& error) {
      reason.why = error.what();
    } catch (const Reconnect& reconnect) {
      reason = reconnect;
    }
    if (interrupted) return 0;
    milliseconds delay = reason.after.value_or(backoff_.Next());
    Say(reason.why + "; reconnecting in " + std::to_string(delay.count()) + " ms");
    Pause(delay);
    if (interrupted) return 0;
  }
}

void Client::Consume() {
  Socket socket = Dial(address_, options_.connect_timeout, wake_fd_);
  greeted_ = false;
  silence_max_ = options_.hello_timeout;
  in_.clear();
  SendHello(socket.fd());
  while (!interrupted) ReadLines(socket.fd());
  throw Finish{0};
}

void Client::SendHello(int fd) {
  request_ = RandomRequest();
  nlohmann::ordered_json hello = {
      {"type", "hello"}, {"version", 1}, {"request", request_}, {"on_gap", "continue"}};
  if (!options_.token_file.empty()) hello["token"] = ReadToken();
  if (!from_.empty()) hello["from"] = from_;
  if (!options_.name.empty()) hello["name"] = options_.name;
  if (!options_.collections.empty()) hello["collections"] = options_.collections;
  std::string line = hello.dump(-1, ' ', false, json::error_handler_t::replace) + "\n";
  // It fits the socket's empty buffer, so one call takes it whole.
  SendWhole(fd, line);
}

// At every connection: a token that was renewed needs no restart.
std::string Client::ReadToken() const {
  std::ifstream file(options_.token_file);
  std::string token;
  if (!std::getline(file, token) || token.empty())
    throw Reconnect{"no token can be read from " + options_.token_file};
  return token;
}

// What was printed, and what a heartbeat or a gap has passed, is done with.
void Client::Acknowledge(int fd) {
  if (options_.name.empty() || !greeted_ || from_ == acknowledged_) return;
  SendWhole(fd, json{{"type", "ack"}, {"cursor", from_}}.dump() + "\n");
  acknowledged_ = from_;
}

void Client::SendWhole(int fd, const std::string& line) const {
  ssize_t sent = send(fd, line.data(), line.size(), MSG_NOSIGNAL);
  if (sent != static_cast<ssize_t>(line.size())) throw Reconnect{"the connection broke"};
}

void Client::ReadLines(int fd) {
  if (!WaitFor(fd, POLLIN, silence_max_, wake_fd_)) {
    if (interrupted) throw Finish{0};
    throw Reconnect{"no line for " + std::to_string(silence_max_.count()) + " ms"};
  }
  Receive(fd);
  size_t start = 0;
  try {
    for (size_t end; (end = in_.find('\n', start)) != std::string::npos; start = end + 1) {
      Take(std::string_view(in_).substr(start, end - start));
    }
  } catch (...) {
    WriteOut();
    Acknowledge(fd);
    throw;
  }
  in_.erase(0, start);
  if (in_.size() > kLineMax) throw Reconnect{"a line is longer than 64 MiB"};
  WriteOut();
  Acknowledge(fd);
}

void Client::Receive(int fd) {
  size_t before = in_.size();
  in_.resize(before + kReadBytes);
  ssize_t got = recv(fd, in_.data() + before, kReadBytes, 0);
  in_.resize(before + static_cast<size_t>(std::max<ssize_t>(got, 0)));
  if (got == 0) throw Reconnect{"the server closed the connection"};
  bool again = got < 0 && (errno == EAGAIN || errno == EINTR);
  if (got < 0 && !again) throw Reconnect{std::string("the connection broke: ") + strerror(errno)};
}

void Client::Take(std::string_view text) {
  if (text.starts_with(kChange)) return TakeChange(text);
  json line = json::parse(text, nullptr, false);
  if (!line.is_object()) throw Reconnect{"the server sent a line that is no JSON object"};
  std::string type = Text(line, "type");
  if (type == "error") return TakeError(line);
  if (type == "bye") return TakeBye(line);
  if (type == "hello") return TakeHello(line);
  if (!greeted_) return;
  if (type == "gap") return TakeGap(line);
  bool has_passed = type == "live" || type == "heartbeat";
  if (has_passed && !Text(line, "cursor").empty()) from_ = Text(line, "cursor");
}

void Client::TakeChange(std::string_view line) {
  if (!greeted_) return;
  out_.append(raw_ ? line : ShowChange(line)).push_back('\n');
  from_ = CursorOfChange(line);
}

void Client::TakeHello(const json& line) {
  if (Text(line, "request") != request_) return;  // of the plain stream that began before ours
  greeted_ = true;
  backoff_.Reset();
  double heartbeat = std::clamp(Number(line, "heartbeat", 30), 0.01, 300.0);
  silence_max_ = milliseconds(static_cast<int64_t>(heartbeat * kHeartbeatsMissed * 1000));
  if (!Text(line, "start").empty()) from_ = Text(line, "start");
  acknowledged_ = from_;
}

void Client::TakeGap(const json& line) {
  bool recovered = Text(line, "code") == "history_recovered";
  Say("gap: changes after " + Text(line, "after") +
      (recovered ? " were lost and are taken from the table" : " are lost, going on at ") +
      (recovered ? "" : Text(line, "resume")) + " (" + Text(line, "code") + ": " +
      Text(line, "reason") + ")");
  if (!Text(line, "resume").empty()) from_ = Text(line, "resume");
}

void Client::TakeError(const json& line) {
  std::string sentence = Text(line, "code") + ": " + Text(line, "message");
  if (!Is(line, "fatal", true)) return Say(sentence);
  if (!Is(line, "retry", false)) throw Reconnect{sentence};
  Say(sentence);
  throw Finish{1};
}

void Client::TakeBye(const json& line) {
  std::optional<milliseconds> after;
  double delay = Number(line, "retry_ms", -1);
  auto longest = static_cast<double>(options_.backoff_max.count());
  if (delay >= 0) after = milliseconds(static_cast<int64_t>(std::min(delay, longest)));
  throw Reconnect{"the server said bye (" + Text(line, "code") + ")", after};
}

void Client::WriteOut() {
  std::string_view rest = out_;
  while (!rest.empty()) {
    ssize_t wrote = write(options_.out, rest.data(), rest.size());
    if (wrote > 0) rest.remove_prefix(static_cast<size_t>(wrote));
    if (wrote >= 0) continue;
    if (errno == EAGAIN) WaitFor(options_.out, POLLOUT, milliseconds(1000), wake_fd_);
    if (interrupted) throw Finish{0};
    if (errno == EPIPE) throw Finish{0};
    if (errno == EINTR || errno == EAGAIN) continue;
    Say(std::string("cannot write: ") + strerror(errno));
    throw Finish{1};
  }
  out_.clear();
}

void Client::Say(const std::string& sentence) const {
  dprintf(options_.err, "%s\n", Printable(sentence).c_str());
}

void Client::Pause(milliseconds delay) const {
  WaitFor(-1, 0, delay, wake_fd_);
}

}  // namespace

int Tail(const TailOptions& options) {
  try {
    Address address = Address::Parse(options.address);
    Signals signals;
    return Client(options, std::move(address), signals.fd()).Run();
  } catch (const std::invalid_argument& error) {
    dprintf(options.err, "%s\n", error.what());
    return 2;
  }
}

}  // namespace syncflow::command
