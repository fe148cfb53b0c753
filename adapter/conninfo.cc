#include "adapter/conninfo.h"

#include <algorithm>
#include <charconv>
#include <stdexcept>
#include <string_view>

namespace syncflow::adapter {
namespace {

constexpr const char* kSpace = " \t\n\r\f\v";
constexpr const char* kMasked = "***";

bool IsUri(std::string_view url) {
  return url.starts_with("postgresql://") || url.starts_with("postgres://");
}

// Where "max=…" stands in the query of a URI, with the separator before it; npos when it is not
// there.
struct Range {
  size_t begin = std::string::npos;
  size_t end = 0;
};

Range FindPoolMax(const std::string& url) {
  if (!IsUri(url)) return {};
  size_t at = url.find('?');
  while (at != std::string::npos) {
    size_t end = url.find('&', at + 1);
    if (url.compare(at + 1, 4, "max=") == 0) return {at, std::min(end, url.size())};
    at = end;
  }
  return {};
}

bool IsSecret(std::string_view keyword) {
  return keyword.ends_with("password");  // password, sslpassword
}

// "%70assword" is "password" to libpq.
std::string PercentDecoded(std::string_view text) {
  std::string out;
  for (size_t at = 0; at < text.size(); ++at) {
    unsigned byte = 0;
    const char* digits = text.data() + at + 1;
    bool encoded = text[at] == '%' && at + 2 < text.size() &&
                   std::from_chars(digits, digits + 2, byte, 16).ptr == digits + 2;
    out += encoded ? static_cast<char>(byte) : text[at];
    if (encoded) at += 2;
  }
  return out;
}

std::string MaskQuery(std::string_view query) {
  std::string out;
  while (!query.empty()) {
    std::string_view pair = query.substr(0, query.find('&', 1));
    query.remove_prefix(pair.size());
    size_t equals = pair.find('=');
    bool secret = equals != pair.npos && IsSecret(PercentDecoded(pair.substr(1, equals - 1)));
    out += secret ? std::string(pair.substr(0, equals + 1)) + kMasked : std::string(pair);
  }
  return out;
}

// Up to the last '@': one that the password holds unencoded must not end it.
std::string MaskUri(std::string_view url) {
  size_t authority = url.find("://") + 3;
  size_t at = url.rfind('@');
  size_t colon = url.find(':', authority);
  std::string out;
  if (at != url.npos && colon < at) {
    out = std::string(url.substr(0, colon + 1)) + kMasked;
    url.remove_prefix(at);
  }
  std::string_view before_query = url.substr(0, url.find('?'));
  return out + std::string(before_query) + MaskQuery(url.substr(before_query.size()));
}

std::string_view Trimmed(std::string_view text) {
  text.remove_prefix(std::min(text.find_first_not_of(kSpace), text.size()));
  return text.substr(0, text.find_last_not_of(kSpace) + 1);
}

// Length of a value of a keyword string: 'quoted' or up to a space; a backslash takes the next
// character along.
size_t ValueLength(std::string_view text) {
  bool quoted = text.starts_with('\'');
  for (size_t at = quoted ? 1 : 0; at < text.size(); ++at) {
    if (text[at] == '\\') {
      ++at;
    } else if (quoted ? text[at] == '\'' : std::string_view(kSpace).find(text[at]) != text.npos) {
      return at + (quoted ? 1 : 0);
    }
  }
  return text.size();
}

std::string MaskKeywords(std::string_view text) {
  std::string out;
  while (text.find_first_not_of(kSpace) != text.npos) {
    size_t equals = text.find('=');
    std::string_view keyword = Trimmed(text.substr(0, equals));
    bool unclear = equals == text.npos || keyword.find_first_of(kSpace) != text.npos;
    if (unclear) return out + kMasked;  // nobody knows what the rest is
    size_t begin = std::min(text.find_first_not_of(kSpace, equals + 1), text.size());
    size_t length = ValueLength(text.substr(begin));
    out += text.substr(0, begin);
    out += IsSecret(keyword) ? kMasked : text.substr(begin, length);
    text.remove_prefix(begin + length);
  }
  return out;
}

}  // namespace

std::optional<int> PoolMaxOf(const std::string& url) {
  Range range = FindPoolMax(url);
  if (range.begin == std::string::npos) return std::nullopt;
  std::string text = url.substr(range.begin + 5, range.end - range.begin - 5);
  int value = 0;
  auto [stop, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  bool number = error == std::errc() && stop == text.data() + text.size();
  if (!number || value < 1 || value > 1000) {
    throw std::invalid_argument(
        "max=" + text + " in the connection string is no pool size: give a number from 1 to 1000");
  }
  return value;
}

std::string WithoutPoolMax(const std::string& url) {
  std::string out = url;
  for (Range range = FindPoolMax(out); range.begin != out.npos; range = FindPoolMax(out)) {
    // The next parameter takes over the '?' or '&'.
    bool last = range.end == out.size();
    out.erase(range.begin + (last ? 0 : 1), range.end - range.begin);
  }
  return out;
}

std::string MaskPassword(const std::string& url) {
  size_t scheme_end = url.find("://");
  bool uri = scheme_end != url.npos && url.find_first_of("= '") > scheme_end;
  return uri ? MaskUri(url) : MaskKeywords(url);
}

}  // namespace syncflow::adapter
