#include "sidecar/command/database.h"

#include <cstdio>
#include <cstdlib>
#include <stdexcept>

#include "sidecar/command/config_commands.h"

namespace syncflow::command {
namespace {

constexpr int kFailed = 1;
constexpr int kUsage = 2;
constexpr int kConfiguration = 78;  // EX_CONFIG

std::optional<Database> FromFile(const std::string& path) {
  auto settings = LoadOrReport(path);
  if (!settings) return std::nullopt;
  Database database;
  database.connect.url = settings->postgres.url.Reveal();
  database.connect.password_file = settings->postgres.password_file;
  database.schema = settings->postgres.schema;
  database.slot = settings->replication.slot;
  if (settings->notify.mode == config::NotifyMode::kOff)
    database.notify = adapter::NotifyMode::kOff;
  return database;
}

Database FromUrl(const std::string& url, const std::string& schema) {
  Database database;
  database.connect.url = url;
  database.schema = schema;
  database.slot = config::Settings().replication.slot;
  return database;
}

}  // namespace

int WithDatabase(const std::string& name, const DatabaseWords& words,
                 const std::function<int(const Database&)>& work) {
  const char* variable = std::getenv("DATABASE_URL");
  std::string url = words.url.empty() && variable != nullptr ? variable : words.url;
  if (words.config.empty() && url.empty()) {
    std::fprintf(stderr, "%s: which database? Give --config, --url or DATABASE_URL\n",
                 name.c_str());
    return kUsage;
  }
  auto database = words.config.empty() ? FromUrl(url, words.schema) : FromFile(words.config);
  if (!database) return kConfiguration;
  try {
    return work(*database);
  } catch (const adapter::Error& error) {
    std::fprintf(stderr, "%s: %s\n", name.c_str(), error.Explain().c_str());
  } catch (const std::invalid_argument& error) {
    std::fprintf(stderr, "%s: %s\n", name.c_str(), error.what());
    return kUsage;
  }
  return kFailed;
}

}  // namespace syncflow::command
