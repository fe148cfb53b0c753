// Preloaded into the program under test: while the file that SYNCFLOW_STALL names exists, no sync
// comes back, and no write into a file either unless it says "sync": a disk that hangs. Where it
// says "slow 100", each sync takes so many milliseconds longer; where it says "fail", it fails.
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstdlib>
#include <optional>
#include <string>

namespace {

// What the file says, if it is there.
std::optional<std::string> Fault() {
  static const char* const flag = std::getenv("SYNCFLOW_STALL");
  const int fd = flag == nullptr ? -1 : open(flag, O_RDONLY | O_CLOEXEC);
  if (fd < 0) return std::nullopt;
  char text[32];
  const ssize_t size = read(fd, text, sizeof text);
  close(fd);
  return std::string(text, size > 0 ? static_cast<size_t>(size) : 0);
}

void AwaitWrite() {
  while (Fault() == "") usleep(20'000);
}

// False where the sync shall fail.
bool AwaitSync() {
  for (std::optional<std::string> fault; (fault = Fault());) {
    if (*fault == "fail") return false;
    if (fault->rfind("slow ", 0) == 0) {
      usleep(1000 * static_cast<useconds_t>(std::atoi(fault->c_str() + 5)));
      return true;
    }
    usleep(20'000);
  }
  return true;
}

template <typename Function>
Function Next(const char* name, Function) {
  return reinterpret_cast<Function>(dlsym(RTLD_NEXT, name));
}

}  // namespace

extern "C" {

ssize_t pwrite(int fd, const void* bytes, size_t count, off_t offset) {
  static const auto next = Next("pwrite", &pwrite);
  AwaitWrite();
  return next(fd, bytes, count, offset);
}

ssize_t pwrite64(int fd, const void* bytes, size_t count, off64_t offset) {
  static const auto next = Next("pwrite64", &pwrite64);
  AwaitWrite();
  return next(fd, bytes, count, offset);
}

int fdatasync(int fd) {
  static const auto next = Next("fdatasync", &fdatasync);
  if (AwaitSync()) return next(fd);
  errno = EIO;
  return -1;
}

}  // extern "C"
