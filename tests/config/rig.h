// What the tests of this room say again and again.
#pragma once

#include <string>
#include <vector>

#include "config/job_options.h"
#include "config/load.h"
#include "config/options.h"

namespace syncflow::config {

// A file that is right; tests add to it or spoil it.
inline const std::string kGood = "version: 1\npostgres:\n  url: postgresql://localhost/app\n";

inline Loaded LoadGood(const std::string& more = "", const Environment& environment = {}) {
  return LoadText(kGood + more, "f.yaml", environment);
}

inline std::vector<std::string> ViolationsOf(const std::string& text,
                                             const Environment& environment = {}) {
  return LoadText(text, "f.yaml", environment).violations;
}

// The texts of all settings; that of the one secret is not hidden.
inline std::vector<std::string> TextsOf(const Settings& settings) {
  std::vector<std::string> out = {settings.postgres.url.Reveal()};
  for (const Option& option : Options()) out.push_back(option.name() + "=" + option.get(settings));
  for (const CompactionJob& job : settings.compaction.jobs) {
    for (const JobOption& option : JobOptions()) out.push_back(option.key + "=" + option.get(job));
    for (const auto& [name, age] : job.collections) out.push_back(name + "=" + AgeText(age));
  }
  return out;
}

inline std::string Joined(const std::vector<std::string>& lines) {
  std::string out;
  for (const std::string& line : lines) out += line + "\n";
  return out;
}

}  // namespace syncflow::config
