// The bytes of a configuration file, before they are YAML. Pure.
#pragma once

#include <optional>
#include <string_view>

#include "config/document.h"

namespace syncflow::config {

// The first byte that does not belong there: no UTF-8 (RFC 3629), or a control character.
std::optional<Complaint> FindBadByte(std::string_view text);
bool IsOneLineOfText(std::string_view text);

Place PlaceOf(std::string_view text, size_t offset);
// The nearest place inside the text.
Place Clamp(std::string_view text, Place place);

// Whether the string that opens with the quotation mark at `offset` is closed somewhere.
bool IsClosed(std::string_view text, size_t offset);

}  // namespace syncflow::config
