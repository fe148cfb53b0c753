#include "sidecar/compaction/history.h"

#include <algorithm>
#include <fstream>
#include <nlohmann/json.hpp>
#include <stdexcept>

#include "sidecar/journal/file.h"
#include "sidecar/log/log.h"

namespace syncflow::compaction {
namespace {

using Json = nlohmann::ordered_json;

constexpr const char* kName = "compaction.json";
constexpr int kFormat = 1;

WallTime TimeOf(const Json& json) {
  return WallTime(Microseconds(json.get<int64_t>()));
}

int64_t NumberOf(WallTime time) {
  return time.time_since_epoch().count();
}

Outcome OutcomeOf(const std::string& name) {
  auto found = std::find(kOutcomes.begin(), kOutcomes.end(), name);
  if (found == kOutcomes.end()) throw std::runtime_error("unknown outcome");
  return static_cast<Outcome>(found - kOutcomes.begin());
}

JobRun RunOf(const Json& json) {
  JobRun run;
  run.due = TimeOf(json.at("due"));
  run.started = TimeOf(json.at("started"));
  run.ended = TimeOf(json.at("ended"));
  run.outcome = OutcomeOf(json.at("outcome"));
  run.reason = json.at("reason");
  run.eligible = json.at("eligible");
  run.deleted = json.at("deleted");
  run.limited = json.at("limited");
  if (json.contains("left")) run.left = json.at("left").get<int64_t>();
  if (run.outcome != Outcome::kRunning) return run;
  run.outcome = Outcome::kInterrupted;
  run.reason = "the sidecar ended in the middle of it";
  return run;
}

Json JsonOf(const JobRun& run) {
  Json json = {
      {"due", NumberOf(run.due)},     {"started", NumberOf(run.started)},
      {"ended", NumberOf(run.ended)}, {"outcome", kOutcomes[static_cast<size_t>(run.outcome)]},
      {"reason", run.reason},         {"eligible", run.eligible},
      {"deleted", run.deleted},       {"limited", run.limited}};
  if (run.left) json["left"] = *run.left;
  return json;
}

}  // namespace

History::History(const std::filesystem::path& folder) : path_(folder / kName) {
  std::error_code ignored;
  if (!std::filesystem::exists(path_, ignored)) return;
  try {
    Load();
  } catch (const std::exception&) {
    jobs_.clear();
    log::Warning("compaction", "the history of compaction cannot be understood and begins anew",
                 {{"file", path_.string()}});
  }
}

void History::Load() {
  std::ifstream in(path_);
  Json file = Json::parse(in);
  if (file.at("format").get<int>() != kFormat) throw std::runtime_error("another format");
  for (const Json& job : file.at("jobs")) {
    Past& past = jobs_[job.at("name").get<std::string>()];
    past.schedule = job.at("schedule");
    past.since = TimeOf(job.at("since"));
    for (const Json& run : job.at("runs")) past.runs.push_back(RunOf(run));
  }
}

Past History::Open(const std::string& job, const std::string& schedule, WallTime now) {
  {
    std::lock_guard held(mutex_);
    Past& past = jobs_[job];
    if (past.schedule == schedule) return past;
    past.schedule = schedule;
    past.since = now;
  }
  Save();
  return Of(job);
}

Past History::Of(const std::string& job) const {
  std::lock_guard held(mutex_);
  auto found = jobs_.find(job);
  return found == jobs_.end() ? Past() : found->second;
}

void History::Put(const std::string& job, const JobRun& run) {
  {
    std::lock_guard held(mutex_);
    std::deque<JobRun>& runs = jobs_[job].runs;
    bool same = !runs.empty() && runs.back().due == run.due;
    if (same && runs.back().outcome != Outcome::kInterrupted) runs.pop_back();
    runs.push_back(run);
    if (runs.size() > kRunsMax) runs.pop_front();
  }
  Save();
}

// Nobody who asks waits for the disk.
void History::Save() {
  std::lock_guard one_at_a_time(saving_);
  std::unique_lock held(mutex_);
  Json jobs = Json::array();
  for (const auto& [name, past] : jobs_) {
    Json runs = Json::array();
    for (const JobRun& run : past.runs) runs.push_back(JsonOf(run));
    jobs.push_back({{"name", name},
                    {"schedule", past.schedule},
                    {"since", NumberOf(past.since)},
                    {"runs", runs}});
  }
  held.unlock();
  try {
    std::string text = Json{{"format", kFormat}, {"jobs", jobs}}.dump(
        1, ' ', false, Json::error_handler_t::replace);
    journal::WriteFileAtomically(path_, text + "\n");
  } catch (const std::exception& error) {
    log::Warning("compaction", std::string("the history cannot be written: ") + error.what());
  }
}

}  // namespace syncflow::compaction
