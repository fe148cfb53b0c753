#include "sidecar/journal/meta.h"

#include <fstream>
#include <nlohmann/json.hpp>
#include <stdexcept>
#include <vector>

#include "sidecar/journal/entry.h"
#include "sidecar/journal/file.h"

namespace syncflow::journal {
namespace {

constexpr int kFormat = 1;
constexpr const char* kName = "meta.json";
constexpr const char* kAside = "set-aside-";

std::string EpochText(Epoch epoch) {
  return Cursor{epoch, {}}.ToString().substr(0, 8);
}

Meta FromJson(const nlohmann::json& json) {
  if (json.at("format") != kFormat) {
    throw Error(Error::Kind::kForeign, "the journal has format " + json.at("format").dump() +
                                           ", this program writes " + std::to_string(kFormat) +
                                           ": use the program version that wrote it");
  }
  Meta meta;
  meta.identity.system_identifier = json.at("system_identifier");
  meta.identity.timeline = json.at("timeline");
  meta.identity.database = json.at("database");
  meta.identity.table = json.at("table");
  meta.identity.slot = json.at("slot");
  meta.generation = json.at("generation");
  meta.start = replication::Lsn::Parse(json.at("start").get<std::string>()).value();
  meta.table_version = json.value("table_version", "");
  if (json.at("epoch") != EpochText(meta.epoch())) throw std::runtime_error("another epoch");
  return meta;
}

nlohmann::json Parse(const std::filesystem::path& path) {
  std::ifstream in(path);
  return nlohmann::json::parse(in);
}

[[noreturn]] void Unreadable(const std::filesystem::path& path) {
  throw Error(Error::Kind::kDamaged,
              path.string() +
                  " cannot be understood: restore it, or move the folder's content "
                  "away to begin a new history");
}

}  // namespace

Epoch EpochOf(const Identity& identity, uint32_t generation) {
  std::string all = identity.system_identifier + '\0' + identity.database + '\0' + identity.table +
                    '\0' + std::to_string(kFormat) + '\0' + std::to_string(generation);
  return Epoch{Crc32c(all)};
}

std::optional<Meta> LoadMeta(const std::filesystem::path& folder) {
  if (!std::filesystem::exists(folder / kName)) return std::nullopt;
  try {
    return FromJson(Parse(folder / kName));
  } catch (const Error&) {
    throw;
  } catch (const std::exception&) {
    Unreadable(folder / kName);
  }
}

std::optional<Loss> LoadLoss(const std::filesystem::path& folder) {
  if (!std::filesystem::exists(folder / kLossName)) return std::nullopt;
  try {
    nlohmann::json json = Parse(folder / kLossName);
    return Loss{json.at("sentence"), json.at("generation")};
  } catch (const std::exception&) {
    Unreadable(folder / kLossName);
  }
}

void SaveLoss(const std::filesystem::path& folder, const Loss& loss) {
  nlohmann::ordered_json json = {{"sentence", loss.sentence}, {"generation", loss.generation}};
  WriteFileAtomically(folder / kLossName, json.dump(2) + "\n");
}

// meta.json goes last: as long as it is there, the rest is found to be its.
void SetLostHistoryAside(const std::filesystem::path& folder) {
  namespace fs = std::filesystem;
  auto meta = LoadMeta(folder);
  auto loss = LoadLoss(folder);
  if (!meta || !loss || loss->generation <= meta->generation) return;
  fs::path aside = folder / (kAside + EpochText(meta->epoch()));
  std::vector<fs::path> moving;
  for (const auto& entry : fs::directory_iterator(folder)) {
    const fs::path& path = entry.path();
    if (path.filename().string().starts_with(kAside) && path != aside) fs::remove_all(path);
    if (path.extension() == ".ndjson" || path.extension() == ".idx") moving.push_back(path);
  }
  fs::create_directory(aside);
  for (const fs::path& path : moving) fs::rename(path, aside / path.filename());
  SyncFolder(aside);
  fs::rename(folder / kName, aside / kName);
  SyncFolder(aside);
  SyncFolder(folder);
}

void RefuseSegmentsWithoutMeta(const std::filesystem::path& folder) {
  for (const auto& file : std::filesystem::directory_iterator(folder)) {
    if (file.path().extension() != ".ndjson" && file.path().extension() != ".idx") continue;
    throw Error(Error::Kind::kDamaged,
                (folder / kName).string() +
                    " is missing although there are segments: restore it, or move the folder's "
                    "content away to begin a new history");
  }
}

void SaveMeta(const std::filesystem::path& folder, const Meta& meta) {
  nlohmann::ordered_json json = {{"format", kFormat},
                                 {"epoch", EpochText(meta.epoch())},
                                 {"generation", meta.generation},
                                 {"system_identifier", meta.identity.system_identifier},
                                 {"timeline", meta.identity.timeline},
                                 {"database", meta.identity.database},
                                 {"table", meta.identity.table},
                                 {"slot", meta.identity.slot},
                                 {"start", meta.start.ToString()},
                                 {"table_version", meta.table_version}};
  WriteFileAtomically(folder / kName, json.dump(2) + "\n");
}

std::optional<std::string> DifferenceOf(const Meta& meta, const Identity& wanted) {
  const Identity& held = meta.identity;
  auto differs = [](const std::string& what, const std::string& has, const std::string& asked) {
    return "that of " + what + " " + has + ", not " + asked;
  };
  if (held.system_identifier != wanted.system_identifier) {
    return differs("another database cluster, with the system identifier", held.system_identifier,
                   wanted.system_identifier);
  }
  if (held.database != wanted.database)
    return differs("the database", held.database, wanted.database);
  if (held.table != wanted.table) return differs("the table", held.table, wanted.table);
  if (held.slot != wanted.slot) return differs("the slot", held.slot, wanted.slot);
  if (held.timeline != wanted.timeline) {
    return differs("timeline", std::to_string(held.timeline), std::to_string(wanted.timeline));
  }
  return std::nullopt;
}

}  // namespace syncflow::journal
