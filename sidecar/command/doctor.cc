#include "sidecar/command/doctor.h"

#include <algorithm>
#include <cstdio>
#include <nlohmann/json.hpp>

#include "replication/diagnosis.h"
#include "sidecar/command/config_commands.h"

namespace syncflow::command {
namespace {

using replication::Finding;
using replication::Severity;

constexpr int kFailed = 1;
constexpr int kConfiguration = 78;  // EX_CONFIG

const char* NameOf(Severity severity) {
  switch (severity) {
    case Severity::kOk:
      return "ok";
    case Severity::kWarning:
      return "warning";
    case Severity::kError:
      return "error";
  }
  return "";
}

replication::Subject SubjectOf(const config::Settings& settings) {
  replication::Subject subject;
  subject.schema = settings.postgres.schema;
  subject.table = "operations";
  subject.slot = settings.replication.slot;
  if (settings.replication.plugin == config::Plugin::kWal2Json) subject.plugin = "wal2json";
  if (settings.replication.plugin == config::Plugin::kPgOutput) subject.plugin = "pgoutput";
  subject.publication = settings.replication.publication;
  subject.creates_publication = settings.postgres.initialize;
  subject.serves_clients = !settings.sync_api.listen.empty();
  subject.deletes = !settings.compaction.jobs.empty();
  return subject;
}

void PrintText(const std::vector<Finding>& findings) {
  for (const Finding& finding : findings) {
    std::printf("%-8s %-17s %s\n", NameOf(finding.severity), finding.check.c_str(),
                finding.sentence.c_str());
    if (!finding.remedy.empty()) std::printf("%26s-> %s\n", "", finding.remedy.c_str());
  }
}

void PrintJson(const std::vector<Finding>& findings, bool ok) {
  nlohmann::ordered_json list = nlohmann::ordered_json::array();
  for (const Finding& finding : findings) {
    list.push_back({{"check", finding.check},
                    {"severity", NameOf(finding.severity)},
                    {"sentence", finding.sentence},
                    {"remedy", finding.remedy}});
  }
  nlohmann::ordered_json all = {{"ok", ok}, {"findings", list}};
  std::puts(all.dump(2, ' ', false, nlohmann::json::error_handler_t::replace).c_str());
}

}  // namespace

int Doctor(const std::string& config_path, bool json) {
  auto settings = LoadOrReport(config_path);
  if (!settings) return kConfiguration;
  adapter::ConnectOptions connect;
  connect.url = settings->postgres.url.Reveal();
  connect.password_file = settings->postgres.password_file;
  auto findings = replication::Diagnose(connect, SubjectOf(*settings));
  bool ok = std::none_of(findings.begin(), findings.end(), [](const Finding& finding) {
    return finding.severity == Severity::kError;
  });
  if (json) {
    PrintJson(findings, ok);
  } else {
    PrintText(findings);
  }
  return ok ? 0 : kFailed;
}

}  // namespace syncflow::command
