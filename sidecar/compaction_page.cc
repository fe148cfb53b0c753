#include "sidecar/compaction_page.h"

#include <algorithm>
#include <nlohmann/json.hpp>
#include <stdexcept>
#include <utility>

#include "sidecar/sync_api/body.h"

namespace syncflow {
namespace {

using Json = nlohmann::ordered_json;
using compaction::JobRun;
using compaction::Outcome;

http::Response JsonOf(int status, const Json& json) {
  return {status, "application/json", json.dump() + "\n", {}};
}

adapter::CompactAge Longer(const adapter::CompactAge& a, const adapter::CompactAge& b) {
  if (!a || !b) return std::nullopt;
  return std::max(a, b);
}

// Nothing goes earlier than the jobs let it: what they keep for ever is meant to be kept.
void KeepWhatJobsKeep(const std::vector<compaction::Job>& jobs, adapter::CompactOptions& asked) {
  if (jobs.empty()) return;
  adapter::CompactAge shortest;
  asked.keep_last = jobs.front().compact.keep_last;
  for (const compaction::Job& job : jobs) {
    const adapter::CompactOptions& kept = job.compact;
    for (const auto& [collection, age] : kept.collections) {
      auto [found, is_new] = asked.collections.try_emplace(collection, asked.older_than);
      found->second = Longer(found->second, age);
    }
    if (kept.older_than) shortest = std::min(*kept.older_than, shortest.value_or(*kept.older_than));
    asked.keep_last = std::min(asked.keep_last, kept.keep_last);
  }
  asked.older_than = Longer(asked.older_than, shortest);
}

http::Response AnswerOf(const JobRun& run, bool dry_run) {
  if (run.outcome == Outcome::kElsewhere) return http::Refuse(409, run.reason);
  if (run.outcome == Outcome::kFailed) {
    return http::Refuse(500,
                        "the compaction failed: the reason is in the sidecar's log and in /status");
  }
  if (run.outcome != Outcome::kDone)
    return JsonOf(503, {{"error", run.reason}, {"deletedCount", dry_run ? 0 : run.deleted}});
  Json answer = {{"message", dry_run ? "Dry run: nothing was deleted" : "Compaction completed"},
                 {"deletedCount", dry_run ? 0 : run.deleted}};
  if (dry_run) answer["wouldDeleteCount"] = run.deleted;
  if (run.limited) {
    answer["leftCount"] = run.eligible - run.deleted;
    answer["reason"] =
        "a share of the table at most goes at once: is the clock right? Ask again for the rest, or "
        "say \"shareMax\":1";
  }
  return JsonOf(200, answer);
}

}  // namespace

http::Response AnswerCompact(compaction::Scheduler& scheduler, const http::Request& request) {
  compaction::Job job;
  job.name = compaction::kOnDemand;
  job.schedule = "POST /compact";
  try {
    auto wish = sync_api::ReadCompact(request.body);
    job.compact.older_than = wish.older_than;
    job.compact.dry_run = wish.dry_run;
    job.compact.share_max = wish.share_max;
    KeepWhatJobsKeep(scheduler.jobs(), job.compact);
  } catch (const std::invalid_argument& wrong) {
    return http::Refuse(400, wrong.what());
  }
  bool dry_run = job.compact.dry_run;
  auto run = scheduler.RunNow(std::move(job));
  if (!run) return http::Refuse(409, "a compaction is running");
  return AnswerOf(run->get(), dry_run);
}

}  // namespace syncflow
