#include "config/interpret.h"

#include <algorithm>
#include <optional>
#include <set>
#include <utility>

#include "config/job_options.h"
#include "config/options.h"
#include "config/suggest.h"
#include "config/text.h"
#include "config/variables.h"

namespace syncflow::config {
namespace {

constexpr size_t kComplaintsMax = 100;
constexpr size_t kKeyMax = 40;
constexpr size_t kValueMax = 80;
constexpr size_t kCollectionMax = 128;
constexpr const char* kCompaction = "compaction";
constexpr const char* kJobs = "compaction.jobs";

using Kind = Node::Kind;

// Only what looks like a key is repeated: it could be a password in the wrong place.
std::string Named(const std::string& prefix, const std::string& word) {
  auto letter = [](char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_'; };
  bool shown = word.size() <= kKeyMax && std::all_of(word.begin(), word.end(), letter);
  return shown ? " '" + prefix + word + "'" : "";
}

// Never a secret; callers give the text before substitution, as a variable could hold one.
std::string Shown(const std::string& text) {
  return text.size() <= kValueMax && IsOneLineOfText(text) ? ", not '" + text + "'" : "";
}
std::string Shown(const Option& option, const std::string& text) {
  return option.secret ? "" : Shown(text);
}

bool IsWithin(const std::string& section, const std::string& outer) {
  return section == outer || section.starts_with(outer + ".");
}

class Interpreter {
 public:
  Interpreter(const Document& document, const Environment& environment)
      : document_(document), environment_(environment), complaints_(document.complaints) {}

  Loaded Run(const std::string& path) {
    ReadRoot(document_.root);
    ReadEnvironment();
    if (document_.whole) CheckConflicts();
    out_.warnings = WarnOfUnknown(environment_, used_);
    Report(path);
    return std::move(out_);
  }

 private:
  // ---- the file ----

  void ReadRoot(const Node& root) {
    if (root.kind == Kind::kMap) return ReadSections(root);
    if (!document_.whole) return;
    if (root.kind == Kind::kEmpty || root.kind == Kind::kUnread)
      return Complain({}, "the file is empty: begin with 'version: 1'");
    Complain(root.place, "the file must be a map of sections, beginning with 'version: 1'");
    BreakAll([](const Option&) { return true; });
  }

  void ReadSections(const Node& root) {
    std::map<std::string, Place> seen;
    for (const auto& [key, value] : root.entries) {
      if (TakeKey(key, seen)) ReadTop(key, value);
    }
    if (document_.whole && !seen.contains("version"))
      Complain(root.place, "'version: 1' is missing");
  }

  void ReadTop(const Node& key, const Node& value) {
    const std::string& name = key.text;
    if (name == "version") return ReadVersion(key, value);
    if (name != kCompaction && (!IsSection(name) || name.find('.') != name.npos))
      return Complain(key.place, "unknown section" + Named("", name) + SuggestSection(name));
    ReadSection(name, key, value);
  }

  void ReadSection(const std::string& name, const Node& key, const Node& value) {
    places_[name] = key.place;
    if (value.kind == Kind::kMap) return ReadSettings(name, value);
    if (value.kind == Kind::kEmpty) return;
    BreakAll([&](const Option& option) { return IsWithin(option.section, name); });
    if (value.kind == Kind::kUnread) return;
    Complain(value.place, "'" + name + "' must be a map of settings");
  }

  void ReadVersion(const Node& key, const Node& value) {
    if (value.kind == Kind::kUnread) return;
    Place place = value.kind == Kind::kEmpty ? key.place : value.place;
    Substituted version = Resolve(value.text);
    if (version.violation) return Complain(place, "version: " + *version.violation);
    if (version.text != "1") Complain(place, "version must be 1, the only one there is");
  }

  void ReadSettings(const std::string& section, const Node& map) {
    std::map<std::string, Place> seen;
    for (const auto& [key, value] : map.entries) {
      if (!TakeKey(key, seen)) continue;
      std::string name = section + "." + key.text;
      if (const Option* option = FindOption(section, key.text)) {
        ReadValue(*option, key, value);
      } else if (name == kJobs) {
        ReadJobs(key, value);
      } else if (IsSection(name)) {
        ReadSection(name, key, value);
      } else {
        Complain(key.place,
                 "unknown key" + Named(section + ".", key.text) + SuggestKey(section, key.text));
      }
    }
  }

  // False after a complaint.
  bool TakeKey(const Node& key, std::map<std::string, Place>& seen) {
    if (key.kind == Kind::kUnread) return false;
    if (key.kind != Kind::kScalar) return Refuse(key.place, "a key must be a word");
    if (key.text == "<<") return Refuse(key.place, "merge keys ('<<') are not supported");
    auto [first, is_new] = seen.emplace(key.text, key.place);
    if (is_new) return true;
    return Refuse(key.place, "the key" + Named("", key.text) +
                                 " stands here a second time, after " + "line " +
                                 std::to_string(first->second.line));
  }

  void ReadValue(const Option& option, const Node& key, const Node& value) {
    bool empty = value.kind == Kind::kEmpty;
    places_[option.name()] = empty ? key.place : value.place;
    out_.origins[option.name()] = "file";
    if (value.kind == Kind::kScalar) return SetValue(option, value);
    broken_.insert(option.name());
    if (value.kind == Kind::kUnread) return;
    Complain(places_[option.name()], option.name() + Unfit(empty));
  }

  void SetValue(const Option& option, const Node& value) {
    Substituted text = Resolve(value.text);
    std::string violation;
    if (text.violation) {
      violation = ": " + *text.violation;
    } else if (auto expected = option.set(out_.settings, text.text)) {
      violation = " " + *expected + Shown(option, value.text);
    }
    if (violation.empty()) return;
    broken_.insert(option.name());
    Complain(value.place, option.name() + violation);
  }

  // ---- jobs ----

  void ReadJobs(const Node& key, const Node& value) {
    out_.origins[kJobs] = "file";
    if (value.kind == Kind::kUnread) return;
    if (value.kind != Kind::kList) {
      return Complain(
          value.kind == Kind::kEmpty ? key.place : value.place,
          std::string(kJobs) + " must be a list of jobs, each beginning with '- name:'");
    }
    std::map<std::string, Place> names;
    for (const auto& [item, none] : value.entries) {
      if (item.kind == Kind::kMap) {
        ReadJob(item, names);
      } else if (item.kind != Kind::kUnread) {
        Complain(item.place, std::string(kJobs) + ": a job must be a map of settings");
      }
    }
  }

  void ReadJob(const Node& map, std::map<std::string, Place>& names) {
    CompactionJob& job = out_.settings.compaction.jobs.emplace_back();
    std::map<std::string, Place> seen;
    std::vector<std::string> given;
    size_t complaints_before = complaints_.size();
    for (const auto& [key, value] : map.entries) {
      if (!TakeKey(key, seen)) continue;
      given.push_back(key.text);
      if (key.text == kCollections) {
        ReadCollections(job, key, value);
      } else if (const JobOption* option = FindJobOption(key.text)) {
        ReadJobValue(*option, job, key, value);
      } else {
        Complain(key.place, "unknown key" + Named(std::string(kJobs) + ".", key.text) +
                                SuggestJobKey(key.text));
      }
    }
    if (!document_.whole) return;
    bool right = complaints_.size() == complaints_before;
    auto sentences = FindJobGaps(given);
    if (right && sentences.empty()) sentences = FindJobConflicts(job);
    for (const std::string& sentence : sentences)
      Complain(map.place, std::string(kJobs) + ": " + sentence);
    auto [first, is_new] = names.emplace(job.name, map.place);
    if (is_new || job.name.empty()) return;
    Complain(seen["name"], std::string(kJobs) + ": the name '" + job.name +
                               "' stands here a second time, after the job in line " +
                               std::to_string(first->second.line));
  }

  void ReadJobValue(const JobOption& option, CompactionJob& job, const Node& key,
                    const Node& value) {
    std::string name = std::string(kJobs) + "." + option.key;
    auto text = Single(name, key, value);
    if (!text) return;
    if (auto expected = option.set(job, *text)) {
      Complain(value.place, name + " " + *expected + (option.explains ? "" : Shown(value.text)));
    }
  }

  void ReadCollections(CompactionJob& job, const Node& key, const Node& value) {
    std::string name = std::string(kJobs) + "." + kCollections;
    if (value.kind == Kind::kUnread) return;
    if (value.kind != Kind::kMap) {
      return Complain(value.kind == Kind::kEmpty ? key.place : value.place,
                      name + " must be a map of collections, like {drafts: 7d, audit: never}");
    }
    std::map<std::string, Place> seen;
    for (const auto& [collection, age] : value.entries) {
      if (!TakeKey(collection, seen)) continue;
      bool named = !collection.text.empty() && collection.text.size() <= kCollectionMax &&
                   IsOneLineOfText(collection.text);
      if (!named) {
        Complain(collection.place, name + " must be named with 1 to 128 bytes on one line");
        continue;
      }
      auto text = Single(name, collection, age);
      if (!text) continue;
      if (auto expected = SetAge(job.collections[collection.text], *text))
        Complain(age.place, name + " " + *expected + Shown(age.text));
    }
  }

  // The text of a single value; nullopt after a complaint.
  std::optional<std::string> Single(const std::string& name, const Node& key, const Node& value) {
    if (value.kind == Kind::kUnread) return std::nullopt;
    if (value.kind != Kind::kScalar) {
      bool empty = value.kind == Kind::kEmpty;
      Complain(empty ? key.place : value.place, name + Unfit(empty));
      return std::nullopt;
    }
    Substituted text = Resolve(value.text);
    if (!text.violation) return text.text;
    Complain(value.place, name + ": " + *text.violation);
    return std::nullopt;
  }

  static const char* Unfit(bool empty) {
    return empty ? " has no value: give one, or leave the line out" : " must be a single value";
  }

  template <typename Which>
  void BreakAll(Which which) {
    for (const Option& option : Options()) {
      if (which(option)) broken_.insert(option.name());
    }
  }

  Substituted Resolve(const std::string& text) {
    Substituted out = Substitute(text, environment_);
    used_.insert(out.names.begin(), out.names.end());
    return out;
  }

  // ---- on top of the file ----

  void ReadEnvironment() {
    for (const Option& option : Options()) {
      auto found = environment_.find(option.environment_name());
      if (found == environment_.end()) continue;
      const auto& [variable, text] = *found;
      variables_[option.name()] = variable;
      out_.origins[option.name()] = "environment " + variable;
      auto expected = option.set(out_.settings, text);
      if (!expected) continue;
      broken_.insert(option.name());
      of_environment_.push_back(variable + " " + *expected + Shown(option, text));
    }
  }

  // What is broken by itself is not compared with anything.
  void CheckConflicts() {
    for (const Conflict& conflict : FindConflicts(out_.settings)) {
      const auto& names = conflict.settings;
      bool broken = std::any_of(names.begin(), names.end(),
                                [&](const std::string& name) { return broken_.contains(name); });
      if (!broken) ReportConflict(conflict);
    }
  }

  // Where the first of its settings that somebody has set was set; else at the section.
  void ReportConflict(const Conflict& conflict) {
    const std::string& first = conflict.settings[0];
    std::string sentence = first + " " + conflict.sentence;
    for (const std::string& name : conflict.settings) {
      if (variables_.contains(name))
        return of_environment_.push_back(variables_[name] + ": " + sentence);
      if (places_.contains(name)) return Complain(places_[name], sentence);
    }
    Complain(places_[first.substr(0, first.rfind('.'))], sentence);
  }

  // ---- what is reported ----

  void Complain(Place place, std::string sentence) {
    complaints_.push_back({place, std::move(sentence)});
  }

  bool Refuse(Place place, std::string sentence) {
    Complain(place, std::move(sentence));
    return false;
  }

  void Report(const std::string& path) {
    std::stable_sort(complaints_.begin(), complaints_.end(),
                     [](const auto& a, const auto& b) { return a.place < b.place; });
    for (const auto& [place, sentence] : complaints_) {
      if (out_.violations.size() == kComplaintsMax) break;
      out_.violations.push_back(path + ":" + std::to_string(place.line) + ":" +
                                std::to_string(place.column) + ": " + sentence);
    }
    for (const std::string& sentence : of_environment_)
      out_.violations.push_back("environment: " + sentence);
    if (complaints_.size() > kComplaintsMax) {
      out_.violations.push_back(path + ": and " +
                                std::to_string(complaints_.size() - kComplaintsMax) + " more");
    }
  }

  const Document& document_;
  const Environment& environment_;
  std::vector<Complaint> complaints_;
  std::vector<std::string> of_environment_;       // complaints without a place
  std::map<std::string, Place> places_;           // of sections and settings in the file
  std::map<std::string, std::string> variables_;  // of settings that the environment sets
  std::set<std::string> broken_;                  // settings with a complaint of their own
  std::set<std::string> used_;                    // variables that the file names
  Loaded out_;
};

}  // namespace

Loaded Interpret(const Document& document, const std::string& path,
                 const Environment& environment) {
  return Interpreter(document, environment).Run(path);
}

}  // namespace syncflow::config
