#include "sidecar/command/skip.h"

#include <cstdio>
#include <filesystem>

#include "sidecar/command/config_commands.h"
#include "sidecar/journal/error.h"
#include "sidecar/journal/skip.h"

namespace syncflow::command {
namespace {

constexpr int kFailed = 1;
constexpr int kUsage = 2;
constexpr int kConfiguration = 78;  // EX_CONFIG

int Refuse(int status, const std::string& sentence) {
  std::fprintf(stderr, "skip: %s\n", sentence.c_str());
  return status;
}

}  // namespace

int Skip(const std::string& config_path, const std::string& lsn) {
  auto settings = LoadOrReport(config_path);
  if (!settings) return kConfiguration;
  auto commit = replication::Lsn::Parse(lsn);
  if (!commit) return Refuse(kUsage, "'" + lsn + "' is no LSN, as 16/B374D848");
  std::filesystem::path folder = settings->journal.directory;
  if (!std::filesystem::exists(folder / "meta.json"))
    return Refuse(kFailed, folder.string() + " holds no journal: name the sidecar's own file");
  try {
    journal::AskToSkip(folder, *commit);
  } catch (const journal::Error& error) {
    return Refuse(kFailed, error.what());
  }
  std::fprintf(stderr,
               "asked: the transaction that commits at %s is left out if it is the one that cannot "
               "be read\n",
               commit->ToString().c_str());
  return 0;
}

}  // namespace syncflow::command
