#include "sidecar/sync_api/body.h"

#include <algorithm>
#include <cmath>
#include <map>
#include <nlohmann/json.hpp>
#include <optional>
#include <stdexcept>

#include "adapter/raw_json.h"

namespace syncflow::sync_api {
namespace {

using std::chrono::milliseconds;
using Json = nlohmann::json;

constexpr int kDepthMax = 200;
constexpr int64_t kLimitMax = 10'000;
constexpr double kMillisecondsOfDay = 86'400'000;
constexpr double kDaysMax = 36'500;
constexpr double kWholeMax = 9'007'199'254'740'992;  // doubles are whole numbers up to here

[[noreturn]] void Complain(const std::string& sentence) {
  throw std::invalid_argument(sentence);
}

// Of valid JSON.
int DepthOf(std::string_view json) {
  int depth = 0, deepest = 0;
  bool in_string = false;
  for (size_t at = 0; at < json.size(); ++at) {
    char c = json[at];
    if (in_string && c == '\\') ++at;
    if (c == '"') in_string = !in_string;
    if (in_string) continue;
    depth += c == '{' || c == '[' ? 1 : c == '}' || c == ']' ? -1 : 0;
    deepest = std::max(deepest, depth);
  }
  return deepest;
}

// The members of a body as they were written; of equally named ones the last counts.
class Members {
 public:
  explicit Members(std::string_view body) {
    constexpr std::string_view kSpace = " \t\r\n";
    size_t begin = body.find_first_not_of(kSpace);
    if (begin == body.npos) return;
    if (!Json::accept(body)) Complain("the body is no JSON");
    if (body[begin] != '{') Complain("the body is no JSON object");
    if (DepthOf(body) > kDepthMax)
      Complain("the body nests deeper than " + std::to_string(kDepthMax));
    for (auto& [name, value] : adapter::RawMembers(body)) members_[name] = value;
  }

  // "" when it is missing or null.
  std::string_view Raw(const std::string& name) const {
    auto found = members_.find(name);
    return found == members_.end() || found->second == "null" ? "" : found->second;
  }

  std::string Text(const std::string& name) const {
    std::string_view raw = Raw(name);
    if (raw.empty()) return "";
    if (raw[0] != '"') Complain("'" + name + "' is no string");
    return Json::parse(raw);
  }

  std::optional<double> Number(const std::string& name) const {
    std::string_view raw = Raw(name);
    if (raw.empty()) return std::nullopt;
    Json value = raw.size() < 64 ? Json::parse(raw) : Json();
    if (!value.is_number()) Complain("'" + name + "' is no number");
    return value.get<double>();
  }

  // Rounded down.
  int64_t Whole(const std::string& name, int64_t otherwise) const {
    auto number = Number(name);
    if (!number) return otherwise;
    if (std::abs(*number) > kWholeMax) Complain("'" + name + "' is too large");
    return static_cast<int64_t>(std::floor(*number));
  }

 private:
  std::map<std::string, std::string_view> members_;
};

}  // namespace

adapter::ChangesRequest ReadChanges(std::string_view body) {
  Members members(body);
  adapter::ChangesRequest request;
  request.since = members.Whole("since", request.since);
  request.limit =
      static_cast<int>(std::clamp<int64_t>(members.Whole("limit", request.limit), 0, kLimitMax));
  if (request.limit == 0) Complain("'limit' must be at least 1");
  request.client_id = members.Text("clientId");
  std::string_view clock = members.Raw("vectorClock");
  if (!clock.empty()) request.vector_clock = adapter::VectorClock::FromJson(clock);
  return request;
}

std::string_view ReadOperations(std::string_view body) {
  Members members(body);
  std::string_view operations = members.Raw("operations");
  if (!operations.starts_with('[')) Complain("'operations' is no array");
  if (members.Text("clientId").empty()) Complain("'clientId' is missing");
  return operations;
}

std::string ReadFilter(std::string_view body) {
  std::string filter(Members(body).Raw("filter"));
  return filter.empty() ? "{}" : filter;
}

CompactWish ReadCompact(std::string_view body) {
  Members members(body);
  CompactWish wish;
  auto days = members.Number("olderThanDays");
  if (days && (*days < 0 || *days > kDaysMax)) Complain("'olderThanDays' must be 0 to 36500");
  if (days) wish.older_than = milliseconds(static_cast<int64_t>(*days * kMillisecondsOfDay));
  std::string_view dry_run = members.Raw("dryRun");
  wish.dry_run = dry_run == "true";
  if (!dry_run.empty() && dry_run != "true" && dry_run != "false")
    Complain("'dryRun' must be true or false");
  if (auto share = members.Number("shareMax")) wish.share_max = *share;
  if (!(wish.share_max > 0 && wish.share_max <= 1))
    Complain("'shareMax' must be above 0 and at most 1");
  return wish;
}

}  // namespace syncflow::sync_api
