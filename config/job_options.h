// The table of what a compaction job is made of; it drives the parser, the "did you mean",
// print-config and the test of the example file, as options.h does for single settings.
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "config/settings.h"

namespace syncflow::config {

struct JobOption {
  std::string key;
  // Sets the value; a sentence (beginning with what it must be) when the text does not fit.
  std::function<std::optional<std::string>(CompactionJob&, const std::string&)> set;
  // The text that sets this value; "" where the job has none.
  std::function<std::string(const CompactionJob&)> get;
  bool free_text = false;  // needs quotes in YAML
  bool explains = false;   // its sentence quotes what was wrong
};

// All but `collections`, which is a map.
const std::vector<JobOption>& JobOptions();
const JobOption* FindJobOption(const std::string& key);
inline constexpr const char* kCollections = "collections";

// "90d" or "never"; a sentence when the text is neither.
std::optional<std::string> SetAge(Age& age, const std::string& text);
std::string AgeText(const Age& age);

// What a job lacks or has too much of; `given` are its keys in the file. Each sentence follows
// "compaction.jobs: ".
std::vector<std::string> FindJobGaps(const std::vector<std::string>& given);
// What does not hold between parts of a job that are right by themselves.
std::vector<std::string> FindJobConflicts(const CompactionJob& job);

}  // namespace syncflow::config
