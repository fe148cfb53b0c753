// "Did you mean": the known word that is nearest to a mistyped one. Pure. Each gives
// " (did you mean 'word'?)", or nothing when no word is near.
#pragma once

#include <string>
#include <vector>

namespace syncflow::config {

std::string DidYouMean(const std::string& typed, const std::vector<std::string>& known);

std::string SuggestSection(const std::string& typed);
std::string SuggestKey(const std::string& section, const std::string& typed);
std::string SuggestJobKey(const std::string& typed);
std::string SuggestVariable(const std::string& typed);

}  // namespace syncflow::config
