// The journal's folder: created, checked, and held by one process at a time.
#pragma once

#include <filesystem>

namespace syncflow::journal {

class FolderLock {
 public:
  // Creates the folder (0700) when it is missing. Throws Error: kUnusable when it cannot be used,
  // kLocked when another process holds it.
  FolderLock(const std::filesystem::path& folder, bool allow_any_filesystem);
  ~FolderLock();
  FolderLock(const FolderLock&) = delete;
  FolderLock& operator=(const FolderLock&) = delete;

 private:
  int fd_ = -1;
};

}  // namespace syncflow::journal
