// Who may read what: the tokens file (feed.tokens_file), one token a line.
//
//   # name    SHA-256 of the token, in hex          collections, with commas between; * for all
//   billing   9f86d081884c7d659a2feaa0c55ad015…     invoices,customers
//
// A token is any text of at most 256 bytes; only its hash is ever stored. The name, at most 128
// printable ASCII characters, says who holds it: durable consumers belong to it, and several lines
// may have the same, so that a new token is known before the old one goes.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace syncflow::feed {

bool IsTokenName(std::string_view name);

struct Rights {
  std::string name;
  std::array<uint8_t, 32> digest{};      // SHA-256 of the token
  std::vector<std::string> collections;  // sorted, each once; none: all

  bool Allow(const std::vector<std::string>& wanted) const;
  // What a consumer reads that wants these: all that are allowed when it names none.
  const std::vector<std::string>& Narrow(const std::vector<std::string>& wanted) const;
  bool operator==(const Rights&) const = default;
};

// Immutable.
class Tokens {
 public:
  // Throws std::runtime_error: a sentence with the number of the line, nothing of its content.
  explicit Tokens(std::string_view text);

  // nullptr for a token that is not in the file. Takes the same time whichever it is.
  std::shared_ptr<const Rights> Find(std::string_view token) const;
  // What the holder of the same token may do now; nullptr when it is gone.
  std::shared_ptr<const Rights> Renew(const Rights& held) const;

 private:
  std::shared_ptr<const Rights> FindDigest(const std::array<uint8_t, 32>& digest) const;

  std::vector<std::shared_ptr<const Rights>> all_;
};

// Reads the file again and again. Used by one thread at a time.
class TokensFile {
 public:
  explicit TokensFile(std::string path) : path_(std::move(path)) {}

  // nullptr when nothing has changed since the last call. Throws std::runtime_error, once for the
  // same fault.
  std::shared_ptr<const Tokens> ReadIfChanged();

 private:
  std::string path_;
  std::optional<std::string> text_;
  std::string fault_;
};

}  // namespace syncflow::feed
