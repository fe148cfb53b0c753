#include "sidecar/log/escape.h"

#include <algorithm>

namespace syncflow::log {
namespace {

constexpr size_t kTextMax = 8192;

unsigned char Byte(std::string_view text, size_t at) {
  return static_cast<unsigned char>(text[at]);
}

// Bytes of the UTF-8 character at the front (RFC 3629: no overlong form, no surrogate, nothing
// beyond U+10FFFF); 0 when there is none.
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

// C0, DEL and C1: what a terminal may obey.
bool IsControl(std::string_view character) {
  unsigned char first = Byte(character, 0);
  if (character.size() == 1) return first < 0x20 || first == 0x7F;
  return first == 0xC2 && Byte(character, 1) < 0xA0;
}

// Calls `each` with every character, empty for a byte that belongs to none.
template <typename Each>
void ForEachCharacter(std::string_view text, Each each) {
  bool cut = text.size() > kTextMax;
  text = text.substr(0, kTextMax);
  while (!text.empty()) {
    size_t length = CharacterLength(text);
    each(text.substr(0, length));
    text.remove_prefix(std::max<size_t>(length, 1));
  }
  if (cut) each("…");
}

void AppendEscape(std::string& out, unsigned char code) {
  constexpr char kHex[] = "0123456789abcdef";
  out += "\\u00";
  out += kHex[code >> 4];
  out += kHex[code & 15];
}

bool IsWord(std::string_view text) {
  return !text.empty() && text.size() <= kTextMax &&
         std::all_of(text.begin(), text.end(), [](char c) {
           return c > ' ' && c < 0x7F && c != '"' && c != '=' && c != '\\';
         });
}

}  // namespace

void AppendQuoted(std::string& out, std::string_view text) {
  out += '"';
  ForEachCharacter(text, [&](std::string_view character) {
    if (character.empty()) {
      out += "\\ufffd";
    } else if (IsControl(character)) {
      AppendEscape(out, Byte(character, character.size() - 1));  // C1: U+00XX is C2 XX
    } else {
      if (character == "\"" || character == "\\") out += '\\';
      out += character;
    }
  });
  out += '"';
}

void AppendPlain(std::string& out, std::string_view text) {
  ForEachCharacter(text, [&](std::string_view character) {
    if (character.empty()) {
      out += "\ufffd";
    } else {
      out += IsControl(character) ? " " : character;
    }
  });
}

void AppendValue(std::string& out, std::string_view text) {
  if (IsWord(text)) {
    out += text;
  } else {
    AppendQuoted(out, text);
  }
}

}  // namespace syncflow::log
