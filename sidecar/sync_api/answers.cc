#include "sidecar/sync_api/answers.h"

#include <chrono>
#include <mutex>
#include <stdexcept>
#include <string>
#include <utility>

#include "sidecar/log/log.h"
#include "sidecar/sync_api/body.h"

namespace syncflow::sync_api {
namespace {

using http::Request;
using http::Response;

constexpr std::chrono::seconds kSameReasonPause{10};

Response Json(std::string body) {
  return {200, "application/json", std::move(body), {}};
}

template <typename List, typename ToJson>
std::string ListOf(const List& list, ToJson to_json) {
  std::string out = "[";
  for (const auto& element : list) {
    if (out.size() > 1) out += ',';
    out += to_json(element);
  }
  return out + "]";
}

// Clients repeat what fails: the log has the same reason once in a while.
void LogFailure(const adapter::Error& error) {
  static std::mutex mutex;
  static std::string last;
  static std::chrono::steady_clock::time_point at;
  std::string reason = error.Explain();
  {
    std::lock_guard held(mutex);
    auto now = std::chrono::steady_clock::now();
    if (reason == last && now - at < kSameReasonPause) return;
    last = reason;
    at = now;
  }
  log::Warning("sync_api", "PostgreSQL could not be worked with", {{"reason", reason}});
}

class Answers {
 public:
  explicit Answers(adapter::PostgresSyncAdapter& adapter) : adapter_(adapter) {}

  Response Health(const Request&) const { return Json(R"({"status":"ok","adapter":"postgres"})"); }

  Response Changes(const Request& request) const {
    auto operations = adapter_.GetChanges(ReadChanges(request.body));
    auto to_json = [](const adapter::Operation& one) { return one.ToJson(); };
    return Json("{\"operations\":" + ListOf(operations, to_json) + ",\"conflicts\":[]}");
  }

  Response Operations(const Request& request) const {
    std::string_view operations;
    try {
      operations = ReadOperations(request.body);
    } catch (const std::invalid_argument&) {
      return http::Refuse(400, "Invalid request body");
    }
    return Json(adapter_.AcceptOperationsJson(operations).ToJson());
  }

  Response Document(const Request& request) const {
    auto document = adapter_.GetDocument(request.parameters[0], request.parameters[1]);
    if (!document) return http::Refuse(404, "Document not found");
    return Json(*document);
  }

  Response Query(const Request& request) const {
    adapter::DocumentQuery query;
    query.filter = ReadFilter(request.body);
    auto documents = adapter_.QueryDocuments(request.parameters[0], query);
    auto as_it_is = [](const std::string& one) -> const std::string& { return one; };
    return Json("{\"documents\":" + ListOf(documents, as_it_is) +
                ",\"count\":" + std::to_string(documents.size()) + "}");
  }

  Response Stats(const Request&) const { return Json(adapter_.GetStats().ToJson()); }

 private:
  adapter::PostgresSyncAdapter& adapter_;
};

using Method = Response (Answers::*)(const Request&) const;

Response Call(const Answers& answers, Method method, const Request& request) {
  try {
    return (answers.*method)(request);
  } catch (const std::invalid_argument& wrong) {
    return http::Refuse(400, wrong.what());
  } catch (const adapter::Error& error) {
    LogFailure(error);
    return AnswerTo(error);
  }
}

http::Route Route(const Answers& answers, const char* method, const char* path, const char* name,
                  Method answer) {
  return {method, path, name,
          [answers, answer](const Request& request) { return Call(answers, answer, request); }};
}

}  // namespace

std::vector<http::Route> Routes(adapter::PostgresSyncAdapter& adapter, http::Handler compact) {
  Answers answers(adapter);
  return {
      Route(answers, "GET", "/health", "health", &Answers::Health),
      Route(answers, "POST", "/changes", "changes", &Answers::Changes),
      Route(answers, "POST", "/operations", "operations", &Answers::Operations),
      Route(answers, "GET", "/documents/:collection/:id", "document", &Answers::Document),
      Route(answers, "POST", "/documents/:collection/query", "query", &Answers::Query),
      Route(answers, "GET", "/stats", "stats", &Answers::Stats),
      // No client asks for this, and it takes their history away.
      {"POST", "/compact", "compact", std::move(compact), true},
  };
}

http::Response AnswerTo(const adapter::Error& error) {
  const std::string& state = error.sqlstate();
  if (state.starts_with("22")) return http::Refuse(400, "PostgreSQL cannot store or find this");
  bool not_created_yet = state == "42P01";
  bool busy = state == "53300" || state == "55P03" || state == "40P01" || state == "40001";
  if (error.NeedsReconnect() || not_created_yet || busy)
    return http::Refuse(503, "the database is not available at the moment: try again later");
  return http::Refuse(
      500, "the database refused (SQLSTATE " + state + "): the reason is in the sidecar's log");
}

}  // namespace syncflow::sync_api
