// skip.json: an operator wants one transaction left out, because it cannot be read and those behind
// it wait. Lies beside the journal, so that it survives whatever happens until it is done.
//
//   {"commit_lsn":"0/1A2B3C8"}
#pragma once

#include <filesystem>
#include <optional>

#include "replication/lsn.h"

namespace syncflow::journal {

// Durable on return; any process. Throws Error when the folder cannot be written.
void AskToSkip(const std::filesystem::path& folder, replication::Lsn commit_lsn);
// nullopt when nothing is asked, or nothing that could be understood.
std::optional<replication::Lsn> AskedToSkip(const std::filesystem::path& folder);
void ForgetSkip(const std::filesystem::path& folder);

}  // namespace syncflow::journal
