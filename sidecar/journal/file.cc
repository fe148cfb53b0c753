#include "sidecar/journal/file.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <utility>

namespace syncflow::journal {
namespace {

Error FromErrno(const char* action, const std::filesystem::path& path) {
  int reason = errno;
  std::string what =
      std::string("cannot ") + action + " " + path.string() + ": " + std::strerror(reason);
  if (reason == ENOSPC || reason == EDQUOT) {
    return Error(Error::Kind::kDiskFull,
                 "the journal's disk is full: " + what +
                     "; free space or lower journal.retain_size, nothing is lost meanwhile");
  }
  return Error(Error::Kind::kIo, what);
}

}  // namespace

File File::Open(const std::filesystem::path& path) {
  int fd = open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600);
  if (fd < 0) throw FromErrno("open", path);
  return File(fd, path);
}

File::~File() {
  if (fd_ >= 0) close(fd_);
}

File::File(File&& other) noexcept
    : fd_(std::exchange(other.fd_, -1)), path_(std::move(other.path_)) {}

File& File::operator=(File&& other) noexcept {
  std::swap(fd_, other.fd_);
  std::swap(path_, other.path_);
  return *this;
}

uint64_t File::Size() const {
  struct stat facts {};
  if (fstat(fd_, &facts) != 0) Throw("ask the size of");
  return static_cast<uint64_t>(facts.st_size);
}

void File::WriteAt(uint64_t offset, std::string_view bytes) {
  while (!bytes.empty()) {
    ssize_t written = pwrite(fd_, bytes.data(), bytes.size(), static_cast<off_t>(offset));
    if (written < 0 && errno == EINTR) continue;
    if (written < 0) Throw("write to");
    offset += static_cast<uint64_t>(written);
    bytes.remove_prefix(static_cast<size_t>(written));
  }
}

std::string File::ReadAt(uint64_t offset, size_t length) const {
  std::string bytes(length, '\0');
  size_t filled = 0;
  while (filled < length) {
    ssize_t got =
        pread(fd_, bytes.data() + filled, length - filled, static_cast<off_t>(offset + filled));
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) Throw("read");
    if (got == 0) break;
    filled += static_cast<size_t>(got);
  }
  bytes.resize(filled);
  return bytes;
}

void File::Truncate(uint64_t size) {
  if (ftruncate(fd_, static_cast<off_t>(size)) != 0) Throw("truncate");
}

void File::Sync() {
  if (fdatasync(fd_) != 0) Throw("sync");
}

void File::Throw(const char* action) const {
  throw FromErrno(action, path_);
}

void SyncFolder(const std::filesystem::path& folder) {
  int fd = open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (fd < 0) throw FromErrno("open", folder);
  int result = fsync(fd);
  close(fd);
  if (result != 0) throw FromErrno("sync", folder);
}

void WriteFileAtomically(const std::filesystem::path& path, std::string_view content) {
  std::filesystem::path temporary = path;
  temporary += ".new";
  {
    File file = File::Open(temporary);
    file.Truncate(0);
    file.WriteAt(0, content);
    file.Sync();
  }
  if (rename(temporary.c_str(), path.c_str()) != 0) throw FromErrno("replace", path);
  SyncFolder(path.parent_path());
}

}  // namespace syncflow::journal
