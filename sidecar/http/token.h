// The secret of whoever may change something: a file that holds one token (http.token_file), read
// again for every change, since mounted secrets change in place.
#pragma once

#include <stdexcept>
#include <string>
#include <string_view>

namespace syncflow::http {

// The file cannot be read, or holds no token: a sentence that names the setting, nothing of its
// content.
class TokenError : public std::runtime_error {
  using std::runtime_error::runtime_error;
};

// One line of 16 to 4096 printable characters without spaces; the line's end is left out. Throws
// TokenError.
std::string ReadToken(const std::string& path);

// True for "Bearer TOKEN" of this token. Takes the same time whichever it is.
bool Authorizes(std::string_view authorization, std::string_view token);

}  // namespace syncflow::http
