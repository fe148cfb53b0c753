// The feed protocol's lines, version 1 (PROTOCOL.md of this room shows them all). Pure: text in,
// value out, and back.
#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "sidecar/journal/cursor.h"

namespace syncflow::feed {

inline constexpr size_t kClientLineMax = 8 << 10;
inline constexpr size_t kNameMax = 128;
inline constexpr uint32_t kWindowMax = 10'000;
inline constexpr size_t kCollectionsMax = 256;
inline constexpr size_t kCollectionBytesMax = 128;
inline constexpr int kProtocolVersion = 1;

// ---- what clients send ----

enum class From { kLatest, kEarliest, kSnapshot, kCursor };

struct Hello {
  std::string request;  // echoed, so that a client knows which hello a stream answers
  std::string token;
  std::string name;  // of a durable consumer; empty: none
  // kLatest when the hello does not say; for a name that is known it means then where it stands.
  From from = From::kLatest;
  bool says_from = false;
  journal::Cursor cursor;  // with kCursor: everything after it
  std::string snapshot;    // with kSnapshot: the one that was begun, if it is still there,
  uint64_t number = 0;     // and its first document that is missing
  std::optional<std::chrono::seconds> heartbeat;
  bool continue_after_gap = false;
  std::vector<std::string> collections;  // none = all
  uint32_t window = 0;                   // changes without an ack before the feed pauses; 0 = off
};

// Everything up to `cursor` is processed.
struct Ack {
  journal::Cursor cursor;
};

struct Ping {
  std::string id;
};

// Something a later version may define; ignored.
struct Unknown {};

// What the client got wrong. Fatal unless the code says otherwise.
struct Refusal {
  std::string code;
  std::string message;
  bool fatal = true;
};

using Command = std::variant<Hello, Ack, Ping, Unknown, Refusal>;

// One line without its end. Never throws.
Command ParseCommand(std::string_view line);

// ---- what the server sends; every line ends with '\n' ----

struct ServerHello {
  std::string request;
  std::string server;
  journal::Epoch epoch{};
  std::optional<journal::Position> start;  // none in front of a snapshot
  journal::Position head;
  journal::Position earliest;
  std::chrono::seconds heartbeat{0};
  uint64_t line_bytes_max = 0;
  std::vector<std::string> collections;  // the stream is limited to these; none: it is not
  bool plain = false;
};

struct ErrorDetails {
  bool fatal = true;
  bool retry = false;
  std::optional<journal::Cursor> earliest;
  std::optional<journal::Cursor> head;
};

std::string HelloLine(const ServerHello& hello);
std::string LiveLine(const journal::Cursor& cursor);
// Nothing is delivered in front of the end of a snapshot.
std::string HeartbeatLine(const std::optional<journal::Cursor>& delivered,
                          const journal::Cursor& head, int64_t at_microseconds);
std::string GapLine(const journal::Cursor& after, const journal::Cursor& resume,
                    std::string_view reason);
std::string SnapshotBeginLine(std::string_view snapshot, const journal::Cursor& as_of,
                              const std::vector<std::string>& collections);
std::string SnapshotEndLine(std::string_view snapshot, const journal::Cursor& as_of,
                            uint64_t documents);
std::string AckedLine(const journal::Cursor& cursor);
std::string PongLine(std::string_view id, const std::optional<journal::Cursor>& delivered);
std::string ErrorLine(std::string_view code, std::string_view message, const ErrorDetails& details);
std::string ByeLine(std::string_view code, const std::optional<journal::Cursor>& delivered,
                    int retry_ms);

}  // namespace syncflow::feed
