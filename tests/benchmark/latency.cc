// Commit to consumer: one writer commits one operation at a time, one receiver notes when it has
// the row. Prints one latency in nanoseconds a line, counted from the moment the INSERT is sent.
//
//   latency feed   URL HOST PORT N   the sidecar's feed
//   latency slot   URL SLOT N        wal2json read from a slot of its own, nothing in between
//   latency notify URL N             LISTEN operation_inserted, then SELECT the row
#include <arpa/inet.h>
#include <libpq-fe.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <memory>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

namespace {

using Clock = std::chrono::steady_clock;

struct ClearResult {
  void operator()(PGresult* result) const { PQclear(result); }
};
struct FinishConnection {
  void operator()(PGconn* connection) const { PQfinish(connection); }
};
using Result = std::unique_ptr<PGresult, ClearResult>;
using Connection = std::unique_ptr<PGconn, FinishConnection>;

Connection Connect(const std::string& url, bool replication = false) {
  const char* keywords[] = {"dbname", "replication", nullptr};
  const char* values[] = {url.c_str(), replication ? "database" : nullptr, nullptr};
  Connection connection(PQconnectdbParams(keywords, values, 1));
  if (PQstatus(connection.get()) != CONNECTION_OK)
    throw std::runtime_error(PQerrorMessage(connection.get()));
  return connection;
}

void Execute(PGconn* connection, const std::string& sql) {
  Result result(PQexec(connection, sql.c_str()));
  auto status = PQresultStatus(result.get());
  if (status != PGRES_COMMAND_OK && status != PGRES_TUPLES_OK && status != PGRES_COPY_BOTH) {
    throw std::runtime_error(PQerrorMessage(connection));
  }
}

void WaitReadable(int fd) {
  pollfd wait{fd, POLLIN, 0};
  if (poll(&wait, 1, 20'000) <= 0) throw std::runtime_error("nothing arrived for 20 s");
}

// Returns once the operation with this id has arrived.
using Receive = std::function<void(const std::string& id)>;

Receive FromFeed(const std::string& host, int port) {
  int fd = socket(AF_INET, SOCK_STREAM, 0);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(static_cast<uint16_t>(port));
  inet_pton(AF_INET, host.c_str(), &address.sin_addr);
  if (connect(fd, reinterpret_cast<sockaddr*>(&address), sizeof address) != 0)
    throw std::runtime_error("feed: cannot connect");
  int on = 1;
  setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
  std::string hello = "{\"type\":\"hello\",\"version\":1,\"from\":\"latest\"}\n";
  if (write(fd, hello.data(), hello.size()) < 0) throw std::runtime_error("feed: cannot write");
  auto buffer = std::make_shared<std::string>();
  auto wait_for = [fd, buffer](const std::string& text) {
    while (buffer->find(text) == std::string::npos) {
      WaitReadable(fd);
      char bytes[65536];
      ssize_t got = read(fd, bytes, sizeof bytes);
      if (got <= 0) throw std::runtime_error("feed: closed");
      buffer->append(bytes, static_cast<size_t>(got));
    }
    buffer->clear();
  };
  wait_for("\"type\":\"live\"");
  return [wait_for](const std::string& id) { wait_for("\"id\":\"" + id + "\""); };
}

Receive FromSlot(const std::string& url, const std::string& slot) {
  std::shared_ptr<PGconn> connection(Connect(url, true).release(), PQfinish);
  Execute(connection.get(), "START_REPLICATION SLOT " + slot +
                                " LOGICAL 0/0 (\"format-version\" '2', \"add-tables\" "
                                "'public.operations', \"actions\" 'insert', "
                                "\"include-lsn\" 'true', \"include-xids\" 'true', "
                                "\"include-timestamp\" 'true', \"include-types\" 'false')");
  return [connection](const std::string& id) {
    std::string wanted = "\"value\":\"" + id + "\"";
    for (;;) {
      char* bytes = nullptr;
      int got = PQgetCopyData(connection.get(), &bytes, 1);
      if (got > 0) {
        bool found = std::string_view(bytes, static_cast<size_t>(got)).find(wanted) !=
                     std::string_view::npos;
        PQfreemem(bytes);
        if (found) return;
      } else if (got == 0) {
        WaitReadable(PQsocket(connection.get()));
        PQconsumeInput(connection.get());
      } else {
        throw std::runtime_error(PQerrorMessage(connection.get()));
      }
    }
  };
}

Receive FromNotify(const std::string& url) {
  std::shared_ptr<PGconn> connection(Connect(url).release(), PQfinish);
  Execute(connection.get(), "LISTEN operation_inserted");
  return [connection](const std::string& id) {
    for (;;) {
      std::unique_ptr<PGnotify, decltype(&PQfreemem)> notify(PQnotifies(connection.get()),
                                                             PQfreemem);
      if (!notify) {
        WaitReadable(PQsocket(connection.get()));
        PQconsumeInput(connection.get());
        continue;
      }
      if (std::strstr(notify->extra, id.c_str()) == nullptr) continue;
      const char* values[] = {id.c_str()};
      Result row(PQexecParams(connection.get(), "SELECT * FROM public.operations WHERE id = $1", 1,
                              nullptr, values, nullptr, nullptr, 0));
      if (PQntuples(row.get()) == 1) return;
      throw std::runtime_error("the notified row is not there");
    }
  };
}

std::string InsertOf(const std::string& id) {
  return "INSERT INTO public.operations (id, type, collection, doc_id, data, timestamp, client_id, "
         "vector_clock) VALUES ('" +
         id +
         "', 'insert', 'todos', 'doc-1', jsonb_build_object('title', repeat('x', 180)), "
         "1700001000000, 'client-1', '{\"client-1\": 2}')";
}

int Measure(const std::string& url, const std::string& mode, const Receive& receive, int count) {
  Connection writer = Connect(url);
  std::atomic<Clock::rep> sent{0};
  std::atomic<int> turn{-1};
  std::string prefix = mode + std::to_string(getpid()) + "-";
  std::thread write([&] {
    for (int i = 0; i < count; ++i) {
      while (turn.load() != i) std::this_thread::sleep_for(std::chrono::microseconds(50));
      std::string sql = InsertOf(prefix + std::to_string(i) + ".");
      sent = Clock::now().time_since_epoch().count();
      Execute(writer.get(), sql);
    }
  });
  for (int i = 0; i < count; ++i) {
    turn = i;
    receive(prefix + std::to_string(i) + ".");
    std::printf("%ld\n", static_cast<long>(Clock::now().time_since_epoch().count() - sent.load()));
    std::this_thread::sleep_for(std::chrono::milliseconds(2));
  }
  write.join();
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  std::vector<std::string> words(argv + 1, argv + argc);
  try {
    if (words.size() == 5 && words[0] == "feed") {
      return Measure(words[1], "feed", FromFeed(words[2], std::atoi(words[3].c_str())),
                     std::atoi(words[4].c_str()));
    }
    if (words.size() == 4 && words[0] == "slot") {
      return Measure(words[1], "slot", FromSlot(words[1], words[2]), std::atoi(words[3].c_str()));
    }
    if (words.size() == 3 && words[0] == "notify") {
      return Measure(words[1], "notify", FromNotify(words[1]), std::atoi(words[2].c_str()));
    }
  } catch (const std::exception& error) {
    std::fprintf(stderr, "latency: %s\n", error.what());
    return 1;
  }
  std::fprintf(stderr, "usage: latency feed URL HOST PORT N | slot URL SLOT N | notify URL N\n");
  return 2;
}
