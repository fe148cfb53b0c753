// A feed whose every word a test scripts: the server's end of plain connections.
#pragma once

#include <arpa/inet.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <nlohmann/json.hpp>
#include <string>
#include <utility>

namespace syncflow::client {

inline std::string ChangeLine(const std::string& cursor, const std::string& id = "op") {
  return R"({"type":"change","cursor":")" + cursor + R"(","op":{"id":")" + id + "\"}}";
}

// One connection, seen from the server.
class Peer {
 public:
  explicit Peer(int fd) : fd_(fd) {}
  ~Peer() { close(fd_); }
  Peer(const Peer&) = delete;
  Peer& operator=(const Peer&) = delete;

  int fd() const { return fd_; }
  // Empty at the end.
  std::string ReadLine() {
    size_t end;
    while ((end = input_.find('\n')) == std::string::npos) {
      char bytes[4096];
      ssize_t got = read(fd_, bytes, sizeof bytes);
      if (got <= 0) return "";
      input_.append(bytes, static_cast<size_t>(got));
    }
    std::string line = input_.substr(0, end);
    input_.erase(0, end + 1);
    return line;
  }
  void Send(const std::string& line) { SendBytes(line + "\n"); }
  void SendBytes(const std::string& bytes) { send(fd_, bytes.data(), bytes.size(), MSG_NOSIGNAL); }
  // Reads the client's hello and answers it.
  nlohmann::json Greet(const std::string& start = "", double heartbeat = 300) {
    nlohmann::json hello = nlohmann::json::parse(ReadLine());
    nlohmann::json answer = {
        {"type", "hello"}, {"request", hello["request"]}, {"heartbeat", heartbeat}};
    if (!start.empty()) answer["start"] = start;
    Send(answer.dump());
    return hello;
  }
  // Whatever the client still says, until it goes.
  void AwaitEnd() {
    while (!SeesTheEnd()) continue;
  }
  bool SeesTheEnd() {
    char c;
    return read(fd_, &c, 1) <= 0;
  }

 private:
  int fd_;
  std::string input_;
};

class Listener {
 public:
  Listener() : fd_(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t size = sizeof address;
    bind(fd_, reinterpret_cast<sockaddr*>(&address), size);
    listen(fd_, 16);
    getsockname(fd_, reinterpret_cast<sockaddr*>(&address), &size);
    port_ = std::to_string(ntohs(address.sin_port));
  }
  ~Listener() { close(fd_); }
  Listener(const Listener&) = delete;
  Listener& operator=(const Listener&) = delete;

  std::string address() const { return "127.0.0.1:" + port_; }
  const std::string& port() const { return port_; }
  Peer Accept() const { return Peer(accept(fd_, nullptr, nullptr)); }
  // Who connects is refused from now on.
  void Shut() const { shutdown(fd_, SHUT_RDWR); }

 private:
  int fd_;
  std::string port_;
};

}  // namespace syncflow::client
