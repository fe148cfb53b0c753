// The last runs of each job, kept in compaction.json in the journal's folder:
//
//   {"format":1,"jobs":[{"name":"weekly","schedule":"0 2 * * 0 UTC","since":1763900000000000,
//    "runs":[{"due":…,"started":…,"ended":…,"outcome":"done","reason":"","eligible":12,
//    "deleted":12,"limited":false,"left":0}]}]}
//
// Times are microseconds since 1970. Jobs that are no longer configured keep their history.
#pragma once

#include <chrono>
#include <cstdint>
#include <deque>
#include <filesystem>
#include <map>
#include <mutex>
#include <optional>
#include <string>

#include "sidecar/compaction/probe.h"

namespace syncflow::compaction {

using Microseconds = std::chrono::microseconds;
using WallTime = std::chrono::sys_time<Microseconds>;

struct JobRun {
  WallTime due;
  WallTime started;
  WallTime ended;  // 1970 while it runs
  Outcome outcome = Outcome::kRunning;
  std::string reason;  // a sentence, "" where there is nothing to say
  int64_t eligible = 0;
  int64_t deleted = 0;   // of a dry run: what would have been
  bool limited = false;  // by share_max
  // How many share_max still lets go for the same due time, should this run be broken off: never
  // more than that, since it is written down before each batch. nullopt: not counted yet.
  std::optional<int64_t> left;
};

struct Past {
  std::string schedule;
  WallTime since;           // when this schedule was first seen
  std::deque<JobRun> runs;  // the newest last
};

// Any thread. Nothing is thrown: a history that cannot be read is begun anew, one that cannot be
// written is kept in memory, both with a line in the log.
class History {
 public:
  static constexpr size_t kRunsMax = 20;

  // What was running when the file was written is interrupted.
  explicit History(const std::filesystem::path& folder);

  // The past of a job; one whose schedule is new, or another than before, begins at `now`.
  Past Open(const std::string& job, const std::string& schedule, WallTime now);
  Past Of(const std::string& job) const;
  // Adds the run, or replaces the last one if it was due at the same time and not interrupted, and
  // writes the file.
  void Put(const std::string& job, const JobRun& run);

 private:
  void Load();
  void Save();

  const std::filesystem::path path_;
  std::mutex saving_;  // taken before mutex_
  mutable std::mutex mutex_;
  std::map<std::string, Past> jobs_;
};

}  // namespace syncflow::compaction
