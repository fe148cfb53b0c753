// How far each named consumer has acknowledged the feed; kept in consumers.json in the journal's
// folder:
//
//   {"format":1,"ran":7200000000,"consumers":[{"name":"billing",
//    "token":"invoicing","acknowledged":"9c41e07b.0000000014319470.3","seen_at":1763900000000000,
//    "seen_ran":60000000}]}
//
// `token` names the token whose holder alone may take the name; empty: whoever may connect.
//
// `ran` is how long sidecars have run on this folder, in microseconds, to the hour where they were
// killed. Who was away counts as forgotten by the wall clock and by that: a clock that jumps ahead
// makes nobody old.
//
// What is set is in memory at once and durable after the next Save. A crash between loses
// acknowledgements, which repeats changes, and never gains any.
#pragma once

#include <chrono>
#include <cstdint>
#include <filesystem>
#include <functional>
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
  std::string token;  // whose it is; empty: nobody's
  Cursor acknowledged;
  bool connected = false;
  int64_t seen_at = 0;                  // microseconds since 1970: when it was last connected
  std::chrono::microseconds missed{0};  // how long the sidecar has run since

  // For longer than `age`, at `now`, microseconds since 1970.
  bool WasAway(std::chrono::microseconds age, int64_t now) const {
    return seen_at < now - age.count() && missed > age;
  }
};

// Of a clock that nobody sets.
std::chrono::microseconds SteadyTime();

// Any thread.
class Consumers {
 public:
  static constexpr size_t kMax = 10'000;

  using Steady = std::function<std::chrono::microseconds()>;

  // Loads the file; Error{kDamaged} when it cannot be understood.
  explicit Consumers(const std::filesystem::path& folder, Steady steady = SteadyTime);

  std::optional<NamedPosition> Find(std::string_view name) const;
  // In the order of their names.
  std::vector<NamedPosition> List() const;
  // Where the slowest of `epoch` stands that was not away for longer than `age`: as a crash would
  // find it, what it has acknowledged since the last Save left out.
  std::optional<Position> Slowest(Epoch epoch, std::chrono::microseconds age, int64_t now) const;

  // Puts `name` anywhere, forwards or backwards. False when there are kMax others already. The
  // first token makes it its own.
  bool Move(const std::string& name, const Cursor& to, int64_t now, const std::string& token = "");
  // Forwards only: an older cursor changes nothing. `name` must be known.
  void Acknowledge(std::string_view name, const Cursor& cursor);
  void Seen(std::string_view name, bool connected, int64_t now);
  // An operator's: nothing is done to one that is unknown or connected. Given to the token "", a
  // name is nobody's.
  enum class Outcome { kDone, kUnknown, kConnected };
  Outcome MoveIdle(std::string_view name, const Cursor& to);
  Outcome GiveIdle(std::string_view name, const std::string& token);
  Outcome RemoveIdle(std::string_view name);

  // Makes durable what has changed. Throws Error.
  void Save();
  bool all_saved() const;
  // Rises with every Save that wrote something.
  uint64_t saves() const;
  // What the last Save has made durable of it.
  std::optional<Cursor> Saved(std::string_view name) const;
  // That it has a place, and is that token's where one is given, is durable.
  bool IsSaved(std::string_view name, std::string_view token) const;

 private:
  struct Entry {
    std::string token;
    Cursor acknowledged;
    std::optional<Cursor> saved;
    std::string token_saved;
    bool connected = false;
    int64_t seen_at = 0;
    int64_t seen_saved = 0;
    std::chrono::microseconds seen_ran{0};
  };
  using Entries = std::map<std::string, Entry, std::less<>>;

  void Load();
  NamedPosition Named(const std::string& name, const Entry& entry) const;
  // How long sidecars have run.
  std::chrono::microseconds Ran() const { return ran_before_ + steady_() - began_; }
  bool IsAllSaved() const;  // under mutex_
  Outcome ChangeIdle(std::string_view name, const std::function<void(Entries::iterator)>& change);

  const std::filesystem::path path_;
  const Steady steady_;
  const std::chrono::microseconds began_;
  std::chrono::microseconds ran_before_{0};
  mutable std::mutex mutex_;
  Entries entries_;
  uint64_t version_ = 0;  // rises with every change
  std::mutex saving_;     // one Save at a time; taken before mutex_
  uint64_t saved_version_ = 0;
  std::chrono::microseconds saved_ran_{0};
  uint64_t saves_ = 0;
};

}  // namespace syncflow::journal
