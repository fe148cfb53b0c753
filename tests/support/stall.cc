// Preloaded into the program under test: while the file that SYNCFLOW_STALL names exists, no sync
// comes back, and no write into a file either unless it says "sync": a disk that hangs.
#include <dlfcn.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstdlib>

namespace {

bool Stalls(bool writing) {
  static const char* const flag = std::getenv("SYNCFLOW_STALL");
  struct stat facts {};
  if (flag == nullptr || stat(flag, &facts) != 0) return false;
  return !writing || facts.st_size == 0;
}

void AwaitDisk(bool writing) {
  while (Stalls(writing)) usleep(20'000);
}

template <typename Function>
Function Next(const char* name, Function) {
  return reinterpret_cast<Function>(dlsym(RTLD_NEXT, name));
}

}  // namespace

extern "C" {

ssize_t pwrite(int fd, const void* bytes, size_t count, off_t offset) {
  static const auto next = Next("pwrite", &pwrite);
  AwaitDisk(true);
  return next(fd, bytes, count, offset);
}

ssize_t pwrite64(int fd, const void* bytes, size_t count, off64_t offset) {
  static const auto next = Next("pwrite64", &pwrite64);
  AwaitDisk(true);
  return next(fd, bytes, count, offset);
}

int fdatasync(int fd) {
  static const auto next = Next("fdatasync", &fdatasync);
  AwaitDisk(false);
  return next(fd);
}

}  // extern "C"
