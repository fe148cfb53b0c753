// A file by its descriptor, with errors as journal::Error. Each operation is complete or throws.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>

#include "sidecar/journal/error.h"

namespace syncflow::journal {

class File {
 public:
  File() = default;
  // Creates the file when it is missing (mode 0600).
  static File Open(const std::filesystem::path& path);
  ~File();
  File(File&& other) noexcept;
  File& operator=(File&& other) noexcept;

  int fd() const { return fd_; }
  uint64_t Size() const;
  // Error{kDiskFull} when there is no space; what was written before that is written again by the
  // next attempt.
  void WriteAt(uint64_t offset, std::string_view bytes);
  // Exactly `length` bytes, or fewer at the end of the file.
  std::string ReadAt(uint64_t offset, size_t length) const;
  void Truncate(uint64_t size);
  // fdatasync. After an error the kernel may have dropped what was not written: never call it
  // again.
  void Sync();

 private:
  File(int fd, std::filesystem::path path) : fd_(fd), path_(std::move(path)) {}
  [[noreturn]] void Throw(const char* action) const;

  int fd_ = -1;
  std::filesystem::path path_;
};

// fsync of a folder: makes the names in it durable.
void SyncFolder(const std::filesystem::path& folder);

// The replacement of a small file, durable on return: temporary file, fsync, rename, fsync of the
// folder.
void WriteFileAtomically(const std::filesystem::path& path, std::string_view content);

}  // namespace syncflow::journal
