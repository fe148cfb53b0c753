#include "sidecar/journal/folder.h"

#include <fcntl.h>
#include <linux/magic.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "sidecar/journal/error.h"
#include "sidecar/journal/file.h"

namespace syncflow::journal {
namespace {

namespace fs = std::filesystem;

[[noreturn]] void Unusable(const fs::path& folder, const std::string& reason) {
  throw Error(Error::Kind::kUnusable,
              "journal.directory " + folder.string() + " cannot be used: " + reason +
                  "; choose a folder on a local disk that the sidecar's user may write");
}

// File systems where a lock or an fsync may not mean what the journal needs.
const char* Doubtful(long type) {
  switch (type) {
    case NFS_SUPER_MAGIC:
      return "NFS";
    case SMB_SUPER_MAGIC:
    case 0xFF534D42:
    case 0xFE534D42:
      return "SMB";
    case 0x65735546:
      return "FUSE";
    case OVERLAYFS_SUPER_MAGIC:
      return "an overlay (a container's own layer, gone with the container)";
    default:
      return nullptr;
  }
}

void CheckFilesystem(const fs::path& folder) {
  struct statfs facts {};
  if (statfs(folder.c_str(), &facts) != 0) Unusable(folder, std::strerror(errno));
  if (const char* doubtful = Doubtful(static_cast<long>(facts.f_type))) {
    Unusable(folder, std::string("it lies on ") + doubtful);
  }
}

// Durable: a folder that a power cut takes away would be taken for a new journal.
void Create(const fs::path& folder, mode_t mode) {
  if (fs::is_directory(folder)) return;
  fs::path parent = folder.parent_path();
  if (parent != folder) Create(parent, 0755);
  if (mkdir(folder.c_str(), mode) != 0 && errno != EEXIST) Unusable(folder, std::strerror(errno));
  SyncFolder(parent);
}

// Absolute, without a slash at its end.
fs::path Plain(const fs::path& folder) {
  fs::path plain = fs::absolute(folder).lexically_normal();
  return plain.has_filename() ? plain : plain.parent_path();
}

}  // namespace

FolderLock::FolderLock(const fs::path& folder, bool allow_any_filesystem) {
  Create(Plain(folder), 0700);
  if (!allow_any_filesystem) CheckFilesystem(folder);
  fs::path file = folder / "lock";
  fd_ = open(file.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600);
  if (fd_ < 0) Unusable(folder, std::strerror(errno));
  if (flock(fd_, LOCK_EX | LOCK_NB) == 0) return;
  close(fd_);
  throw Error(Error::Kind::kLocked,
              "another process uses the journal in " + folder.string() +
                  ": stop it, or give each sidecar a journal.directory of its own");
}

FolderLock::~FolderLock() {
  close(fd_);
}

}  // namespace syncflow::journal
