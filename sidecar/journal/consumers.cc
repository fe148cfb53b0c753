#include "sidecar/journal/consumers.h"

#include <fstream>
#include <nlohmann/json.hpp>

#include "sidecar/journal/error.h"
#include "sidecar/journal/file.h"

namespace syncflow::journal {
namespace {

using Json = nlohmann::ordered_json;

constexpr const char* kName = "consumers.json";
constexpr int kFormat = 1;
// A consumer that only listens is written down this often, so that nobody takes it for forgotten.
constexpr int64_t kSeenStep = 3600ll * 1'000'000;

[[noreturn]] void Damaged(const std::filesystem::path& path) {
  throw Error(
      Error::Kind::kDamaged,
      path.string() +
          " cannot be understood: restore it, or remove it, and named consumers begin where "
          "they say or at the head");
}

}  // namespace

Consumers::Consumers(const std::filesystem::path& folder) : path_(folder / kName) {
  std::error_code ignored;
  if (std::filesystem::exists(path_, ignored)) Load();
}

void Consumers::Load() {
  std::ifstream in(path_);
  Json file = Json::parse(in, nullptr, false);
  try {
    if (file.at("format").get<int>() != kFormat) Damaged(path_);
    for (const Json& each : file.at("consumers")) {
      auto cursor = Cursor::Parse(each.at("acknowledged").get<std::string>());
      if (!cursor) Damaged(path_);
      auto seen_at = each.at("seen_at").get<int64_t>();
      entries_[each.at("name").get<std::string>()] = {*cursor, cursor, false, seen_at, seen_at};
    }
  } catch (const Json::exception&) {
    Damaged(path_);
  }
}

// ---- asked ----

std::optional<NamedPosition> Consumers::Find(std::string_view name) const {
  std::lock_guard held(mutex_);
  auto found = entries_.find(name);
  if (found == entries_.end()) return std::nullopt;
  const Entry& entry = found->second;
  return NamedPosition{found->first, entry.acknowledged, entry.connected, entry.seen_at};
}

std::vector<NamedPosition> Consumers::List() const {
  std::lock_guard held(mutex_);
  std::vector<NamedPosition> list;
  list.reserve(entries_.size());
  for (const auto& [name, entry] : entries_)
    list.push_back({name, entry.acknowledged, entry.connected, entry.seen_at});
  return list;
}

std::optional<Position> Consumers::Slowest(Epoch epoch, int64_t since) const {
  std::lock_guard held(mutex_);
  std::optional<Position> slowest;
  for (const auto& [name, entry] : entries_) {
    if (entry.acknowledged.epoch != epoch || entry.seen_at < since) continue;
    Position position = entry.acknowledged.position;
    if (!slowest || position < *slowest) slowest = position;
  }
  return slowest;
}

bool Consumers::all_saved() const {
  std::lock_guard held(mutex_);
  return version_ == saved_version_;
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

// ---- changed ----

bool Consumers::Move(const std::string& name, const Cursor& to, int64_t now) {
  std::lock_guard held(mutex_);
  if (entries_.size() >= kMax && !entries_.contains(name)) return false;
  Entry& entry = entries_[name];
  entry.acknowledged = to;
  entry.seen_at = now;
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
  if (now - found->second.seen_saved > kSeenStep) ++version_;
}

Consumers::Outcome Consumers::MoveIdle(std::string_view name, const Cursor& to) {
  std::lock_guard held(mutex_);
  auto found = entries_.find(name);
  if (found == entries_.end()) return Outcome::kUnknown;
  if (found->second.connected) return Outcome::kConnected;
  found->second.acknowledged = to;
  ++version_;
  return Outcome::kDone;
}

Consumers::Outcome Consumers::RemoveIdle(std::string_view name) {
  std::lock_guard held(mutex_);
  auto found = entries_.find(name);
  if (found == entries_.end()) return Outcome::kUnknown;
  if (found->second.connected) return Outcome::kConnected;
  entries_.erase(found);
  ++version_;
  return Outcome::kDone;
}

// ---- kept ----

void Consumers::Save() {
  std::lock_guard one_at_a_time(saving_);
  std::unique_lock held(mutex_);
  if (version_ == saved_version_) return;
  Entries entries = entries_;
  uint64_t version = version_;
  held.unlock();
  Json list = Json::array();
  for (const auto& [name, entry] : entries) {
    list.push_back({{"name", name},
                    {"acknowledged", entry.acknowledged.ToString()},
                    {"seen_at", entry.seen_at}});
  }
  WriteFileAtomically(path_, Json{{"format", kFormat}, {"consumers", list}}.dump(1) + "\n");
  held.lock();
  saved_version_ = version;
  ++saves_;
  for (const auto& [name, entry] : entries) {
    auto found = entries_.find(name);
    if (found == entries_.end()) continue;
    found->second.saved = entry.acknowledged;
    found->second.seen_saved = entry.seen_at;
  }
}

}  // namespace syncflow::journal
