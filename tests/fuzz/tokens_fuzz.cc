// The tokens file, against rules that are written down once more.
#include "sidecar/feed/tokens.h"

#include <algorithm>
#include <cctype>
#include <map>
#include <optional>
#include <set>
#include <stdexcept>

#include "tests/fuzz/expect.h"

using namespace syncflow;

namespace {

using Digest = std::array<uint8_t, 32>;

// Words between the characters that C calls space.
std::vector<std::string> WordsOf(std::string_view line) {
  std::vector<std::string> words;
  constexpr std::string_view kSpace = " \t\v\f\r";
  while (true) {
    line.remove_prefix(std::min(line.find_first_not_of(kSpace), line.size()));
    if (line.empty()) return words;
    size_t end = std::min(line.find_first_of(kSpace), line.size());
    words.emplace_back(line.substr(0, end));
    line.remove_prefix(end);
  }
}

std::optional<Digest> DigestOf(std::string_view hex) {
  constexpr std::string_view kDigits = "0123456789abcdef0123456789ABCDEF";  // 16 and 16
  Digest digest{};
  if (hex.size() != 64) return std::nullopt;
  for (size_t i = 0; i < hex.size(); ++i) {
    size_t digit = kDigits.find(hex[i]);
    if (digit == kDigits.npos) return std::nullopt;
    digest[i / 2] = static_cast<uint8_t>(digest[i / 2] * 16u + digit % 16);
  }
  return digest;
}

std::optional<feed::Rights> RightsOf(std::string_view line) {
  auto words = WordsOf(line);
  if (words.size() != 3) return std::nullopt;
  for (char c : words[0]) {
    if (c < '!' || c > '~') return std::nullopt;
  }
  if (words[0].size() > 128) return std::nullopt;
  auto digest = DigestOf(words[1]);
  if (!digest) return std::nullopt;
  std::set<std::string> collections;
  if (words[2] != "*") {
    for (std::string_view one : fuzz::Split(words[2], ",")) collections.emplace(one);
    if (collections.contains("")) return std::nullopt;
  }
  return feed::Rights{words[0], *digest, {collections.begin(), collections.end()}};
}

// nullopt where the file must be refused.
std::optional<std::map<Digest, feed::Rights>> Expected(std::string_view text) {
  std::map<Digest, feed::Rights> all;
  for (std::string_view line : fuzz::Split(text, "\n")) {
    size_t begin = line.find_first_not_of(" \t\r");
    if (begin == line.npos || line[begin] == '#') continue;
    auto rights = RightsOf(line);
    if (!rights) return std::nullopt;
    if (!all.emplace(rights->digest, *rights).second) return std::nullopt;
  }
  if (all.empty()) return std::nullopt;
  return all;
}

void CheckAll(const feed::Tokens& tokens, const std::map<Digest, feed::Rights>& expected) {
  for (const auto& [digest, rights] : expected) {
    auto found = tokens.Renew({"", digest, {}});
    fuzz::Expect(found != nullptr && *found == rights, "everybody has what is written");
    fuzz::Expect(found->Allow(rights.collections), "and may read it");
    fuzz::Expect(found->Allow({"no such\ncollection"}) == rights.collections.empty(),
                 "and nothing else");
  }
}

void CheckSentence(const std::string& sentence) {
  fuzz::Expect(sentence.starts_with("feed.tokens_file"), "a refusal names the setting");
  size_t digits = 0;
  for (char c : sentence) {
    digits = std::isxdigit(static_cast<unsigned char>(c)) != 0 ? digits + 1 : 0;
    fuzz::Expect(digits < 16, "a refusal shows no hash");
    fuzz::Expect(c >= ' ' && c <= '~', "and none of the file's bytes");
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  std::string_view text = fuzz::Text(data, size);
  auto expected = Expected(text);
  try {
    feed::Tokens tokens(text);
    fuzz::Expect(expected.has_value(), "what breaks a rule is refused");
    CheckAll(tokens, *expected);
  } catch (const std::runtime_error& refusal) {
    fuzz::Expect(!expected.has_value(), "what keeps the rules is read");
    CheckSentence(refusal.what());
  }
  return 0;
}
