#include "sidecar/feed/file_text.h"

#include <cerrno>
#include <fstream>
#include <iterator>
#include <stdexcept>
#include <system_error>

namespace syncflow::feed {
namespace {

constexpr size_t kFileMax = 1 << 20;

}  // namespace

std::string ReadFileOf(const std::string& setting, const std::string& path) {
  errno = 0;
  std::ifstream in(path, std::ios::binary);
  std::string text((std::istreambuf_iterator<char>(in)), {});
  if (!in.is_open() || in.bad())
    throw std::runtime_error(setting +
                             " cannot be read: " + std::generic_category().message(errno));
  if (text.size() > kFileMax)
    throw std::runtime_error(setting + " is larger than 1 MiB: is it the right file?");
  return text;
}

}  // namespace syncflow::feed
