#include "sidecar/http/token.h"

#include <openssl/crypto.h>
#include <openssl/sha.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <fstream>
#include <system_error>

namespace syncflow::http {
namespace {

constexpr size_t kTokenMin = 16;
constexpr size_t kTokenMax = 4096;
constexpr std::string_view kScheme = "Bearer ";

std::array<unsigned char, SHA256_DIGEST_LENGTH> DigestOf(std::string_view text) {
  std::array<unsigned char, SHA256_DIGEST_LENGTH> digest;
  SHA256(reinterpret_cast<const unsigned char*>(text.data()), text.size(), digest.data());
  return digest;
}

bool IsPrintable(char c) {
  return c > ' ' && c < '\x7f';
}

}  // namespace

std::string ReadToken(const std::string& path) {
  errno = 0;
  std::ifstream in(path, std::ios::binary);
  char buffer[kTokenMax + 3];
  in.read(buffer, sizeof buffer);
  std::string token(buffer, static_cast<size_t>(in.gcount()));
  if (!in.is_open() || in.bad())
    throw TokenError("http.token_file cannot be read: " + std::generic_category().message(errno));
  while (token.ends_with('\n') || token.ends_with('\r')) token.pop_back();
  bool fits = token.size() >= kTokenMin && token.size() <= kTokenMax &&
              std::all_of(token.begin(), token.end(), IsPrintable);
  if (!fits)
    throw TokenError(
        "http.token_file must hold one token of at least 16 characters without spaces: openssl "
        "rand -hex 32");
  return token;
}

bool Authorizes(std::string_view authorization, std::string_view token) {
  if (!authorization.starts_with(kScheme)) return false;
  auto given = DigestOf(authorization.substr(kScheme.size()));
  auto right = DigestOf(token);
  return CRYPTO_memcmp(given.data(), right.data(), right.size()) == 0;
}

}  // namespace syncflow::http
