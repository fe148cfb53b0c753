// JSON text taken apart and put together without reading its values: a double has no room for every
// number. Only for text that is known to be valid JSON.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace syncflow::adapter {

struct RawJsonMember {
  std::string name;        // without quotes and escapes
  std::string_view value;  // as it was written
};

// The members of an object in their order, one name perhaps more than once; empty for other values.
std::vector<RawJsonMember> RawMembers(std::string_view object);

// The elements of an array as they were written; empty for other values.
std::vector<std::string_view> RawElements(std::string_view array);

// The members of both, those of `patch` in place of equally named ones of `base`.
std::string MergeRawObjects(std::string_view base, std::string_view patch);

// True for an escaped NUL character, which jsonb has no room for; `\\u0000` is a backslash and five
// letters.
bool HoldsNulEscape(std::string_view json);

// Without the space outside its strings.
std::string WithoutSpace(std::string_view json);

}  // namespace syncflow::adapter
