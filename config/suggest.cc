#include "config/suggest.h"

#include <algorithm>
#include <numeric>

#include "config/job_options.h"
#include "config/options.h"

namespace syncflow::config {
namespace {

constexpr size_t kTypedMax = 64;  // the distance takes the product of both lengths

// How many letters must be changed, added or removed to make one word of the other.
size_t Distance(const std::string& a, const std::string& b) {
  std::vector<size_t> row(b.size() + 1);
  std::iota(row.begin(), row.end(), 0);
  for (size_t i = 1; i <= a.size(); ++i) {
    size_t diagonal = row[0];
    row[0] = i;
    for (size_t j = 1; j <= b.size(); ++j) {
      size_t changed = diagonal + (a[i - 1] == b[j - 1] ? 0 : 1);
      diagonal = row[j];
      row[j] = std::min({row[j] + 1, row[j - 1] + 1, changed});
    }
  }
  return row[b.size()];
}

// A key at the top that belongs into a section, or one in the wrong section.
std::string Elsewhere(const std::string& key) {
  for (const Option& option : Options()) {
    if (option.key == key) return " (did you mean '" + option.name() + "'?)";
  }
  if (key == "jobs" || FindJobOption(key)) return " (did you mean 'compaction.jobs'?)";
  return "";
}

}  // namespace

std::string DidYouMean(const std::string& typed, const std::vector<std::string>& known) {
  if (typed.size() > kTypedMax) return "";
  const std::string* nearest = nullptr;
  size_t least = 2 + typed.size() / 3;  // so much or more is another word
  for (const std::string& word : known) {
    size_t distance = Distance(typed, word);
    if (distance >= least) continue;
    least = distance;
    nearest = &word;
  }
  return nearest == nullptr ? "" : " (did you mean '" + *nearest + "'?)";
}

std::string SuggestSection(const std::string& typed) {
  std::vector<std::string> known = {"version", "compaction"};
  for (const Option& option : Options())
    known.push_back(option.section.substr(0, option.section.find('.')));
  std::string near = DidYouMean(typed, known);
  return near.empty() ? Elsewhere(typed) : near;
}

std::string SuggestKey(const std::string& section, const std::string& typed) {
  std::vector<std::string> known;
  for (const Option& option : Options()) {
    if (option.section == section) known.push_back(option.key);
    if (option.section.starts_with(section + "."))
      known.push_back(option.section.substr(section.size() + 1));
  }
  if (section == "compaction") known.push_back("jobs");
  std::string near = DidYouMean(typed, known);
  return near.empty() ? Elsewhere(typed) : near;
}

std::string SuggestJobKey(const std::string& typed) {
  std::vector<std::string> known = {kCollections};
  for (const JobOption& option : JobOptions()) known.push_back(option.key);
  std::string near = DidYouMean(typed, known);
  return near.empty() ? Elsewhere(typed) : near;
}

std::string SuggestVariable(const std::string& typed) {
  std::vector<std::string> known;
  for (const Option& option : Options()) known.push_back(option.environment_name());
  return DidYouMean(typed, known);
}

}  // namespace syncflow::config
