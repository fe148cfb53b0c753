// Bursts of messages to many consumers at once: the sidecar's feed, nats-server or redis-server.
//
//   fanout feed  PORT PID CONSUMERS MESSAGES BURSTS tls|plain URL
//   fanout nats  PORT PID CONSUMERS MESSAGES BURSTS
//   fanout redis PORT PID CONSUMERS MESSAGES BURSTS
//
// A burst is MESSAGES at once: a transaction for the feed, one write for the others; the next one
// follows when every consumer has every byte. The first consumer counts messages, the others only
// bytes, which are the same for all; the kernel throws them away without a copy, so that this side
// costs little. Then as many bursts in a stream: each follows when every consumer has the one
// before the last, so that the last one is waiting or on its way.
//
// Prints, as medians of the bursts: nanoseconds from the first byte anywhere to the last one at the
// last consumer, and from the beginning of the burst to there; processor nanoseconds of PID in all
// bursts together; bytes that the connections added to its memory; nanoseconds of the stream, and
// of PID's processor in it.
#include <arpa/inet.h>
#include <fcntl.h>
#include <libpq-fe.h>
#include <netinet/tcp.h>
#include <openssl/ssl.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <deque>
#include <filesystem>
#include <fstream>
#include <functional>
#include <memory>
#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace {

using Clock = std::chrono::steady_clock;

constexpr int kPatience = 60'000;  // milliseconds
constexpr size_t kPing = 6;        // bytes of "PING\r\n"

// About as long as a line of the feed in these bursts.
const std::string kPayload(473, 'x');

struct FreeSsl {
  void operator()(SSL* ssl) const { SSL_free(ssl); }
};

class Consumer {
 public:
  Consumer(int port, SSL_CTX* tls) {
    fd_ = socket(AF_INET, SOCK_STREAM, 0);
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_port = htons(static_cast<uint16_t>(port));
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    if (connect(fd_, reinterpret_cast<sockaddr*>(&address), sizeof address) != 0)
      throw std::runtime_error("cannot connect");
    int on = 1;
    setsockopt(fd_, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    if (tls == nullptr) return;
    ssl_.reset(SSL_new(tls));
    SSL_set_fd(ssl_.get(), fd_);
    if (SSL_connect(ssl_.get()) != 1) throw std::runtime_error("no TLS");
  }
  ~Consumer() {
    if (fd_ >= 0) close(fd_);
  }
  Consumer(Consumer&& other) noexcept
      : fd_(std::exchange(other.fd_, -1)), ssl_(std::move(other.ssl_)) {}
  Consumer& operator=(Consumer&&) = delete;

  int fd() const { return fd_; }

  void Say(std::string_view text) {
    ssize_t said = ssl_ ? SSL_write(ssl_.get(), text.data(), static_cast<int>(text.size()))
                        : send(fd_, text.data(), text.size(), MSG_NOSIGNAL);
    if (said != static_cast<ssize_t>(text.size())) throw std::runtime_error("cannot write");
  }

  // What is there, at most as much as `buffer` takes; waits when nothing is.
  std::string_view Hear(std::vector<char>& buffer) {
    return {buffer.data(), Count(Read(buffer.data(), buffer.size(), 0))};
  }

  // The same, of which only the length is wanted; 0 when nothing is there.
  size_t Skip(std::vector<char>& buffer) {
    ssize_t got = Read(buffer.data(), buffer.size(), MSG_DONTWAIT | MSG_TRUNC);
    return got < 0 && errno == EAGAIN ? 0 : Count(got);
  }
  std::string_view Take(std::vector<char>& buffer) {
    ssize_t got = Read(buffer.data(), buffer.size(), MSG_DONTWAIT);
    return {buffer.data(), got < 0 && errno == EAGAIN ? 0 : Count(got)};
  }

  // From here on TLS waits for nothing either.
  void StopWaiting() { fcntl(fd_, F_SETFL, O_NONBLOCK); }

  // TLS has read it from the socket already, so epoll does not tell.
  bool HoldsMore() const { return ssl_ && SSL_pending(ssl_.get()) > 0; }

 private:
  ssize_t Read(char* to, size_t size, int flags) {
    if (!ssl_) return recv(fd_, to, size, flags);
    errno = 0;
    int got = SSL_read(ssl_.get(), to, static_cast<int>(size));
    if (got <= 0 && SSL_get_error(ssl_.get(), got) == SSL_ERROR_WANT_READ) errno = EAGAIN;
    return got <= 0 && errno == EAGAIN ? -1 : got;
  }
  static size_t Count(ssize_t got) {
    if (got <= 0) throw std::runtime_error("a connection ended");
    return static_cast<size_t>(got);
  }

  int fd_ = -1;
  std::unique_ptr<SSL, FreeSsl> ssl_;
};

// ---- the three servers ----

struct Server {
  std::string greeting;   // of a consumer
  std::string greeted;    // the end of the answer
  size_t line_feeds = 1;  // of each message
  std::function<void(int messages)> publish;
  std::function<void()> published = [] {};  // waits for the answers to all that was published
};

Server Feed(const std::string& url) {
  std::shared_ptr<PGconn> writer(PQconnectdb(url.c_str()), PQfinish);
  if (PQstatus(writer.get()) != CONNECTION_OK)
    throw std::runtime_error(PQerrorMessage(writer.get()));
  auto published = [writer] {
    while (PGresult* result = PQgetResult(writer.get())) {
      bool done = PQresultStatus(result) == PGRES_COMMAND_OK;
      PQclear(result);
      if (!done) throw std::runtime_error(PQerrorMessage(writer.get()));
    }
  };
  auto publish = [writer, published](int messages) {
    published();
    std::string sql =
        "INSERT INTO operations (id, type, collection, doc_id, data, timestamp, client_id, "
        "vector_clock) SELECT gen_random_uuid(), 'insert', 'todos', 'doc', jsonb_build_object('t', "
        "repeat('x', 120)), 1700001000000, 'client-1', '{}' FROM generate_series(1, " +
        std::to_string(messages) + ")";
    if (PQsendQuery(writer.get(), sql.c_str()) != 1)
      throw std::runtime_error(PQerrorMessage(writer.get()));
  };
  return {"{\"type\":\"hello\",\"version\":1,\"from\":\"latest\",\"heartbeat\":300}\n",
          "\"type\":\"live\"", 1, publish, published};
}

Server Nats(int port) {
  auto publisher = std::make_shared<Consumer>(port, nullptr);
  publisher->Say("CONNECT {\"verbose\":false}\r\n");
  auto publish = [publisher](int messages) {
    std::string all;
    for (int i = 0; i < messages; ++i)
      all += "PUB feed " + std::to_string(kPayload.size()) + "\r\n" + kPayload + "\r\n";
    publisher->Say(all);
  };
  return {"CONNECT {\"verbose\":false}\r\nSUB feed 1\r\nPING\r\n", "PONG\r\n", 2, publish};
}

Server Redis(int port) {
  auto publisher = std::make_shared<Consumer>(port, nullptr);
  auto waiting = std::make_shared<int>(0);
  auto publish = [publisher, waiting](int messages) {
    std::string all;
    for (int i = 0; i < messages; ++i)
      all += "*3\r\n$7\r\nPUBLISH\r\n$4\r\nfeed\r\n$" + std::to_string(kPayload.size()) + "\r\n" +
             kPayload + "\r\n";
    publisher->Say(all);
    *waiting += messages;
  };
  auto published = [publisher, waiting] {
    std::vector<char> buffer(1 << 16);
    while (*waiting > 0) {
      std::string_view answers = publisher->Hear(buffer);
      *waiting -= static_cast<int>(std::count(answers.begin(), answers.end(), '\n'));
    }
  };
  return {"*2\r\n$9\r\nSUBSCRIBE\r\n$4\r\nfeed\r\n", ":1\r\n", 7, publish, published};
}

// ---- what a process costs ----

// Of all its threads, in nanoseconds.
uint64_t ProcessorTime(const std::string& pid) {
  uint64_t sum = 0;
  for (const auto& task : std::filesystem::directory_iterator("/proc/" + pid + "/task")) {
    std::ifstream stat(task.path() / "schedstat");
    uint64_t used = 0;
    if (stat >> used) sum += used;
  }
  return sum;
}

int64_t Memory(const std::string& pid) {
  std::ifstream status("/proc/" + pid + "/status");
  for (std::string line; std::getline(status, line);)
    if (line.starts_with("RssAnon:")) return std::atoll(line.c_str() + 8) * 1024;
  return 0;
}

// ---- bursts ----

struct Burst {
  int64_t spread;  // nanoseconds from the first byte to the last
  int64_t whole;   // from the beginning to the last byte
};

class Crowd {
 public:
  Crowd(const Server& server, int port, int count, SSL_CTX* tls) : server_(server) {
    for (int i = 0; i < count; ++i) {
      consumers_.emplace_back(port, tls);
      consumers_.back().Say(server_.greeting);
    }
    for (int i = 0; i < count; ++i) {
      AwaitGreeting(consumers_[static_cast<size_t>(i)]);
      epoll_event interest{};
      interest.events = EPOLLIN;
      interest.data.u32 = static_cast<uint32_t>(i);
      epoll_ctl(poll_, EPOLL_CTL_ADD, consumers_[static_cast<size_t>(i)].fd(), &interest);
    }
  }
  ~Crowd() { close(poll_); }
  Crowd(const Crowd&) = delete;
  Crowd& operator=(const Crowd&) = delete;

  Burst Receive(int messages) {
    Expect(messages);
    auto began = Clock::now();
    server_.publish(messages);
    Wait();
    auto first = Clock::now();
    TakeReady();
    AwaitBurst();
    auto last = Clock::now();
    server_.published();
    return {(last - first).count(), (last - began).count()};
  }

  // Nanoseconds from the first burst's beginning to the last one's last byte.
  int64_t Stream(int messages, int bursts) {
    Expect(messages);
    auto began = Clock::now();
    server_.publish(messages);
    for (int left = bursts - 1; left >= 0; --left) {
      if (left > 0) server_.publish(messages);
      AwaitBurst();
      if (left > 0) ExpectNext();
    }
    auto last = Clock::now();
    server_.published();
    return (last - began).count();
  }

 private:
  void Expect(int messages) {
    burst_line_feeds_ = static_cast<size_t>(messages) * server_.line_feeds;
    line_feeds_ = 0;
    ends_.clear();
    received_.assign(consumers_.size(), 0);
    waiting_ = consumers_.size();
  }

  void ExpectNext() {
    ends_.pop_front();
    waiting_ = consumers_.size();
    if (!ends_.empty()) CountWaiting();
  }

  void AwaitBurst() {
    while (waiting_ > 0) {
      Wait();
      TakeReady();
    }
  }

  void AwaitGreeting(Consumer& consumer) {
    std::string said;
    while (said.find(server_.greeted) == said.npos) said += consumer.Hear(buffer_);
    consumer.StopWaiting();
  }

  void Wait() {
    ready_ = epoll_wait(poll_, events_.data(), static_cast<int>(events_.size()), kPatience);
    if (ready_ <= 0) throw std::runtime_error("nothing arrived for a minute");
  }

  void TakeReady() {
    for (int i = 0; i < ready_; ++i) {
      size_t index = events_[static_cast<size_t>(i)].data.u32;
      do {
        Take(index);
      } while (consumers_[index].HoldsMore());
    }
  }

  void Take(size_t index) {
    if (index > 0) {
      bool lacked = Lacks(index);
      received_[index] += consumers_[index].Skip(buffer_);
      if (lacked && !Lacks(index)) --waiting_;
      return;
    }
    bool lacked = Lacks(0);
    bool known = !ends_.empty();
    std::string_view text = consumers_[0].Take(buffer_);
    for (size_t at = text.find('\n'); at != text.npos; at = text.find('\n', at + 1)) {
      if (++line_feeds_ % burst_line_feeds_ == 0) ends_.push_back(received_[0] + at + 1);
    }
    received_[0] += text.size();
    if (!known && !ends_.empty()) {
      CountWaiting();
    } else if (lacked && !Lacks(0)) {
      --waiting_;
    }
  }

  // Now it is known how much the burst is; some may have it already.
  void CountWaiting() {
    for (size_t i = 0; i < consumers_.size(); ++i) waiting_ -= Lacks(i) ? 0 : 1;
  }

  // The first consumer may have had a server's ping between the messages, which others have not.
  bool Lacks(size_t index) const {
    return ends_.empty() || received_[index] + kPing < ends_.front();
  }

  const Server& server_;
  std::vector<Consumer> consumers_;
  int poll_ = epoll_create1(0);
  std::vector<epoll_event> events_ = std::vector<epoll_event>(256);
  std::vector<char> buffer_ = std::vector<char>(256 << 10);
  int ready_ = 0;
  std::vector<size_t> received_;  // bytes since what is expected began
  size_t burst_line_feeds_ = 0;
  size_t line_feeds_ = 0;    // at the first consumer
  std::deque<size_t> ends_;  // bytes up to each burst's end that the first consumer has; the first
                             // is the one that is waited for
  size_t waiting_ = 0;       // consumers that lack something of that one
};

int64_t MedianOf(const std::vector<Burst>& bursts, int64_t Burst::*what) {
  std::vector<int64_t> values;
  for (const Burst& burst : bursts) values.push_back(burst.*what);
  std::sort(values.begin(), values.end());
  return values[values.size() / 2];
}

int Measure(const Server& server, const std::vector<std::string>& words, SSL_CTX* tls) {
  const std::string& pid = words[2];
  int consumers = std::atoi(words[3].c_str());
  int messages = std::atoi(words[4].c_str());
  int64_t before = Memory(pid);
  Crowd crowd(server, std::atoi(words[1].c_str()), consumers, tls);
  int64_t added = Memory(pid) - before;
  crowd.Receive(messages);  // warms everything
  std::vector<Burst> bursts;
  uint64_t used = ProcessorTime(pid);
  int count = std::atoi(words[5].c_str());
  for (int i = 0; i < count; ++i) bursts.push_back(crowd.Receive(messages));
  used = ProcessorTime(pid) - used;
  uint64_t in_stream = ProcessorTime(pid);
  int64_t stream = crowd.Stream(messages, count);
  in_stream = ProcessorTime(pid) - in_stream;
  std::printf("%ld %ld %lu %ld %ld %lu\n", MedianOf(bursts, &Burst::spread),
              MedianOf(bursts, &Burst::whole), used, added, stream, in_stream);
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  std::vector<std::string> words(argv + 1, argv + argc);
  std::unique_ptr<SSL_CTX, decltype(&SSL_CTX_free)> tls(SSL_CTX_new(TLS_client_method()),
                                                        SSL_CTX_free);
  try {
    if (words.size() == 8 && words[0] == "feed")
      return Measure(Feed(words[7]), words, words[6] == "tls" ? tls.get() : nullptr);
    if (words.size() == 6 && words[0] == "nats")
      return Measure(Nats(std::atoi(words[1].c_str())), words, nullptr);
    if (words.size() == 6 && words[0] == "redis")
      return Measure(Redis(std::atoi(words[1].c_str())), words, nullptr);
  } catch (const std::exception& error) {
    std::fprintf(stderr, "fanout: %s\n", error.what());
    return 1;
  }
  std::fprintf(
      stderr, "usage: fanout feed|nats|redis PORT PID CONSUMERS MESSAGES BURSTS [tls|plain URL]\n");
  return 2;
}
