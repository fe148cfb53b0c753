#include "sidecar/journal/consumers.h"

#include <fstream>
#include <nlohmann/json.hpp>

#include "sidecar/journal/error.h"
#include "sidecar/journal/file.h"

namespace syncflow::journal {
namespace {

using std::chrono::microseconds;
using Json = nlohmann::ordered_json;

constexpr const char* kName = "consumers.json";
constexpr int kFormat = 1;
// A consumer that only listens is written down this often, so that nobody takes it for forgotten.
constexpr int64_t kSeenStep = 3600ll * 1'000'000;
constexpr microseconds kRanStep(kSeenStep);

[[noreturn]] void Damaged(const std::filesystem::path& path) {
  throw Error(
      Error::Kind::kDamaged,
      path.string() +
          " cannot be understood: restore it, or remove it, and named consumers begin where "
          "they say or at the head");
}

}  // namespace

microseconds SteadyTime() {
  return std::chrono::duration_cast<microseconds>(
      std::chrono::steady_clock::now().time_since_epoch());
}

Consumers::Consumers(const std::filesystem::path& folder, Steady steady)
    : path_(folder / kName), steady_(std::move(steady)), began_(steady_()) {
  std::error_code ignored;
  if (std::filesystem::exists(path_, ignored)) Load();
  saved_ran_ = ran_before_;
}

void Consumers::Load() {
  std::ifstream in(path_);
  Json file = Json::parse(in, nullptr, false);
  try {
    if (file.at("format").get<int>() != kFormat) Damaged(path_);
    ran_before_ = microseconds(file.value("ran", int64_t{0}));
    for (const Json& each : file.at("consumers")) {
      auto cursor = Cursor::Parse(each.at("acknowledged").get<std::string>());
      if (!cursor) Damaged(path_);
      Entry& entry = entries_[each.at("name").get<std::string>()];
      entry.token = entry.token_saved = each.value("token", "");
      entry.acknowledged = *cursor;
      entry.saved = cursor;
      entry.seen_at = entry.seen_saved = each.at("seen_at").get<int64_t>();
      entry.seen_ran = microseconds(each.value("seen_ran", int64_t{0}));
    }
  } catch (const Json::exception&) {
    Damaged(path_);
  }
}

// ---- asked ----

NamedPosition Consumers::Named(const std::string& name, const Entry& entry) const {
  return {name,          entry.token,           entry.acknowledged, entry.connected,
          entry.seen_at, Ran() - entry.seen_ran};
}

std::optional<NamedPosition> Consumers::Find(std::string_view name) const {
  std::lock_guard held(mutex_);
  auto found = entries_.find(name);
  if (found == entries_.end()) return std::nullopt;
  return Named(found->first, found->second);
}

std::vector<NamedPosition> Consumers::List() const {
  std::lock_guard held(mutex_);
  std::vector<NamedPosition> list;
  list.reserve(entries_.size());
  for (const auto& [name, entry] : entries_) list.push_back(Named(name, entry));
  return list;
}

std::optional<Position> Consumers::Slowest(Epoch epoch, microseconds age, int64_t now) const {
  std::lock_guard held(mutex_);
  std::optional<Position> slowest;
  for (const auto& [name, entry] : entries_) {
    if (entry.acknowledged.epoch != epoch || Named(name, entry).WasAway(age, now)) continue;
    Position position = entry.acknowledged.position;
    if (entry.saved && entry.saved->epoch == epoch)
      position = std::min(position, entry.saved->position);
    if (!slowest || position < *slowest) slowest = position;
  }
  return slowest;
}

bool Consumers::all_saved() const {
  std::lock_guard held(mutex_);
  return IsAllSaved();
}

bool Consumers::IsAllSaved() const {
  bool ran_saved = entries_.empty() || Ran() - saved_ran_ <= kRanStep;
  return version_ == saved_version_ && ran_saved;
}

uint64_t Consumers::saves() const {
  std::lock_guard held(mutex_);
  return saves_;
}

std::optional<Cursor> Consumers::Saved(std::string_view name) const {
  std::lock_guard held(mutex_);
  auto found = entries_.find(name);
  if (found == entries_.end()) return std::nullopt;
  return found->second.saved;
}

bool Consumers::IsSaved(std::string_view name, std::string_view token) const {
  std::lock_guard held(mutex_);
  auto found = entries_.find(name);
  if (found == entries_.end() || !found->second.saved) return false;
  const Entry& entry = found->second;
  return token.empty() || (entry.token == token && entry.token_saved == token);
}

// ---- changed ----

bool Consumers::Move(const std::string& name, const Cursor& to, int64_t now,
                     const std::string& token) {
  std::lock_guard held(mutex_);
  if (entries_.size() >= kMax && !entries_.contains(name)) return false;
  Entry& entry = entries_[name];
  if (entry.token.empty()) entry.token = token;
  entry.acknowledged = to;
  entry.seen_at = now;
  entry.seen_ran = Ran();
  ++version_;
  return true;
}

void Consumers::Acknowledge(std::string_view name, const Cursor& cursor) {
  std::lock_guard held(mutex_);
  auto found = entries_.find(name);
  if (found == entries_.end()) return;
  Cursor& acknowledged = found->second.acknowledged;
  if (acknowledged.epoch != cursor.epoch || acknowledged.position >= cursor.position) return;
  acknowledged = cursor;
  ++version_;
}

void Consumers::Seen(std::string_view name, bool connected, int64_t now) {
  std::lock_guard held(mutex_);
  auto found = entries_.find(name);
  if (found == entries_.end()) return;
  found->second.connected = connected;
  found->second.seen_at = now;
  found->second.seen_ran = Ran();
  if (now - found->second.seen_saved > kSeenStep) ++version_;
}

Consumers::Outcome Consumers::ChangeIdle(std::string_view name,
                                         const std::function<void(Entries::iterator)>& change) {
  std::lock_guard held(mutex_);
  auto found = entries_.find(name);
  if (found == entries_.end()) return Outcome::kUnknown;
  if (found->second.connected) return Outcome::kConnected;
  change(found);
  ++version_;
  return Outcome::kDone;
}

Consumers::Outcome Consumers::MoveIdle(std::string_view name, const Cursor& to) {
  return ChangeIdle(name, [&](auto entry) { entry->second.acknowledged = to; });
}

Consumers::Outcome Consumers::GiveIdle(std::string_view name, const std::string& token) {
  return ChangeIdle(name, [&](auto entry) { entry->second.token = token; });
}

Consumers::Outcome Consumers::RemoveIdle(std::string_view name) {
  return ChangeIdle(name, [&](auto entry) { entries_.erase(entry); });
}

// ---- kept ----

void Consumers::Save() {
  std::lock_guard one_at_a_time(saving_);
  std::unique_lock held(mutex_);
  if (IsAllSaved()) return;
  Entries entries = entries_;
  uint64_t version = version_;
  microseconds ran = Ran();
  held.unlock();
  Json list = Json::array();
  for (const auto& [name, entry] : entries) {
    list.push_back({{"name", name},
                    {"token", entry.token},
                    {"acknowledged", entry.acknowledged.ToString()},
                    {"seen_at", entry.seen_at},
                    {"seen_ran", entry.seen_ran.count()}});
  }
  Json file = {{"format", kFormat}, {"ran", ran.count()}, {"consumers", list}};
  WriteFileAtomically(path_, file.dump(1) + "\n");
  held.lock();
  saved_version_ = version;
  saved_ran_ = ran;
  ++saves_;
  for (const auto& [name, entry] : entries) {
    auto found = entries_.find(name);
    if (found == entries_.end()) continue;
    found->second.saved = entry.acknowledged;
    found->second.token_saved = entry.token;
    found->second.seen_saved = entry.seen_at;
  }
}

}  // namespace syncflow::journal
