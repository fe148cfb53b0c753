// Preloaded into the program under test: while the file that SYNCFLOW_STALL names exists, no write
// into a regular file and no sync comes back, as on a disk that hangs.
#include <dlfcn.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstdlib>

namespace {

bool Stalls() {
  static const char* const flag = std::getenv("SYNCFLOW_STALL");
  return flag != nullptr && access(flag, F_OK) == 0;
}

void AwaitDisk() {
  while (Stalls()) usleep(20'000);
}

template <typename Function>
Function Next(const char* name, Function) {
  return reinterpret_cast<Function>(dlsym(RTLD_NEXT, name));
}

}  // namespace

extern "C" {

ssize_t pwrite(int fd, const void* bytes, size_t count, off_t offset) {
  static const auto next = Next("pwrite", &pwrite);
  AwaitDisk();
  return next(fd, bytes, count, offset);
}

ssize_t pwrite64(int fd, const void* bytes, size_t count, off64_t offset) {
  static const auto next = Next("pwrite64", &pwrite64);
  AwaitDisk();
  return next(fd, bytes, count, offset);
}

int fdatasync(int fd) {
  static const auto next = Next("fdatasync", &fdatasync);
  AwaitDisk();
  return next(fd);
}

}  // extern "C"
