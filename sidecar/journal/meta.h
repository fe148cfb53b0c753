// meta.json: which history a journal folder holds.
//
//   {"format":1,"epoch":"9c41e07b","generation":0,"system_identifier":"…","timeline":1,
//    "database":"…","table":"public.operations","slot":"…","start":"0/14319470",
//    "table_version":"…"}
#pragma once

#include <filesystem>
#include <optional>

#include "sidecar/journal/journal.h"

namespace syncflow::journal {

struct Meta {
  Identity identity;
  uint32_t generation = 0;
  replication::Lsn start;     // changes committed at or after it belong to the history
  std::string table_version;  // see Journal::NoteTable

  Epoch epoch() const { return EpochOf(identity, generation); }
};

// nullopt when there is none; throws Error{kDamaged} when it cannot be understood.
std::optional<Meta> LoadMeta(const std::filesystem::path& folder);
// Error{kDamaged} when there are segments all the same: nobody knows then whose they are.
void RefuseSegmentsWithoutMeta(const std::filesystem::path& folder);
void SaveMeta(const std::filesystem::path& folder, const Meta& meta);

// history_lost.json: PostgreSQL's history is no longer this journal's.
//
//   {"sentence":"…","generation":1}       of the history that may begin here after it
struct Loss {
  std::string sentence;
  uint32_t generation = 0;
};
inline constexpr const char* kLossName = "history_lost.json";
std::optional<Loss> LoadLoss(const std::filesystem::path& folder);
void SaveLoss(const std::filesystem::path& folder, const Loss& loss);
// Moves a history that was lost into a folder of its own, so that a new one can begin. Finishes
// what was interrupted; older such folders are removed.
void SetLostHistoryAside(const std::filesystem::path& folder);

// A sentence that names what differs; nullopt when `wanted` is the history of `meta`.
std::optional<std::string> DifferenceOf(const Meta& meta, const Identity& wanted);

}  // namespace syncflow::journal
