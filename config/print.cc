#include "config/print.h"

#include <algorithm>

#include "config/job_options.h"
#include "config/options.h"

namespace syncflow::config {
namespace {

// A double-quoted YAML scalar that survives substitution. Settings hold no control characters.
std::string Quoted(const std::string& text) {
  std::string out = "\"";
  for (char c : text) {
    if (c == '"' || c == '\\') out += '\\';
    if (c == '$') out += '$';
    out += c;
  }
  return out + "\"";
}

std::string ValueOf(const Option& option, const Settings& settings) {
  std::string text = option.get(settings);
  return option.free_text ? Quoted(text) : text;
}

std::string OriginOf(const std::string& name, const Loaded& loaded) {
  auto found = loaded.origins.find(name);
  return found == loaded.origins.end() ? "default" : found->second;
}

// How far what stands in the section is indented; a section within another follows its settings.
std::string IndentOf(const std::string& section) {
  return std::string(2 + 2 * static_cast<size_t>(std::ranges::count(section, '.')), ' ');
}

std::string HeadOf(const std::string& section) {
  return IndentOf(section).substr(2) + section.substr(section.rfind('.') + 1) + ":\n";
}

// Keys are not substituted.
std::string KeyOf(const std::string& text) {
  std::string out = "\"";
  for (char c : text) {
    if (c == '"' || c == '\\') out += '\\';
    out += c;
  }
  return out + "\"";
}

std::string CollectionsOf(const CompactionJob& job) {
  std::string out;
  for (const auto& [name, age] : job.collections)
    out += (out.empty() ? "" : ", ") + KeyOf(name) + ": " + AgeText(age);
  return "{" + out + "}";
}

std::string PrintJob(const CompactionJob& job) {
  std::string out;
  for (const JobOption& option : JobOptions()) {
    std::string text = option.get(job);
    if (text.empty()) continue;
    out += (out.empty() ? "    - " : "      ") + option.key + ": " +
           (option.free_text ? Quoted(text) : text) + "\n";
  }
  if (job.collections.empty()) return out;
  return out + "      " + kCollections + ": " + CollectionsOf(job) + "\n";
}

std::string PrintJobs(const Loaded& loaded) {
  const auto& jobs = loaded.settings.compaction.jobs;
  std::string origin = "  # " + OriginOf("compaction.jobs", loaded) + "\n";
  std::string out = std::string("compaction:\n  jobs:") + (jobs.empty() ? " []" : "") + origin;
  for (const CompactionJob& job : jobs) out += PrintJob(job);
  return out;
}

}  // namespace

std::string Print(const Loaded& loaded) {
  std::string out = "version: 1\n";
  std::string section;
  for (const Option& option : Options()) {
    if (option.section != section) out += HeadOf(option.section);
    section = option.section;
    out += IndentOf(section) + option.key + ": " + ValueOf(option, loaded.settings) + "  # " +
           OriginOf(option.name(), loaded) + "\n";
  }
  return out + PrintJobs(loaded);
}

std::string Defaults() {
  return Print(Loaded{});
}

}  // namespace syncflow::config
