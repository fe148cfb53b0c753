// The one table of settings: it drives the parser, the "did you mean", the environment,
// print-config and the test of the example file. Meanings and defaults are those of settings.h.
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "config/settings.h"

namespace syncflow::config {

struct Option {
  std::string section;  // with dots where one lies inside another: feed.tls
  std::string key;
  // Sets the value; a sentence (beginning with what it must be) when the text does not fit.
  std::function<std::optional<std::string>(Settings&, const std::string&)> set;
  // The text that sets this value; *** for a secret.
  std::function<std::string(const Settings&)> get;
  bool secret = false;
  bool free_text = false;  // needs quotes in YAML

  // postgres.url
  std::string name() const { return section + "." + key; }
  // SYNCFLOW_POSTGRES_URL
  std::string environment_name() const;
};

const std::vector<Option>& Options();
const Option* FindOption(const std::string& section, const std::string& key);
bool IsSection(const std::string& name);

// What does not hold between settings that are right by themselves.
struct Conflict {
  std::vector<std::string> settings;
  std::string sentence;
};
std::vector<Conflict> FindConflicts(const Settings& settings);

}  // namespace syncflow::config
