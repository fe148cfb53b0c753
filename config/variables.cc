#include "config/variables.h"

#include <algorithm>

#include "config/options.h"
#include "config/suggest.h"

namespace syncflow::config {
namespace {

bool IsSetting(const std::string& name) {
  const std::vector<Option>& all = Options();
  return std::any_of(all.begin(), all.end(),
                     [&](const Option& option) { return option.environment_name() == name; });
}

// Kubernetes and Docker set these for every service, here for one called "syncflow-…".
bool IsServiceLink(const std::string& name, const std::string& value) {
  auto has = [&](const char* part) { return name.find(part) != name.npos; };
  bool address = value.find("://") != value.npos && has("_PORT");
  return address || has("_SERVICE_HOST") || has("_SERVICE_PORT") || has("_TCP_");
}

}  // namespace

std::vector<std::string> WarnOfUnknown(const Environment& environment,
                                       const std::set<std::string>& used) {
  std::vector<std::string> out;
  for (const auto& [name, value] : environment) {
    bool ours = name.starts_with("SYNCFLOW_") && !IsServiceLink(name, value);
    if (!ours || used.contains(name) || IsSetting(name)) continue;
    out.push_back("the environment variable " + name + " is no setting and is ignored" +
                  SuggestVariable(name));
  }
  return out;
}

}  // namespace syncflow::config
