#include "config/text.h"

#include <algorithm>

namespace syncflow::config {
namespace {

unsigned char Byte(std::string_view text, size_t at) {
  return static_cast<unsigned char>(text[at]);
}

// Bytes of the UTF-8 character at the front: no overlong form, no surrogate, nothing beyond
// U+10FFFF. 0 when there is none.
size_t CharacterLength(std::string_view text) {
  unsigned char first = Byte(text, 0);
  if (first < 0x80) return 1;
  size_t length = first >= 0xF0 ? 4 : first >= 0xE0 ? 3 : 2;
  if (first < 0xC2 || first > 0xF4 || length > text.size()) return 0;
  unsigned char least = first == 0xE0 ? 0xA0 : first == 0xF0 ? 0x90 : 0x80;
  unsigned char most = first == 0xED ? 0x9F : first == 0xF4 ? 0x8F : 0xBF;
  if (Byte(text, 1) < least || Byte(text, 1) > most) return 0;
  for (size_t i = 2; i < length; ++i) {
    if ((Byte(text, i) & 0xC0) != 0x80) return 0;
  }
  return length;
}

bool IsControl(std::string_view character) {
  unsigned char first = Byte(character, 0);
  if (character.size() == 1) return first < 0x20 || first == 0x7F;
  return first == 0xC2 && Byte(character, 1) < 0xA0;
}

bool IsBlank(char c) {
  return c == '\t' || c == '\n' || c == '\r';
}

}  // namespace

std::optional<Complaint> FindBadByte(std::string_view text) {
  for (size_t at = 0; at < text.size();) {
    size_t length = CharacterLength(text.substr(at));
    if (length == 0) return Complaint{PlaceOf(text, at), "the file is not UTF-8 here"};
    if (IsControl(text.substr(at, length)) && !IsBlank(text[at]))
      return Complaint{PlaceOf(text, at), "there is a control character here"};
    at += length;
  }
  return std::nullopt;
}

bool IsOneLineOfText(std::string_view text) {
  return !FindBadByte(text) && std::none_of(text.begin(), text.end(), IsBlank);
}

Place PlaceOf(std::string_view text, size_t offset) {
  std::string_view before = text.substr(0, offset);
  size_t line_start = before.rfind('\n') + 1;  // npos + 1 is 0
  return {static_cast<int>(std::count(before.begin(), before.end(), '\n')) + 1,
          static_cast<int>(offset - line_start) + 1};
}

Place Clamp(std::string_view text, Place place) {
  size_t start = 0;
  for (int line = 1; line < place.line; ++line) {
    size_t end = text.find('\n', start);
    if (end == text.npos) return PlaceOf(text, text.size());
    start = end + 1;
  }
  int length = static_cast<int>(std::min(text.find('\n', start), text.size()) - start);
  return {std::max(place.line, 1), std::clamp(place.column, 1, length + 1)};
}

bool IsClosed(std::string_view text, size_t offset) {
  char quote = text[offset];
  for (size_t at = offset + 1; at < text.size(); ++at) {
    bool escape = quote == '"' ? text[at] == '\\' : text.substr(at).starts_with("''");
    if (escape) {
      ++at;
    } else if (text[at] == quote) {
      return true;
    }
  }
  return false;
}

}  // namespace syncflow::config
