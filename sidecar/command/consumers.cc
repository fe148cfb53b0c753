#include "sidecar/command/consumers.h"

#include <cstdio>
#include <nlohmann/json.hpp>
#include <optional>

#include "sidecar/command/config_commands.h"
#include "sidecar/command/show.h"
#include "sidecar/http/client.h"
#include "sidecar/http/token.h"

namespace syncflow::command {
namespace {

using nlohmann::json;

constexpr int kFailed = 1;
constexpr int kConfiguration = 78;  // EX_CONFIG

int Fail(const std::string& sentence) {
  std::fprintf(stderr, "consumers: %s\n", Printable(sentence).c_str());
  return kFailed;
}

// What the sidecar answered; a sentence when it refused or did not answer.
struct Answer {
  int exit_code = 0;
  std::string body;
};

Answer Ask(const std::string& config_path, const http::Request& request) {
  auto settings = LoadOrReport(config_path);
  if (!settings) return {kConfiguration, ""};
  if (settings->http.listen.empty())
    return {Fail("http.listen is empty, so the sidecar cannot be asked: set it to 127.0.0.1:9464"),
            ""};
  try {
    const std::string& file = settings->http.token_file;
    std::string token = file.empty() || request.method == "GET" ? "" : http::ReadToken(file);
    http::Response response = http::Ask(settings->http.listen, request, token);
    if (response.status == 200) return {0, response.body};
    json body = json::parse(response.body, nullptr, false);
    bool says = body.is_object() && body.contains("error") && body["error"].is_string();
    return {
        Fail(says ? body["error"].get<std::string>() : "HTTP " + std::to_string(response.status)),
        ""};
  } catch (const http::Unreachable& error) {
    return {Fail(error.what()), ""};
  } catch (const http::TokenError& error) {
    return {Fail(error.what()), ""};
  }
}

int Put(const std::string& config_path, const std::string& name, const json& body) {
  return Ask(config_path, {"PUT", "/consumers/" + name, body.dump(), {}}).exit_code;
}

std::string Text(const json& one, const char* key) {
  return one.contains(key) && one[key].is_string() ? one[key].get<std::string>() : "";
}

void Print(const json& page) {
  std::printf("%-32s %-16s %-12s %-14s %-37s %14s  %s\n", "NAME", "TOKEN", "CONNECTED", "STATE",
              "ACKNOWLEDGED", "WAL BEHIND", "SEEN");
  for (const json& one : page.value("consumers", json::array())) {
    std::string behind = one.contains("wal_behind_bytes") ? one["wal_behind_bytes"].dump() : "-";
    std::string token = Text(one, "token");
    std::printf("%-32s %-16s %-12s %-14s %-37s %14s  %s\n", Text(one, "name").c_str(),
                token.empty() ? "-" : token.c_str(), one.value("connected", false) ? "yes" : "no",
                Text(one, "state").c_str(), Text(one, "acknowledged").c_str(), behind.c_str(),
                Text(one, "seen_at").c_str());
  }
}

}  // namespace

int ListConsumers(const std::string& config_path, bool as_json) {
  Answer answer = Ask(config_path, {"GET", "/consumers", "", {}});
  if (answer.exit_code != 0) return answer.exit_code;
  if (as_json) {
    std::fputs(answer.body.c_str(), stdout);
    return 0;
  }
  json page = json::parse(answer.body, nullptr, false);
  if (!page.is_object()) return Fail("the sidecar's answer is no JSON object");
  Print(page);
  return 0;
}

int MoveConsumer(const std::string& config_path, const std::string& name,
                 const std::string& cursor) {
  return Put(config_path, name, {{"cursor", cursor}});
}

int GiveConsumer(const std::string& config_path, const std::string& name,
                 const std::string& token) {
  return Put(config_path, name, {{"token", token}});
}

int RemoveConsumer(const std::string& config_path, const std::string& name) {
  return Ask(config_path, {"DELETE", "/consumers/" + name, "", {}}).exit_code;
}

}  // namespace syncflow::command
