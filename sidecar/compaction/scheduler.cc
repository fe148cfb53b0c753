#include "sidecar/compaction/scheduler.h"

#include <sys/eventfd.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <random>
#include <utility>

#include "sidecar/log/log.h"

namespace syncflow::compaction {
namespace {

using std::chrono::duration_cast;
using std::chrono::milliseconds;
using std::chrono::nanoseconds;
using std::chrono::seconds;
using std::chrono::steady_clock;

// What is asked around a compaction.
constexpr std::chrono::minutes kAnswerMax{1};
constexpr seconds kSayEvery{10};
// The wall clock may be put forward or back meanwhile.
constexpr seconds kSleepMax{10};

WallTime Wall() {
  return std::chrono::floor<Microseconds>(std::chrono::system_clock::now());
}

Now AskClocks() {
  return {Wall(), steady_clock::now()};
}

seconds ThrowDice(seconds most) {
  thread_local std::mt19937_64 random{std::random_device{}()};
  return seconds(std::uniform_int_distribution<int64_t>(0, most.count())(random));
}

adapter::ConnectOptions WithStop(adapter::ConnectOptions options, int stop_fd) {
  options.stop_fd = stop_fd;
  return options;
}

std::string Name(Outcome outcome) {
  return std::string(kOutcomes[static_cast<size_t>(outcome)]);
}

std::string Text(WallTime time, const Zone& zone) {
  auto utc = std::chrono::floor<seconds>(time);
  auto local = utc + zone.At(utc).offset;
  auto day = std::chrono::floor<std::chrono::days>(local);
  std::chrono::year_month_day date{day};
  std::chrono::hh_mm_ss clock{local - day};
  char text[64];
  std::snprintf(text, sizeof text, "%04d-%02u-%02u %02ld:%02ld:%02ld %s",
                static_cast<int>(date.year()), static_cast<unsigned>(date.month()),
                static_cast<unsigned>(date.day()), static_cast<long>(clock.hours().count()),
                static_cast<long>(clock.minutes().count()),
                static_cast<long>(clock.seconds().count()), zone.name().c_str());
  return text;
}

Zone ZoneOf(const Job& job) {
  auto* clocked = std::get_if<Clocked>(&job.when);
  return clocked != nullptr ? clocked->zone : Zone::Find("UTC").value();
}

}  // namespace

// One run of one job on the scheduler's thread.
class Scheduler::Attempt {
 public:
  Attempt(Scheduler& scheduler, const Job& job, JobRun& run)
      : scheduler_(scheduler), job_(job), run_(run) {}

  void Do() {
    if (auto reason = scheduler_.fence_.WhyClosed()) return Leave(Outcome::kSkipped, *reason);
    adapter::Connection& connection = scheduler_.Connect();
    if (!scheduler_.Lock(job_.name))
      return Leave(Outcome::kElsewhere, "another sidecar on this database runs this job");
    auto passed = scheduler_.fence_.Pass(connection, [this] { return Go(); });
    if (auto* closed = std::get_if<Fence::Closed>(&passed)) {
      if (run_.outcome == Outcome::kRunning) Leave(Outcome::kSkipped, closed->reason);
      return;
    }
    Compact(connection, std::get<Fence::Open>(passed));
  }

 private:
  void Leave(Outcome outcome, std::string reason) {
    run_.outcome = outcome;
    run_.reason = std::move(reason);
  }

  void Compact(adapter::Connection& connection, const Fence::Open& passed) {
    adapter::CompactOptions options = job_.compact;
    options.written_before = passed.written_before;
    options.table_oid = passed.table_oid;
    if (IsLimited()) options.deleted_max = run_.left;
    bool goes_on = options.deleted_max.has_value();
    options.vacuum_until = began_ + job_.max_duration;
    options.progress = [this](const adapter::CompactProgress& progress) { return Step(progress); };
    auto result = adapter::Compact(connection, scheduler_.options_.schema, options);
    Count(result.eligible, result.deleted);
    run_.limited = result.limited;
    if (quota_) run_.left = *quota_ - result.deleted;
    if (result.cancelled) return;
    run_.outcome = Outcome::kDone;
    if (result.limited) {
      run_.reason = goes_on ? "share_max keeps the rest: an attempt before has taken its part of it"
                            : "share_max keeps the rest: is the clock right?";
    } else if (int64_t left = result.eligible - result.deleted; left > 0) {
      run_.reason = std::to_string(left) + " were locked or gone when their turn came";
    }
  }

  bool Step(const adapter::CompactProgress& progress) {
    Count(progress.eligible, progress.deleted);
    if (IsLimited() && progress.quota) Claim(*progress.quota, progress.deleted);
    auto held_back = scheduler_.fence_.WhyHeldBack();
    if (held_back) Leave(Outcome::kCancelled, *held_back);
    return !held_back && Go();
  }

  bool IsLimited() const { return job_.compact.share_max < 1 && !job_.compact.dry_run; }

  // Before the next batch, so that whatever comes upon it nothing is taken twice.
  void Claim(int64_t quota, int64_t deleted) {
    quota_ = quota;
    int64_t left = std::max<int64_t>(quota - deleted - job_.compact.batch_rows, 0);
    if (std::exchange(run_.left, left) != left) scheduler_.history_.Put(job_.name, run_);
  }

  // False with an outcome.
  bool Go() {
    std::lock_guard held(scheduler_.mutex_);
    if (scheduler_.stopping_) Leave(Outcome::kInterrupted, "the sidecar was stopped");
    if (steady_clock::now() - began_ >= job_.max_duration)
      Leave(Outcome::kCancelled, "max_duration is over; the next run goes on");
    return run_.outcome == Outcome::kRunning;
  }

  void Count(int64_t eligible, int64_t deleted) {
    if (!job_.compact.dry_run)
      scheduler_.probe_.deleted += static_cast<uint64_t>(deleted - run_.deleted);
    run_.eligible = eligible;
    run_.deleted = deleted;
    {
      std::lock_guard held(scheduler_.mutex_);
      scheduler_.progress_ = run_;
    }
    if (steady_clock::now() - said_ < kSayEvery) return;
    said_ = steady_clock::now();
    log::Info("compaction", "compacting",
              {{"job", job_.name}, {"deleted", deleted}, {"eligible", eligible}});
  }

  Scheduler& scheduler_;
  const Job& job_;
  JobRun& run_;
  std::optional<int64_t> quota_;
  steady_clock::time_point began_ = steady_clock::now();
  steady_clock::time_point said_ = began_;
};

Scheduler::Scheduler(SchedulerOptions options, const Fence& fence)
    : stop_fd_(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)),
      options_(std::move(options)),
      fence_(fence),
      history_(options_.folder) {
  options_.connect = WithStop(options_.connect, stop_fd_);
  MakePlans();
}

Scheduler::~Scheduler() {
  Stop();
  close(stop_fd_);
}

void Scheduler::MakePlans() {
  for (const Job& job : options_.jobs) {
    Now now = AskClocks();
    Past past = history_.Open(job.name, job.schedule, now.wall);
    AddProbe(job.name, past);
    plans_.push_back({&job, Plan(job, past, now, ThrowDice)});
  }
  AddProbe(kOnDemand, history_.Of(kOnDemand));
  PublishNext();
}

void Scheduler::AddProbe(const std::string& job, const Past& past) {
  JobProbe& probe = probe_.jobs.emplace_back(job);
  for (const JobRun& run : past.runs) {
    if (run.outcome == Outcome::kDone) probe.last_done = run.ended.time_since_epoch().count();
  }
}

void Scheduler::Start() {
  for (size_t i = 0; i < plans_.size(); ++i) {
    const Job& job = *plans_[i].job;
    log::Info("compaction", "scheduled",
              {{"job", job.name}, {"next", Text(next_[i], ZoneOf(job))}});
  }
  thread_ = std::thread([this] { Loop(); });
}

void Scheduler::Stop() {
  {
    std::lock_guard held(mutex_);
    stopping_ = true;
  }
  eventfd_write(stop_fd_, 1);
  wake_.notify_all();
  if (thread_.joinable()) thread_.join();
}

std::optional<std::future<JobRun>> Scheduler::RunNow(Job job) {
  std::lock_guard held(mutex_);
  if (stopping_ || running_ || asked_) return std::nullopt;
  asked_.emplace(Asked{std::move(job), {}});
  auto answer = asked_->answer.get_future();
  wake_.notify_all();
  return answer;
}

Status Scheduler::status() const {
  Status status;
  std::lock_guard held(mutex_);
  status.running = running_;
  for (size_t i = 0; i < options_.jobs.size(); ++i) {
    const Job& job = options_.jobs[i];
    JobStatus one{job.name, job.schedule, next_[i], history_.Of(job.name).runs};
    if (running_ == job.name && !one.runs.empty()) one.runs.back() = progress_;
    status.jobs.push_back(std::move(one));
  }
  if (auto asked = history_.Of(kOnDemand); !asked.runs.empty()) {
    if (running_ == kOnDemand) asked.runs.back() = progress_;
    status.jobs.push_back({kOnDemand, asked.schedule, {}, std::move(asked.runs)});
  }
  return status;
}

// ---- the scheduler's thread ----

void Scheduler::Loop() {
  for (;;) {
    std::optional<Asked> asked;
    {
      std::lock_guard held(mutex_);
      if (asked_) running_ = asked_->job.name;
      asked = std::exchange(asked_, std::nullopt);
      if (stopping_ && !asked) return;
    }
    if (asked) {
      Answer(*asked);
    } else if (!RunOneThatIsDue()) {
      Sleep();
    }
  }
}

void Scheduler::Answer(Asked& asked) {
  history_.Open(asked.job.name, asked.job.schedule, Wall());
  asked.answer.set_value(Execute(asked.job, Wall()));
}

// The one that has been due the longest: a job that takes longer than its interval starves no
// other.
bool Scheduler::RunOneThatIsDue() {
  Now began = AskClocks();
  for (Planned& planned : plans_) planned.plan.Tick(began);
  auto longest = std::ranges::min_element(
      plans_, {}, [&](const Planned& planned) { return planned.plan.Wait(began); });
  bool is_due = longest != plans_.end() && longest->plan.IsDue(began);
  if (is_due) {
    JobRun run = Execute(*longest->job, longest->plan.due());
    longest->plan.Ran(run.outcome, began, AskClocks());
  }
  PublishNext();
  return is_due;
}

void Scheduler::PublishNext() {
  Now now = AskClocks();
  std::vector<WallTime> next;
  for (const Planned& planned : plans_)
    next.push_back(now.wall + duration_cast<Microseconds>(planned.plan.Wait(now)));
  std::lock_guard held(mutex_);
  next_ = std::move(next);
}

void Scheduler::Sleep() {
  Now now = AskClocks();
  nanoseconds wait = kSleepMax;
  for (const Planned& planned : plans_) wait = std::min(wait, planned.plan.Wait(now));
  std::unique_lock held(mutex_);
  wake_.wait_for(held, std::max<nanoseconds>(wait, milliseconds(1)),
                 [this] { return stopping_ || asked_; });
}

JobRun Scheduler::Execute(const Job& job, WallTime due) {
  JobRun run;
  run.due = due;
  run.started = Wall();
  if (auto past = history_.Of(job.name).runs; !past.empty() && past.back().due == due)
    run.left = past.back().left;
  Begin(job, run);
  auto began = steady_clock::now();
  try {
    Attempt(*this, job, run).Do();
  } catch (const adapter::Error& error) {
    if (error.NeedsReconnect()) connection_.reset();
    std::lock_guard held(mutex_);
    run.outcome = stopping_ ? Outcome::kInterrupted : Outcome::kFailed;
    run.reason = stopping_ ? "the sidecar was stopped" : error.Explain();
  } catch (const std::exception& error) {
    run.outcome = Outcome::kFailed;
    run.reason = error.what();
  }
  if (run.outcome != Outcome::kDone || job.name == kOnDemand) Unlock(job.name);
  run.ended = Wall();
  probe_.milliseconds +=
      static_cast<uint64_t>(duration_cast<milliseconds>(steady_clock::now() - began).count());
  End(job, run);
  return run;
}

void Scheduler::Begin(const Job& job, const JobRun& run) {
  history_.Put(job.name, run);
  probe_.running = true;
  std::lock_guard held(mutex_);
  running_ = job.name;
  progress_ = run;
}

// Whatever was asked for under another name counts as on demand.
void Scheduler::Count(const std::string& job, const JobRun& run) {
  auto probe = probe_.jobs.begin();
  while (probe->name != job && probe->name != kOnDemand) ++probe;
  ++probe->runs[static_cast<size_t>(run.outcome)];
  if (run.outcome == Outcome::kDone) probe->last_done = run.ended.time_since_epoch().count();
}

void Scheduler::End(const Job& job, const JobRun& run) {
  history_.Put(job.name, run);
  {
    std::lock_guard held(mutex_);
    running_.reset();
  }
  Count(job.name, run);  // now: whoever sees it counted finds it ended
  probe_.running = false;
  Say(job, run);
}

bool Scheduler::IsNews(const std::string& job, const std::string& reason) {
  auto now = steady_clock::now();
  auto [last, is_new] = spoken_.try_emplace(job, Spoken{reason, now});
  if (!is_new && last->second.reason == reason && now - last->second.at < options_.remind)
    return false;
  last->second = {reason, now};
  return true;
}

// What keeps a job from running is said when it changes, and once a day.
void Scheduler::Say(const Job& job, const JobRun& run) {
  bool ran = run.outcome == Outcome::kDone || run.outcome == Outcome::kCancelled ||
             run.outcome == Outcome::kInterrupted;
  if (!ran && !IsNews(job.name, run.reason)) return;
  if (ran) spoken_.erase(job.name);
  bool quiet = (run.outcome == Outcome::kDone && !run.limited) ||
               run.outcome == Outcome::kElsewhere || run.outcome == Outcome::kInterrupted;
  auto say = quiet ? log::Info : log::Warning;
  std::string what = job.compact.dry_run ? "counted what compaction would delete"
                     : ran               ? "compacted"
                                         : "did not compact";
  say("compaction", what,
      {{"job", job.name},
       {"outcome", Name(run.outcome)},
       {"reason", run.reason},
       {"deleted", run.deleted},
       {"eligible", run.eligible},
       {"ms", duration_cast<milliseconds>(run.ended - run.started).count()}});
}

// ---- the connection ----

adapter::Connection& Scheduler::Connect() {
  if (!connection_ || !connection_->idle()) {
    locked_.clear();
    connection_.reset();
    connection_.emplace(options_.connect);
  }
  connection_->set_timeout(kAnswerMax);
  return *connection_;
}

bool Scheduler::Lock(const std::string& job) {
  adapter::Result locked = connection_->Query(
      "SELECT $3::boolean OR pg_catalog.pg_try_advisory_lock(pg_catalog.hashtextextended("
      "'syncflow compaction ' || $1 || ' ' || $2, 0))",
      {options_.schema, job, locked_.contains(job) ? "t" : "f"});
  if (locked.Get(0, 0) != "t") return false;
  locked_.insert(job);
  return true;
}

void Scheduler::Unlock(const std::string& job) {
  if (!connection_ || locked_.erase(job) == 0) return;
  try {
    if (!connection_->idle()) throw adapter::Error("in the middle of a transaction");
    connection_->Query(
        "SELECT pg_catalog.pg_advisory_unlock(pg_catalog.hashtextextended('syncflow compaction ' "
        "|| $1 || ' ' || $2, 0))",
        {options_.schema, job});
  } catch (const adapter::Error&) {
    connection_.reset();  // which lets go of all
    locked_.clear();
  }
}

}  // namespace syncflow::compaction
