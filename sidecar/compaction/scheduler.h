// Runs the jobs: one thread, one connection, one run at a time.
//
// The connection stays open behind the advisory lock of each job that it has run, so that of
// several sidecars on one database the same one always runs it, and another one when that is gone.
#pragma once

#include <chrono>
#include <condition_variable>
#include <filesystem>
#include <future>
#include <map>
#include <mutex>
#include <optional>
#include <set>
#include <string>
#include <thread>
#include <vector>

#include "adapter/connection.h"
#include "sidecar/compaction/fence.h"
#include "sidecar/compaction/history.h"
#include "sidecar/compaction/job.h"
#include "sidecar/compaction/plan.h"
#include "sidecar/compaction/probe.h"

namespace syncflow::compaction {

struct SchedulerOptions {
  adapter::ConnectOptions connect;
  std::string schema = "public";
  std::filesystem::path folder;  // of the history
  std::vector<Job> jobs;
  // What keeps a job from running is said again after so long, though nothing has changed.
  std::chrono::milliseconds remind = std::chrono::hours(24);
};

struct JobStatus {
  std::string name;
  std::string schedule;
  WallTime next;            // with the jitter; 1970: only when asked
  std::deque<JobRun> runs;  // the newest last
};

struct Status {
  std::optional<std::string> running;  // the job, whose progress is that of its last run
  std::vector<JobStatus> jobs;         // and what ran on demand, if anything did
};

class Scheduler {
 public:
  // `fence` must outlive the scheduler.
  Scheduler(SchedulerOptions options, const Fence& fence);
  ~Scheduler();
  Scheduler(const Scheduler&) = delete;
  Scheduler& operator=(const Scheduler&) = delete;

  void Start();
  // What runs is interrupted at its next step. Idempotent.
  void Stop();

  // Runs a job at once, with fence, lock and history under its name; its `when` says nothing.
  // nullopt: another run goes on or is about to. Any thread; the future is always answered.
  std::optional<std::future<JobRun>> RunNow(Job job);
  const std::vector<Job>& jobs() const { return options_.jobs; }

  Status status() const;  // any thread
  const Probe& probe() const { return probe_; }

 private:
  struct Asked {
    Job job;
    std::promise<JobRun> answer;
  };
  struct Planned {
    const Job* job;
    Plan plan;
  };
  class Attempt;

  void Loop();
  void MakePlans();
  void AddProbe(const std::string& job, const Past& past);
  bool RunOneThatIsDue();
  void Answer(Asked& asked);
  JobRun Execute(const Job& job, WallTime due);
  void Begin(const Job& job, const JobRun& run);
  void End(const Job& job, const JobRun& run);
  void Count(const std::string& job, const JobRun& run);
  void Say(const Job& job, const JobRun& run);
  adapter::Connection& Connect();
  bool Lock(const std::string& job);
  void Unlock(const std::string& job);
  void Sleep();
  void PublishNext();

  const int stop_fd_;  // readable once Stop was called
  SchedulerOptions options_;
  const Fence& fence_;
  History history_;
  Probe probe_;
  std::thread thread_;

  // The scheduler's thread.
  std::vector<Planned> plans_;
  std::optional<adapter::Connection> connection_;
  std::set<std::string> locked_;  // jobs, on connection_
  struct Spoken {
    std::string reason;
    std::chrono::steady_clock::time_point at;
  };
  bool IsNews(const std::string& job, const std::string& reason);
  std::map<std::string, Spoken> spoken_;  // what was last said of a job that did not run

  mutable std::mutex mutex_;
  std::condition_variable wake_;
  // Under mutex_.
  bool stopping_ = false;
  std::optional<Asked> asked_;
  std::optional<std::string> running_;
  JobRun progress_;  // of what runs
  std::vector<WallTime> next_;
};

}  // namespace syncflow::compaction
