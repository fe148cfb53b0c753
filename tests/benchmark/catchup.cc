// Consumers that want everything from the beginning, and a bare sendfile of the same bytes.
//
//   catchup feed PORT CONSUMERS          until each is live
//   catchup sendfile CONSUMERS FILE...   from threads of this process, until each has all files
//
// Prints the seconds from the first connection to the last byte, and the bytes that all received.
#include <arpa/inet.h>
#include <fcntl.h>
#include <sys/epoll.h>
#include <sys/sendfile.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <stdexcept>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

namespace {

using Clock = std::chrono::steady_clock;

constexpr std::string_view kLive = "\"type\":\"live\"";
constexpr size_t kPieceBytes = 256 << 10;  // as much as the feed sends at once

sockaddr_in Loopback(int port) {
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(static_cast<uint16_t>(port));
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  return address;
}

int Connect(int port) {
  int fd = socket(AF_INET, SOCK_STREAM, 0);
  sockaddr_in address = Loopback(port);
  if (connect(fd, reinterpret_cast<sockaddr*>(&address), sizeof address) != 0)
    throw std::runtime_error("cannot connect");
  return fd;
}

// The last bytes of a stream, which it may receive in pieces.
class End {
 public:
  void Add(std::string_view bytes) {
    text_ += bytes.substr(bytes.size() - std::min(bytes.size(), kLineMax));
    text_.erase(0, text_.size() - std::min(text_.size(), kLineMax));
  }
  bool IsLive() const { return text_.ends_with('\n') && text_.find(kLive) != text_.npos; }

 private:
  static constexpr size_t kLineMax = 100;  // as long as the line, shorter than any other behind it
  std::string text_;
};

uint64_t ReceiveAll(const std::vector<int>& sockets) {
  int poll = epoll_create1(0);
  for (size_t i = 0; i < sockets.size(); ++i) {
    epoll_event interest{};
    interest.events = EPOLLIN;
    interest.data.u64 = i;
    epoll_ctl(poll, EPOLL_CTL_ADD, sockets[i], &interest);
  }
  std::vector<End> ends(sockets.size());
  std::vector<char> buffer(1 << 20);
  uint64_t bytes = 0;
  epoll_event events[16];
  for (size_t left = sockets.size(); left > 0;) {
    int ready = epoll_wait(poll, events, 16, 60'000);
    if (ready <= 0) throw std::runtime_error("nothing arrived for a minute");
    for (int i = 0; i < ready; ++i) {
      size_t index = events[i].data.u64;
      ssize_t got = recv(sockets[index], buffer.data(), buffer.size(), 0);
      if (got < 0) throw std::runtime_error("a connection broke");
      bytes += static_cast<uint64_t>(got);
      ends[index].Add({buffer.data(), static_cast<size_t>(got)});
      if (got > 0 && !ends[index].IsLive()) continue;
      epoll_ctl(poll, EPOLL_CTL_DEL, sockets[index], nullptr);
      --left;
    }
  }
  close(poll);
  return bytes;
}

void SendFiles(int socket, const std::vector<std::string>& files) {
  for (const std::string& name : files) {
    int fd = open(name.c_str(), O_RDONLY);
    while (sendfile(socket, fd, nullptr, kPieceBytes) > 0) continue;
    close(fd);
  }
  close(socket);
}

// Serves so many connections; the port.
int Serve(int consumers, const std::vector<std::string>& files, std::vector<std::thread>& threads) {
  int listener = socket(AF_INET, SOCK_STREAM, 0);
  sockaddr_in address = Loopback(0);
  socklen_t size = sizeof address;
  bind(listener, reinterpret_cast<sockaddr*>(&address), sizeof address);
  listen(listener, consumers);
  getsockname(listener, reinterpret_cast<sockaddr*>(&address), &size);
  threads.emplace_back([listener, consumers, &files] {
    std::vector<std::thread> senders;
    for (int i = 0; i < consumers; ++i) {
      int socket = accept(listener, nullptr, nullptr);
      senders.emplace_back([socket, &files] { SendFiles(socket, files); });
    }
    for (auto& sender : senders) sender.join();
    close(listener);
  });
  return ntohs(address.sin_port);
}

void Measure(int port, int consumers, std::string_view greeting) {
  auto began = Clock::now();
  std::vector<int> sockets;
  for (int i = 0; i < consumers; ++i) {
    sockets.push_back(Connect(port));
    if (send(sockets.back(), greeting.data(), greeting.size(), MSG_NOSIGNAL) < 0)
      throw std::runtime_error("cannot write");
  }
  uint64_t bytes = ReceiveAll(sockets);
  std::chrono::duration<double> took = Clock::now() - began;
  std::printf("%f %lu\n", took.count(), bytes);
  for (int fd : sockets) close(fd);
}

}  // namespace

int main(int argc, char** argv) {
  std::vector<std::string> words(argv + 1, argv + argc);
  try {
    if (words.size() == 3 && words[0] == "feed") {
      Measure(std::atoi(words[1].c_str()), std::atoi(words[2].c_str()),
              "{\"type\":\"hello\",\"version\":1,\"from\":\"earliest\",\"heartbeat\":300}\n");
      return 0;
    }
    if (words.size() >= 3 && words[0] == "sendfile") {
      int consumers = std::atoi(words[1].c_str());
      std::vector<std::string> files(words.begin() + 2, words.end());
      std::vector<std::thread> threads;
      Measure(Serve(consumers, files, threads), consumers, "");
      for (auto& thread : threads) thread.join();
      return 0;
    }
  } catch (const std::exception& error) {
    std::fprintf(stderr, "catchup: %s\n", error.what());
    return 1;
  }
  std::fprintf(stderr, "usage: catchup feed PORT CONSUMERS | sendfile CONSUMERS FILE...\n");
  return 2;
}
