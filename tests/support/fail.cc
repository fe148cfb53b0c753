// Preloaded into the program under test: the call that SYNCFLOW_FAIL names fails, once, as in
// "write 13": the thirteenth of its kind since the process began. With SYNCFLOW_FAIL_KILLS=1 it
// names one function, as in "pwrite 13", before which the process is killed. The file
// SYNCFLOW_FAILED is there afterwards. What the C library calls inside itself is not seen.
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/sendfile.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#include <atomic>
#include <cstdlib>

extern "C" {
void* __libc_malloc(size_t size);
void* __libc_calloc(size_t count, size_t size);
void* __libc_realloc(void* old, size_t size);
}

namespace {

std::atomic<long> calls{0};

// Before main and in any thread, so without anything that allocates.
bool IsTurn(const char* kind, const char* call, int error) {
  static const char* const wish = getenv("SYNCFLOW_FAIL");
  static const size_t length = wish == nullptr ? 0 : strcspn(wish, " ");
  if (length == 0) return false;
  static const bool kills = getenv("SYNCFLOW_FAIL_KILLS") != nullptr;
  static const long turn = strtol(wish + length, nullptr, 10);
  const char* name = kills ? call : kind;
  if (strncmp(wish, name, length) != 0 || name[length] != '\0' || ++calls != turn) return false;
  long fd = syscall(SYS_openat, AT_FDCWD, getenv("SYNCFLOW_FAILED"), O_CREAT | O_WRONLY | O_CLOEXEC,
                    0600);
  if (fd >= 0) syscall(SYS_close, fd);
  if (kills) syscall(SYS_kill, getpid(), SIGKILL);
  errno = error;
  return true;
}

template <typename Function>
Function Next(const char* name, Function) {
  return reinterpret_cast<Function>(dlsym(RTLD_NEXT, name));
}

// A function that fails with -1 and `error`.
#define SYNCFLOW_FAILING(kind, error, type, name, parameters, arguments) \
  type name parameters {                                                 \
    static const auto next = Next(#name, &name);                         \
    return IsTurn(kind, #name, error) ? -1 : next arguments;             \
  }

}  // namespace

extern "C" {

void* malloc(size_t size) {
  return IsTurn("malloc", "malloc", ENOMEM) ? nullptr : __libc_malloc(size);
}
void* calloc(size_t count, size_t size) {
  return IsTurn("malloc", "calloc", ENOMEM) ? nullptr : __libc_calloc(count, size);
}
void* realloc(void* old, size_t size) {
  return IsTurn("malloc", "realloc", ENOMEM) ? nullptr : __libc_realloc(old, size);
}

SYNCFLOW_FAILING("write", EIO, ssize_t, write, (int fd, const void* bytes, size_t count),
                 (fd, bytes, count))
SYNCFLOW_FAILING("write", EIO, ssize_t, pwrite,
                 (int fd, const void* bytes, size_t count, off_t offset),
                 (fd, bytes, count, offset))
SYNCFLOW_FAILING("write", EIO, ssize_t, pwrite64,
                 (int fd, const void* bytes, size_t count, off64_t offset),
                 (fd, bytes, count, offset))
SYNCFLOW_FAILING("write", EIO, ssize_t, writev, (int fd, const iovec* parts, int count),
                 (fd, parts, count))
SYNCFLOW_FAILING("write", EIO, int, rename, (const char* from, const char* to), (from, to))
SYNCFLOW_FAILING("write", EIO, int, ftruncate, (int fd, off_t length), (fd, length))
SYNCFLOW_FAILING("write", EIO, int, ftruncate64, (int fd, off64_t length), (fd, length))
SYNCFLOW_FAILING("write", EIO, int, unlink, (const char* path), (path))
SYNCFLOW_FAILING("write", EIO, int, remove, (const char* path), (path))
SYNCFLOW_FAILING("write", EIO, int, mkdir, (const char* path, mode_t mode), (path, mode))
SYNCFLOW_FAILING("sync", EIO, int, fdatasync, (int fd), (fd))
SYNCFLOW_FAILING("sync", EIO, int, fsync, (int fd), (fd))
SYNCFLOW_FAILING("send", ECONNRESET, ssize_t, send,
                 (int fd, const void* bytes, size_t count, int flags), (fd, bytes, count, flags))
SYNCFLOW_FAILING("send", ECONNRESET, ssize_t, sendmsg, (int fd, const msghdr* message, int flags),
                 (fd, message, flags))
SYNCFLOW_FAILING("send", ECONNRESET, ssize_t, sendfile,
                 (int to, int from, off_t* offset, size_t count), (to, from, offset, count))
SYNCFLOW_FAILING("send", ECONNRESET, ssize_t, sendfile64,
                 (int to, int from, off64_t* offset, size_t count), (to, from, offset, count))
SYNCFLOW_FAILING("recv", ECONNRESET, ssize_t, recv, (int fd, void* bytes, size_t count, int flags),
                 (fd, bytes, count, flags))
SYNCFLOW_FAILING("recv", ECONNRESET, ssize_t, recvmsg, (int fd, msghdr* message, int flags),
                 (fd, message, flags))
SYNCFLOW_FAILING("read", EIO, ssize_t, pread, (int fd, void* bytes, size_t count, off_t offset),
                 (fd, bytes, count, offset))
SYNCFLOW_FAILING("read", EIO, ssize_t, pread64, (int fd, void* bytes, size_t count, off64_t offset),
                 (fd, bytes, count, offset))
SYNCFLOW_FAILING("read", EIO, ssize_t, read, (int fd, void* bytes, size_t count),
                 (fd, bytes, count))
SYNCFLOW_FAILING("open", EMFILE, int, socket, (int domain, int type, int protocol),
                 (domain, type, protocol))
SYNCFLOW_FAILING("open", EMFILE, int, accept4,
                 (int fd, sockaddr* address, socklen_t* length, int flags),
                 (fd, address, length, flags))
SYNCFLOW_FAILING("open", EMFILE, int, accept, (int fd, sockaddr* address, socklen_t* length),
                 (fd, address, length))

// The mode is there when the file may be created.
#define SYNCFLOW_FAILING_OPEN(name)                                      \
  int name(const char* path, int flags, ...) {                           \
    static const auto next = Next(#name, &name);                         \
    va_list more;                                                        \
    va_start(more, flags);                                               \
    mode_t mode = (flags & O_CREAT) != 0 ? va_arg(more, mode_t) : 0;     \
    va_end(more);                                                        \
    return IsTurn("open", #name, EMFILE) ? -1 : next(path, flags, mode); \
  }
SYNCFLOW_FAILING_OPEN(open)
SYNCFLOW_FAILING_OPEN(open64)

FILE* fopen(const char* path, const char* mode) {
  static const auto next = Next("fopen", &fopen);
  return IsTurn("open", "fopen", EMFILE) ? nullptr : next(path, mode);
}
FILE* fopen64(const char* path, const char* mode) {
  static const auto next = Next("fopen64", &fopen64);
  return IsTurn("open", "fopen64", EMFILE) ? nullptr : next(path, mode);
}

}  // extern "C"
