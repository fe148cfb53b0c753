#include "sidecar/journal/skip.h"

#include <fstream>
#include <nlohmann/json.hpp>

#include "sidecar/journal/file.h"

namespace syncflow::journal {
namespace {

constexpr const char* kName = "skip.json";

}  // namespace

void AskToSkip(const std::filesystem::path& folder, replication::Lsn commit_lsn) {
  nlohmann::json json = {{"commit_lsn", commit_lsn.ToString()}};
  WriteFileAtomically(folder / kName, json.dump() + "\n");
}

std::optional<replication::Lsn> AskedToSkip(const std::filesystem::path& folder) {
  std::ifstream in(folder / kName);
  auto json = nlohmann::json::parse(in, nullptr, false);
  if (!json.is_object() || !json.contains("commit_lsn") || !json["commit_lsn"].is_string())
    return std::nullopt;
  return replication::Lsn::Parse(json["commit_lsn"].get<std::string>());
}

void ForgetSkip(const std::filesystem::path& folder) {
  std::filesystem::remove(folder / kName);
}

}  // namespace syncflow::journal
