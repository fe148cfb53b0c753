// A feed on a journal of its own, and consumers that know nothing but sockets and lines.
#pragma once

#include <arpa/inet.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <filesystem>
#include <functional>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

#include "sidecar/feed/encode.h"
#include "sidecar/feed/feed.h"

namespace syncflow::feed {

inline constexpr int kPatienceMs = 60'000;  // ends a hang; nothing is measured

class Consumer {
 public:
  // `receive_buffer` of 0 leaves the size to the kernel.
  explicit Consumer(uint16_t port, int receive_buffer = 0) : fd_(socket(AF_INET, SOCK_STREAM, 0)) {
    if (receive_buffer > 0)
      setsockopt(fd_, SOL_SOCKET, SO_RCVBUF, &receive_buffer, sizeof receive_buffer);
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_port = htons(port);
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    connected_ = connect(fd_, reinterpret_cast<sockaddr*>(&address), sizeof address) == 0;
  }
  ~Consumer() { Vanish(); }
  Consumer(const Consumer&) = delete;
  Consumer& operator=(const Consumer&) = delete;

  bool connected() const { return connected_; }
  void Say(std::string_view text) const {
    ASSERT_EQ(send(fd_, text.data(), text.size(), MSG_NOSIGNAL), static_cast<ssize_t>(text.size()));
  }
  void Hello(const std::string& more = "") const {
    Say(R"({"type":"hello","version":1)" + more + "}\n");
  }
  void EndInput() const { shutdown(fd_, SHUT_WR); }
  // With a reset where anything was left unread.
  void Vanish() {
    if (fd_ >= 0) close(std::exchange(fd_, -1));
  }

  // The next line with its end. Without an end: what a torn line leaves, or nothing at the end.
  std::string Line() {
    size_t end;
    while ((end = buffer_.find('\n', begin_)) == std::string::npos) {
      if (!Fill()) return buffer_.substr(std::exchange(begin_, buffer_.size()));
    }
    size_t from = std::exchange(begin_, end + 1);
    return buffer_.substr(from, begin_ - from);
  }
  std::string LineOf(const std::string& type) {
    std::string line = Line();
    while (!line.empty() && !line.starts_with("{\"type\":\"" + type + "\"")) line = Line();
    return line;
  }

 private:
  bool Fill() {
    pollfd wait{fd_, POLLIN, 0};
    if (poll(&wait, 1, kPatienceMs) <= 0) {
      ADD_FAILURE() << "nothing came";
      return false;
    }
    buffer_.erase(0, std::exchange(begin_, 0));
    size_t size = buffer_.size();
    buffer_.resize(size + (64 << 10));
    ssize_t got = recv(fd_, buffer_.data() + size, 64 << 10, 0);
    buffer_.resize(size + static_cast<size_t>(std::max<ssize_t>(got, 0)));
    return got > 0;
  }

  int fd_;
  bool connected_ = false;
  std::string buffer_;
  size_t begin_ = 0;
};

class FeedRig : public ::testing::Test {
 protected:
  FeedRig() {
    std::string name = (std::filesystem::temp_directory_path() / "syncflow-feed-XXXXXX").string();
    journal_options_.directory = mkdtemp(name.data());
    journal_options_.allow_any_filesystem = true;
    journal_options_.sync_interval = std::chrono::milliseconds(1);
    options_.listen = "127.0.0.1:0";
    options_.hello_timeout = std::chrono::milliseconds(500);
    options_.server_name = "syncflow-sidecar/0.1.0";
  }
  ~FeedRig() override {
    feed_.reset();
    journal_.reset();
    std::filesystem::remove_all(journal_options_.directory);
  }

  void StartUnbound() {
    journal_ = std::make_unique<journal::Journal>(journal_options_);
    feed_ = std::make_unique<Feed>(options_, *journal_);
    journal_->OnAnnounce([this] { feed_->Announce(); });
    feed_->Start();
  }
  void Bind(uint64_t start = 0x1000) {
    epoch_ = journal_->Bind({"1", 1, "app", "public.operations", "slot"}, replication::Lsn(start));
  }
  void Start() {
    StartUnbound();
    Bind();
  }

  std::string LineAt(uint64_t commit, size_t pad) const {
    std::string data = "\"" + std::string(pad, static_cast<char>('a' + commit / 8 % 26)) + "\"";
    replication::Change change;
    change.operation = {"op", "insert", "todos", "doc-1", data, 1, "client-1", false, "{}"};
    change.commit_lsn = replication::Lsn(commit);
    Encoder encoder(epoch_, 64 << 20);
    encoder.Encode(change);
    return std::string(encoder.Finish(true));
  }
  void Commit(uint64_t commit, size_t pad = 10) {
    journal_->Append({replication::Lsn(commit), 0}, LineAt(commit, pad));
    journal_->Flush(replication::Lsn(commit + 8));
  }
  // One-change transactions from `commit` on, until the journal has grown by `bytes`; returns the
  // commit after the last.
  uint64_t CommitMany(uint64_t commit, uint64_t bytes, size_t pad) {
    uint64_t end = journal_->head().offset + bytes;
    for (; journal_->head().offset < end; commit += 8) Commit(commit, pad);
    return commit;
  }
  void WaitDurable() const {
    journal_->SyncSoon();
    Wait([this] { return journal_->durable() >= journal_->recorded(); });
  }
  static void Wait(const std::function<bool()>& holds) {
    for (int waited = 0; !holds(); ++waited) {
      ASSERT_LT(waited, kPatienceMs) << "never came true";
      std::this_thread::sleep_for(std::chrono::milliseconds(1));
    }
  }
  uint64_t Closed(size_t reason) const { return feed_->probe().closed[reason]; }

  std::string CursorText(uint64_t commit) const {
    return journal::Cursor{epoch_, {replication::Lsn(commit), 0}}.ToString();
  }

  journal::Options journal_options_;
  Options options_;
  std::unique_ptr<journal::Journal> journal_;
  std::unique_ptr<Feed> feed_;
  journal::Epoch epoch_{};
};

inline std::string CursorOf(const std::string& line, const char* key = "cursor") {
  auto json = nlohmann::json::parse(line, nullptr, false);
  if (!json.is_object() || !json.contains(key)) return "none in " + line.substr(0, 200);
  return json[key];
}

}  // namespace syncflow::feed
