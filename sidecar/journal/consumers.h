// How far each named consumer has acknowledged the feed; kept in consumers.json in the journal's
// folder:
//
//   {"format":1,"consumers":[{"name":"billing","acknowledged":"9c41e07b.0000000014319470.3",
//    "seen_at":1763900000000000}]}
//
// What is set is in memory at once and durable after the next Save. A crash between loses
// acknowledgements, which repeats changes, and never gains any.
#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "sidecar/journal/cursor.h"

namespace syncflow::journal {

struct NamedPosition {
  std::string name;
  Cursor acknowledged;
  bool connected = false;
  int64_t seen_at = 0;  // microseconds since 1970: when it was last connected
};

// Any thread.
class Consumers {
 public:
  static constexpr size_t kMax = 10'000;

  // Loads the file; Error{kDamaged} when it cannot be understood.
  explicit Consumers(const std::filesystem::path& folder);

  std::optional<NamedPosition> Find(std::string_view name) const;
  // In the order of their names.
  std::vector<NamedPosition> List() const;
  // Where the slowest of `epoch` stands that was seen at `since` or later.
  std::optional<Position> Slowest(Epoch epoch, int64_t since) const;

  // Puts `name` anywhere, forwards or backwards. False when there are kMax others already.
  bool Move(const std::string& name, const Cursor& to, int64_t now);
  // Forwards only: an older cursor changes nothing. `name` must be known.
  void Acknowledge(std::string_view name, const Cursor& cursor);
  void Seen(std::string_view name, bool connected, int64_t now);
  // An operator's: nothing is done to one that is unknown or connected.
  enum class Outcome { kDone, kUnknown, kConnected };
  Outcome MoveIdle(std::string_view name, const Cursor& to);
  Outcome RemoveIdle(std::string_view name);

  // Makes durable what has changed. Throws Error.
  void Save();
  bool all_saved() const;
  // Rises with every Save that wrote something.
  uint64_t saves() const;
  // What the last Save has made durable of it.
  std::optional<Cursor> Saved(std::string_view name) const;

 private:
  struct Entry {
    Cursor acknowledged;
    std::optional<Cursor> saved;
    bool connected = false;
    int64_t seen_at = 0;
    int64_t seen_saved = 0;
  };
  using Entries = std::map<std::string, Entry, std::less<>>;

  void Load();

  const std::filesystem::path path_;
  mutable std::mutex mutex_;
  Entries entries_;
  uint64_t version_ = 0;  // rises with every change
  std::mutex saving_;     // one Save at a time; taken before mutex_
  uint64_t saved_version_ = 0;
  uint64_t saves_ = 0;
};

}  // namespace syncflow::journal
