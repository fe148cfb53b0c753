#include "sidecar/feed/tokens.h"

#include <openssl/crypto.h>
#include <openssl/sha.h>

#include <algorithm>
#include <sstream>
#include <stdexcept>
#include <utility>

#include "sidecar/feed/file_text.h"

namespace syncflow::feed {
namespace {

using Digest = std::array<uint8_t, 32>;

constexpr size_t kNameMax = 128;  // bytes

Digest DigestOf(std::string_view token) {
  Digest digest;
  SHA256(reinterpret_cast<const unsigned char*>(token.data()), token.size(), digest.data());
  return digest;
}

int NibbleOf(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  return -1;
}

std::optional<Digest> ParseDigest(std::string_view hex) {
  Digest digest;
  if (hex.size() != 2 * digest.size()) return std::nullopt;
  for (size_t i = 0; i < digest.size(); ++i) {
    int high = NibbleOf(hex[2 * i]);
    int low = NibbleOf(hex[2 * i + 1]);
    if (high < 0 || low < 0) return std::nullopt;
    digest[i] = static_cast<uint8_t>(high << 4 | low);
  }
  return digest;
}

// nullopt when one of them is empty.
std::optional<std::vector<std::string>> ParseCollections(const std::string& text) {
  std::vector<std::string> all;
  if (text == "*") return all;
  std::istringstream list(text + ",");
  for (std::string one; std::getline(list, one, ',');) {
    if (one.empty()) return std::nullopt;
    all.push_back(one);
  }
  std::sort(all.begin(), all.end());
  all.erase(std::unique(all.begin(), all.end()), all.end());
  return all;
}

// What is wrong with a line is thrown as the end of a sentence.
Rights ParseLine(const std::string& line) {
  std::istringstream words(line);
  std::string name, hex, collections, more;
  words >> name >> hex >> collections;
  if (collections.empty() || words >> more)
    throw std::runtime_error(
        "must be three words: a name, the SHA-256 of the token, and its collections with commas "
        "between, or * for all");
  if (!IsTokenName(name))
    throw std::runtime_error("needs a name of at most 128 printable ASCII characters");
  auto digest = ParseDigest(hex);
  if (!digest)
    throw std::runtime_error(
        "needs the SHA-256 of the token as 64 hex digits: printf %s TOKEN | sha256sum");
  auto allowed = ParseCollections(collections);
  if (!allowed) throw std::runtime_error("has an empty name among its collections");
  return {name, *digest, *allowed};
}

}  // namespace

bool IsTokenName(std::string_view name) {
  auto is_printable = [](char c) { return c > ' ' && c <= '~'; };
  return !name.empty() && name.size() <= kNameMax && std::ranges::all_of(name, is_printable);
}

bool Rights::Allow(const std::vector<std::string>& wanted) const {
  if (collections.empty()) return true;
  return std::all_of(wanted.begin(), wanted.end(), [&](const std::string& one) {
    return std::binary_search(collections.begin(), collections.end(), one);
  });
}

const std::vector<std::string>& Rights::Narrow(const std::vector<std::string>& wanted) const {
  return wanted.empty() ? collections : wanted;
}

Tokens::Tokens(std::string_view text) {
  std::istringstream lines{std::string(text)};
  int number = 0;
  for (std::string line; std::getline(lines, line);) {
    ++number;
    size_t begin = line.find_first_not_of(" \t\r");
    if (begin == line.npos || line[begin] == '#') continue;
    auto complain = [number](const std::string& what) -> std::runtime_error {
      return std::runtime_error("feed.tokens_file: line " + std::to_string(number) + " " + what);
    };
    Rights rights;
    try {
      rights = ParseLine(line);
    } catch (const std::runtime_error& wrong) {
      throw complain(wrong.what());
    }
    for (const auto& other : all_) {
      if (other->digest == rights.digest)
        throw complain("has a token that an earlier line has too");
    }
    all_.push_back(std::make_shared<const Rights>(std::move(rights)));
  }
  if (all_.empty())
    throw std::runtime_error("feed.tokens_file holds no token: nobody could read the feed");
}

std::shared_ptr<const Rights> Tokens::Find(std::string_view token) const {
  return FindDigest(DigestOf(token));
}

std::shared_ptr<const Rights> Tokens::Renew(const Rights& held) const {
  return FindDigest(held.digest);
}

// Looks at every one to its end.
std::shared_ptr<const Rights> Tokens::FindDigest(const Digest& digest) const {
  std::shared_ptr<const Rights> found;
  for (const auto& one : all_) {
    if (CRYPTO_memcmp(one->digest.data(), digest.data(), digest.size()) == 0) found = one;
  }
  return found;
}

std::shared_ptr<const Tokens> TokensFile::ReadIfChanged() {
  try {
    std::string text = ReadFileOf("feed.tokens_file", path_);
    fault_.clear();
    if (text == text_) return nullptr;
    text_ = std::move(text);
    return std::make_shared<const Tokens>(*text_);
  } catch (const std::runtime_error& fault) {
    if (std::exchange(fault_, fault.what()) == fault.what()) return nullptr;
    throw;
  }
}

}  // namespace syncflow::feed
