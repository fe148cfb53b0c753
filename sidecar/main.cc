// syncflow-sidecar: the command line. Each command lives in sidecar/command.
#include <CLI/CLI.hpp>

#include <iostream>

#include "sidecar/command/config_commands.h"
#include "sidecar/command/init.h"
#include "sidecar/command/run.h"
#include "sidecar/command/tail.h"
#include "sidecar/version.h"

namespace {

using namespace syncflow;

constexpr int kUsage = 2;
constexpr int kConfiguration = 78;  // EX_CONFIG

void AddRun(CLI::App& app, int& status) {
  auto file = std::make_shared<std::string>();
  CLI::App* run =
      app.add_subcommand("run", "Stream from PostgreSQL, keep the journal, serve the feed");
  run->add_option("--config", *file, "YAML file")->required();
  run->callback([file, &status] { status = command::Run(*file); });
}

void AddCheckConfig(CLI::App& app, int& status) {
  auto file = std::make_shared<std::string>();
  auto connect = std::make_shared<bool>(false);
  CLI::App* check =
      app.add_subcommand("check-config", "Report every mistake in a configuration file at once");
  check->add_option("FILE", *file)->required();
  check->add_flag("--connect", *connect, "also connect to PostgreSQL");
  check->callback([file, connect, &status] { status = command::CheckConfig(*file, *connect); });
}

void AddPrintConfig(CLI::App& app, int& status) {
  auto file = std::make_shared<std::string>();
  auto defaults = std::make_shared<bool>(false);
  CLI::App* print = app.add_subcommand(
      "print-config", "Print the settings in force, each with its origin, without secrets");
  print->add_option("FILE", *file);
  print->add_flag("--defaults", *defaults, "the defaults instead; needs no file");
  print->callback([file, defaults, &status] {
    if (file->empty() && !*defaults) throw CLI::RequiredError("FILE or --defaults");
    status = command::PrintConfig(*file, *defaults);
  });
}

struct InitWords {
  std::string config;
  std::string url;
  std::string schema = "public";
  bool print_sql = false;
};

int Init(const InitWords& words) {
  command::InitOptions options;
  options.print_sql = words.print_sql;
  options.connect.url = words.url;
  options.schema = words.schema;
  if (!words.config.empty()) {
    auto settings = command::LoadOrReport(words.config);
    if (!settings) return kConfiguration;
    options.connect.url = settings->postgres.url.Reveal();
    options.connect.password_file = settings->postgres.password_file;
    options.schema = settings->postgres.schema;
    bool off = settings->notify.mode == config::NotifyMode::kOff;
    options.notify = off ? adapter::NotifyMode::kOff : adapter::NotifyMode::kTrigger;
  }
  return command::Init(options);
}

void AddInit(CLI::App& app, int& status) {
  auto words = std::make_shared<InitWords>();
  CLI::App* init = app.add_subcommand(
      "init", "Create SyncFlow's tables, indexes and trigger where they are missing");
  auto* file = init->add_option("--config", words->config, "YAML file");
  auto* url =
      init->add_option("--url", words->url, "connection string instead of a file")->excludes(file);
  init->add_option("--schema", words->schema, "with --url: the schema")
      ->capture_default_str()
      ->needs(url);
  init->add_flag("--print-sql", words->print_sql, "print the statements, change nothing");
  init->callback([words, &status] {
    if (words->config.empty() && words->url.empty()) throw CLI::RequiredError("--config or --url");
    status = Init(*words);
  });
}

void AddTail(CLI::App& app, int& status) {
  auto options = std::make_shared<command::TailOptions>();
  CLI::App* tail = app.add_subcommand("tail", "Print the feed, reconnecting and resuming");
  tail->add_option("ADDRESS", options->address, "host:port of the feed")->capture_default_str();
  tail->add_option("--from", options->from, "latest, earliest or a cursor")->capture_default_str();
  tail->add_flag("--json", options->json, "feed lines as they are (the default in a pipe)");
  tail->callback([options, &status] { status = command::Tail(*options); });
}

void AddVersion(CLI::App& app, int& status) {
  app.add_subcommand("version", "Print the version")->callback([&status] {
    std::cout << "syncflow-sidecar " << kVersion << "\n";
    status = 0;
  });
}

}  // namespace

int main(int argc, char** argv) {
  CLI::App app("Change-data-capture sidecar for SyncFlow on PostgreSQL", "syncflow-sidecar");
  app.require_subcommand(1);
  int status = 1;
  AddRun(app, status);
  AddCheckConfig(app, status);
  AddPrintConfig(app, status);
  AddInit(app, status);
  AddTail(app, status);
  AddVersion(app, status);
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    return app.exit(error) == 0 ? 0 : kUsage;
  }
  return status;
}
