// syncflow-sidecar: the command line. Each command lives in sidecar/command.
#include <CLI/CLI.hpp>

#include <cerrno>
#include <cstring>
#include <iostream>
#include <map>

#include "config/units.h"
#include "sidecar/command/config_commands.h"
#include "sidecar/command/consumers.h"
#include "sidecar/command/data.h"
#include "sidecar/command/doctor.h"
#include "sidecar/command/init.h"
#include "sidecar/command/run.h"
#include "sidecar/command/skip.h"
#include "sidecar/command/tail.h"
#include "sidecar/version.h"

namespace {

using namespace syncflow;

constexpr int kUsage = 2;

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

// The options of every command that works on a database; they are read when it runs.
std::shared_ptr<command::DatabaseWords> AddDatabase(CLI::App& command) {
  auto words = std::make_shared<command::DatabaseWords>();
  auto* file = command.add_option("--config", words->config, "YAML file");
  command.add_option("--url", words->url, "connection string instead; default: DATABASE_URL")
      ->excludes(file);
  command.add_option("--schema", words->schema, "without a file: the schema")
      ->capture_default_str()
      ->excludes(file);
  return words;
}

using Work = std::function<int(const command::Database&)>;

void OnDatabase(CLI::App& command, int& status, const Work& work) {
  auto words = AddDatabase(command);
  command.callback([&command, &status, words, work] {
    status = command::WithDatabase(command.get_name(), *words, work);
  });
}

void AddInit(CLI::App& app, int& status) {
  CLI::App* init = app.add_subcommand(
      "init", "Create SyncFlow's tables, indexes and trigger where they are missing");
  auto options = std::make_shared<command::InitOptions>();
  init->add_flag("--print-sql", options->print_sql, "print the statements, change nothing");
  std::map<std::string, adapter::ExtraIndex> indexes{
      {"data", adapter::ExtraIndex::kDocumentData},
      {"clock", adapter::ExtraIndex::kOperationClock},
      {"document", adapter::ExtraIndex::kOperationDocument}};
  init->add_option(
          "--index", options->indexes,
          "also, without holding up writers: data (filters), clock (late operations), document "
          "(compact with keep_last)")
      ->transform(CLI::CheckedTransformer(indexes));
  OnDatabase(*init, status,
             [options](const auto& database) { return command::Init(database, *options); });
}

void AddStats(CLI::App& app, int& status) {
  OnDatabase(*app.add_subcommand("stats", "Count operations and documents"), status,
             command::Stats);
}

void AddGet(CLI::App& app, int& status) {
  auto collection = std::make_shared<std::string>();
  auto id = std::make_shared<std::string>();
  CLI::App* get = app.add_subcommand("get", "Print a document");
  get->add_option("COLLECTION", *collection)->required();
  get->add_option("ID", *id)->required();
  OnDatabase(*get, status, [collection, id](const auto& database) {
    return command::Get(database, *collection, *id);
  });
}

void AddQuery(CLI::App& app, int& status) {
  struct Words {
    std::string collection;
    adapter::DocumentQuery query;
    std::vector<std::string> order;
  };
  auto words = std::make_shared<Words>();
  CLI::App* query = app.add_subcommand("query", "Print the documents that a filter finds");
  query->add_option("COLLECTION", words->collection)->required();
  query->add_option("FILTER", words->query.filter, R"(JSON, as {"address.city":{"$in":["Ulm"]}})")
      ->capture_default_str();
  query->add_option("--order", words->order, "path, or -path for descending; updated last first");
  query->add_option("--limit", words->query.limit, "0 = all")
      ->capture_default_str()
      ->check(CLI::NonNegativeNumber);
  OnDatabase(*query, status, [words](const auto& database) {
    for (const std::string& path : words->order) {
      bool descending = path.starts_with('-');
      words->query.order.push_back({path.substr(descending ? 1 : 0), descending});
    }
    return command::Query(database, words->collection, words->query);
  });
}

void AddAccept(CLI::App& app, int& status) {
  auto path = std::make_shared<std::string>("-");
  CLI::App* accept = app.add_subcommand("accept", "Store operations, one JSON object a line");
  accept->add_option("FILE", *path, "- = standard input")->capture_default_str();
  OnDatabase(*accept, status, [path](const auto& database) {
    std::unique_ptr<std::FILE, int (*)(std::FILE*)> file(nullptr, std::fclose);
    if (*path != "-") file.reset(std::fopen(path->c_str(), "r"));
    if (*path != "-" && !file)
      throw std::invalid_argument("cannot open " + *path + ": " + std::strerror(errno));
    return command::Accept(database, file ? file.get() : stdin);
  });
}

// "30d" and the like into milliseconds.
CLI::Option* AddDuration(CLI::App& command, const std::string& name,
                         std::chrono::milliseconds& value, const std::string& about) {
  auto parse = [&value, name](const std::string& text) {
    auto duration = config::ParseDuration(text);
    if (!duration)
      throw CLI::ValidationError(name, "'" + text + "' is no duration, as 90d or 100ms");
    value = *duration;
  };
  return command.add_option_function<std::string>(name, parse, about)
      ->default_str(config::FormatDuration(value));
}

void AddCompact(CLI::App& app, int& status) {
  auto options = std::make_shared<adapter::CompactOptions>();
  CLI::App* compact = app.add_subcommand("compact", "Delete old operations, in small steps");
  AddDuration(*compact, "--older-than", *options->older_than,
              "by their timestamps and since they were stored");
  AddDuration(*compact, "--pause", options->pause, "between batches");
  AddDuration(*compact, "--lock-timeout", options->lock_timeout, "for the table");
  compact->add_option("--batch-rows", options->batch_rows, "a transaction")->capture_default_str();
  compact->add_option("--share-max", options->share_max, "of the table, at most")
      ->capture_default_str();
  compact->add_option("--keep-last", options->keep_last, "of each document, however old")
      ->capture_default_str();
  auto past_slot = std::make_shared<bool>(false);
  compact->add_flag("--dry-run", options->dry_run, "only count");
  compact->add_flag("--past-slot", *past_slot, "what the sidecar has not confirmed, too");
  compact->add_flag("--vacuum", options->vacuum, "VACUUM (ANALYZE) at the end");
  OnDatabase(*compact, status, [options, past_slot](const auto& database) {
    return command::Compact(database, *options, *past_slot);
  });
}

void AddDoctor(CLI::App& app, int& status) {
  auto file = std::make_shared<std::string>();
  auto json = std::make_shared<bool>(false);
  CLI::App* doctor = app.add_subcommand(
      "doctor", "Tell what in PostgreSQL is right, doubtful or wrong, each with its remedy");
  doctor->add_option("--config", *file, "YAML file of the sidecar")->required();
  doctor->add_flag("--json", *json, "one JSON object");
  doctor->callback([file, json, &status] { status = command::Doctor(*file, *json); });
}

void AddSkip(CLI::App& app, int& status) {
  auto file = std::make_shared<std::string>();
  auto lsn = std::make_shared<std::string>();
  CLI::App* skip = app.add_subcommand(
      "skip", "Leave out the one transaction that cannot be read; a gap stands in its place");
  skip->add_option("LSN", *lsn, "of its commit, as the log and /status name it")->required();
  skip->add_option("--config", *file, "YAML file of the sidecar")->required();
  skip->callback([file, lsn, &status] { status = command::Skip(*file, *lsn); });
}

void AddConsumers(CLI::App& app, int& status) {
  auto file = std::make_shared<std::string>();
  auto json = std::make_shared<bool>(false);
  auto name = std::make_shared<std::string>();
  auto cursor = std::make_shared<std::string>();
  CLI::App* consumers = app.add_subcommand(
      "consumers", "Tell where the named consumers of the running sidecar stand, or move them");
  consumers->add_option("--config", *file, "YAML file of the sidecar")->required();
  consumers->add_flag("--json", *json, "the list as JSON");
  CLI::App* move = consumers->add_subcommand("move", "Put one that is not connected elsewhere");
  move->add_option("NAME", *name)->required();
  move->add_option("CURSOR", *cursor, "a cursor, earliest or latest")->required();
  auto token = std::make_shared<std::string>();
  CLI::App* give = consumers->add_subcommand("give", "Let another token have one's name and place");
  give->add_option("NAME", *name)->required();
  give->add_option("TOKEN", *token, "its name in feed.tokens_file; \"\": the first that comes")
      ->required();
  CLI::App* remove = consumers->add_subcommand("remove", "Forget one that is not connected");
  remove->add_option("NAME", *name)->required();
  consumers->callback([=, &status] {
    if (move->parsed()) {
      status = command::MoveConsumer(*file, *name, *cursor);
    } else if (give->parsed()) {
      status = command::GiveConsumer(*file, *name, *token);
    } else if (remove->parsed()) {
      status = command::RemoveConsumer(*file, *name);
    } else {
      status = command::ListConsumers(*file, *json);
    }
  });
}

void AddTail(CLI::App& app, int& status) {
  auto options = std::make_shared<command::TailOptions>();
  auto tls = std::make_shared<client::Tls>();
  client::Options& feed = options->feed;
  CLI::App* tail = app.add_subcommand("tail", "Print the feed, reconnecting and resuming");
  tail->add_option("ADDRESS", feed.address, "host:port of the feed")->capture_default_str();
  tail->add_option("--name", feed.name,
                   "a durable consumer: goes on where it stands, acknowledges what was printed");
  tail->add_option(
      "--from", feed.from,
      "latest, earliest, snapshot (all documents, then changes) or a cursor; by default "
      "where the name stands, else latest");
  tail->add_option("--collection", feed.collections, "only this one; may be given again");
  tail->add_option("--token-file", options->token_file, "a file with the token of this consumer");
  auto* ca = tail->add_option("--tls-ca", tls->ca_file,
                              "connect with TLS; PEM file of who may vouch for the server");
  auto* certificate = tail->add_option("--tls-certificate", tls->certificate_file,
                                       "PEM file of this consumer's certificate");
  auto* key = tail->add_option("--tls-key", tls->key_file, "PEM file of its key");
  certificate->needs(ca, key);
  key->needs(certificate);
  tail->add_option("--tls-server-name", tls->server_name,
                   "the name the server must prove; by default that of ADDRESS")
      ->needs(ca);
  tail->add_flag("--json", options->json, "feed lines as they are (the default in a pipe)");
  tail->callback([options, tls, ca, &status] {
    if (!ca->empty()) options->feed.tls = *tls;
    status = command::Tail(*options);
  });
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
  AddDoctor(app, status);
  AddSkip(app, status);
  AddConsumers(app, status);
  AddTail(app, status);
  AddGet(app, status);
  AddQuery(app, status);
  AddAccept(app, status);
  AddStats(app, status);
  AddCompact(app, status);
  AddVersion(app, status);
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    return app.exit(error) == 0 ? 0 : kUsage;
  }
  return status;
}
