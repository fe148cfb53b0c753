#include "sidecar/command/config_commands.h"

#include <iostream>

#include "adapter/connection.h"
#include "config/load.h"
#include "config/print.h"

namespace syncflow::command {
namespace {

constexpr int kConfiguration = 78;  // EX_CONFIG

// After everything that is wrong was printed; nullopt when it cannot be used.
std::optional<config::Loaded> Load(const std::string& path) {
  config::Loaded loaded = config::Load(path, config::ProcessEnvironment());
  for (const std::string& warning : loaded.warnings) std::cerr << "warning: " << warning << "\n";
  for (const std::string& violation : loaded.violations) std::cerr << violation << "\n";
  if (!loaded.violations.empty()) return std::nullopt;
  return loaded;
}

int Connect(const config::Settings& settings) {
  adapter::ConnectOptions options;
  options.url = settings.postgres.url.Reveal();
  options.password_file = settings.postgres.password_file;
  try {
    adapter::Connection connection(options);
    return 0;
  } catch (const adapter::Error& error) {
    std::cerr << error.Explain() << "\n";
    return 1;
  }
}

}  // namespace

std::optional<config::Settings> LoadOrReport(const std::string& path) {
  auto loaded = Load(path);
  if (!loaded) return std::nullopt;
  return loaded->settings;
}

int CheckConfig(const std::string& path, bool connect) {
  auto settings = LoadOrReport(path);
  if (!settings) return kConfiguration;
  if (connect && Connect(*settings) != 0) return 1;
  std::cout << path << ": ok\n";
  return 0;
}

int PrintConfig(const std::string& path, bool defaults) {
  if (defaults) {
    std::cout << config::Defaults();
    return 0;
  }
  auto loaded = Load(path);
  if (!loaded) return kConfiguration;
  std::cout << config::Print(*loaded);
  return 0;
}

}  // namespace syncflow::command
