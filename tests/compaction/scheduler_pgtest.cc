#include "sidecar/compaction/scheduler.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/compaction/rig.h"

namespace syncflow::compaction {
namespace {

using std::chrono::hours;
using std::chrono::milliseconds;
using std::chrono::seconds;
using ::testing::HasSubstr;

class Scheduling : public CompactionRig {
 protected:
  static Job Of(const std::string& name) {
    Job job;
    job.name = name;
    job.schedule = "every 1000h";
    job.when = hours(1000);
    job.compact.batch_rows = 10;
    job.compact.pause = milliseconds(0);
    return job;
  }
  std::unique_ptr<Scheduler> Make(std::vector<Job> jobs = {}) {
    SchedulerOptions options;
    options.connect = Options();
    options.folder = folder_;
    options.jobs = std::move(jobs);
    auto scheduler = std::make_unique<Scheduler>(options, fence_);
    scheduler->Start();
    return scheduler;
  }
  static JobRun RunNow(Scheduler& scheduler, const Job& job) {
    auto answer = scheduler.RunNow(job);
    if (!answer) throw std::logic_error("refused");
    return answer->get();
  }
  template <typename Condition>
  static void Await(Condition condition) {
    auto deadline = std::chrono::steady_clock::now() + seconds(120);
    while (!condition() && std::chrono::steady_clock::now() < deadline)
      std::this_thread::sleep_for(milliseconds(5));
    ASSERT_TRUE(condition());
  }
  static size_t Number(Outcome outcome) { return static_cast<size_t>(outcome); }

  Fence fence_{*journal_, pipeline_, Streamed(), hours(24), seconds(100)};
};

TEST_F(Scheduling, JobsRunByThemselves) {
  StartStream();
  Store(25);
  Job job = Of("often");
  job.when = seconds(1);
  auto scheduler = Make({job});
  WallTime first = scheduler->status().jobs[0].next;
  Await([&] { return scheduler->probe().jobs.front().runs[Number(Outcome::kDone)] >= 2; });
  EXPECT_EQ(Left(), 0);
  EXPECT_EQ(scheduler->probe().deleted, 25u);
  auto status = scheduler->status().jobs[0];
  EXPECT_GT(status.next, first);
  ASSERT_GE(status.runs.size(), 2u);
  EXPECT_EQ(status.runs[0].deleted, 25);
  EXPECT_EQ(status.runs[0].outcome, Outcome::kDone);
  EXPECT_GE(status.runs[0].started, status.runs[0].due);
}

TEST_F(Scheduling, RunsAtOnceWhenAsked) {
  StartStream();
  Store(25);
  auto scheduler = Make({Of("weekly")});
  JobRun run = RunNow(*scheduler, scheduler->jobs()[0]);
  EXPECT_EQ(run.outcome, Outcome::kDone) << run.reason;
  EXPECT_EQ(run.deleted, 25);
  EXPECT_EQ(Left(), 0);
  EXPECT_EQ(scheduler->status().jobs[0].runs.back().deleted, 25);
}

TEST_F(Scheduling, OneRunAtATime) {
  StartStream();
  Store(25);
  auto scheduler = Make();
  Job slow = Of("slow");
  slow.compact.pause = hours(1);
  auto first = scheduler->RunNow(slow);
  ASSERT_TRUE(first);
  EXPECT_FALSE(scheduler->RunNow(Of("other")));
  Await([&] { return Left() == 15; });
  EXPECT_FALSE(scheduler->RunNow(Of("other")));
  EXPECT_EQ(scheduler->status().running, "slow");
  scheduler->Stop();
  JobRun run = first->get();
  EXPECT_EQ(run.outcome, Outcome::kInterrupted);
  EXPECT_EQ(run.deleted, 10);
  EXPECT_EQ(History(folder_).Of("slow").runs.back().outcome, Outcome::kInterrupted);
  EXPECT_FALSE(scheduler->RunNow(Of("other")));
}

TEST_F(Scheduling, RunHasALongestTime) {
  StartStream();
  Store(25);
  Job slow = Of("slow");
  slow.compact.pause = hours(1);
  slow.max_duration = seconds(2);
  auto scheduler = Make();
  JobRun run = RunNow(*scheduler, slow);
  EXPECT_EQ(run.outcome, Outcome::kCancelled);
  EXPECT_THAT(run.reason, HasSubstr("max_duration"));
  EXPECT_LT(Left(), 25);
}

TEST_F(Scheduling, ConsumerThatFallsBehindEndsTheRun) {
  StartStream();
  Store(25);
  Job slow = Of("slow");
  slow.compact.pause = hours(1);
  auto scheduler = Make();
  auto answer = scheduler->RunNow(slow);
  Await([&] { return Left() == 15; });
  journal_->consumers().Move("behind", {*journal_->epoch(), {Lsn(1), 0}}, MicrosecondsNow());
  JobRun run = answer->get();
  EXPECT_EQ(run.outcome, Outcome::kCancelled);
  EXPECT_THAT(run.reason, HasSubstr("the consumer 'behind'"));
  EXPECT_EQ(Left(), 15);
}

TEST_F(Scheduling, OfTwoOneRunsTheJobForGood) {
  StartStream();
  auto one = Make();
  Fence other_fence(*journal_, pipeline_, Streamed(), hours(24));
  SchedulerOptions options;
  options.connect = Options();
  options.folder = folder_ / "other";
  std::filesystem::create_directory(options.folder);
  Scheduler other(options, other_fence);
  other.Start();
  EXPECT_EQ(RunNow(*one, Of("weekly")).outcome, Outcome::kDone);
  JobRun refused = RunNow(other, Of("weekly"));
  EXPECT_EQ(refused.outcome, Outcome::kElsewhere);
  EXPECT_THAT(refused.reason, HasSubstr("another sidecar"));
  EXPECT_EQ(RunNow(*one, Of("weekly")).outcome, Outcome::kDone);
  EXPECT_EQ(RunNow(other, Of("daily")).outcome, Outcome::kDone) << "another job";
  one.reset();
  Await([&] { return RunNow(other, Of("weekly")).outcome == Outcome::kDone; });
}

TEST_F(Scheduling, WhatCannotRunLeavesTheJobToOthers) {
  StartStream();
  auto one = Make();
  Job broken = Of("weekly");
  broken.compact.keep_last = 1;  // without its index
  JobRun failed = RunNow(*one, broken);
  EXPECT_EQ(failed.outcome, Outcome::kFailed);
  EXPECT_THAT(failed.reason, HasSubstr("init --index document"));
  adapter::Connection other = Connect();
  EXPECT_EQ(other
                .Execute("SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND database = "
                         "(SELECT oid FROM pg_database WHERE datname = current_database())")
                .Get(0, 0),
            "0");
  EXPECT_EQ(RunNow(*one, Of("weekly")).outcome, Outcome::kDone);
}

TEST_F(Scheduling, NothingIsDeletedBehindTheFence) {
  Bind();
  Store(25);
  pipeline_.state = PipelineState::kConnecting;
  auto scheduler = Make();
  JobRun run = RunNow(*scheduler, Of("weekly"));
  EXPECT_EQ(run.outcome, Outcome::kSkipped);
  EXPECT_THAT(run.reason, HasSubstr("not being streamed"));
  EXPECT_EQ(Left(), 25);
  EXPECT_EQ(scheduler->probe().jobs.front().runs[Number(Outcome::kSkipped)], 1u);
}

// Committed while the journal already has the snapshot, or not committed yet when it was taken.
TEST_F(Scheduling, WhatTheJournalMayNotHaveStays) {
  StartStream();
  Store(20);
  adapter::Connection other = Connect();
  other.Execute(
      "BEGIN; INSERT INTO public.operations SELECT 'late-' || i, 'insert', 'todos', i, '{}', 15, "
      "'c', false, '{}' FROM generate_series(1, 5) i");
  Job job = Of("weekly");
  job.compact.pause = milliseconds(50);
  auto scheduler = Make();
  auto answer = scheduler->RunNow(job);
  Await([&] { return Left() <= 10; });
  other.Execute("COMMIT");
  EXPECT_EQ(answer->get().deleted, 20);
  EXPECT_EQ(Left(), 5);
  EXPECT_EQ(Ask("SELECT count(*) FROM public.operations WHERE id LIKE 'late-%'"), "5");
}

// It holds rows from before the fence that no journal has.
TEST_F(Scheduling, AnotherTableUnderTheNameIsNotTouched) {
  connection_.Execute(
      "DROP TABLE IF EXISTS public.aside, public.other; CREATE TABLE public.other (LIKE "
      "public.operations INCLUDING ALL); INSERT INTO public.other SELECT 'other-' || i, 'insert', "
      "'todos', i, '{}', i, 'c', false, '{}' FROM generate_series(1, 30) i");
  StartStream();
  Store(20);
  Job job = Of("weekly");
  job.compact.pause = milliseconds(50);
  auto scheduler = Make();
  auto answer = scheduler->RunNow(job);
  Await([&] { return Left() <= 10; });
  connection_.Execute(
      "ALTER TABLE public.operations RENAME TO aside; ALTER TABLE public.other RENAME TO "
      "operations");
  EXPECT_LE(answer->get().deleted, 20);
  EXPECT_EQ(Left(), 30);
  connection_.Execute(
      "DROP TABLE public.operations; ALTER TABLE public.aside RENAME TO operations");
}

TEST_F(Scheduling, WhatKeepsAJobFromRunningIsSaidOnceADay) {
  Bind();
  pipeline_.state = PipelineState::kConnecting;
  auto lines = [&](milliseconds remind) {
    SchedulerOptions options;
    options.connect = Options();
    options.folder = folder_;
    options.remind = remind;
    Scheduler scheduler(options, fence_);
    scheduler.Start();
    ::testing::internal::CaptureStderr();
    for (int times = 0; times < 3; ++times) RunNow(scheduler, Of("weekly"));
    scheduler.Stop();
    std::string said = ::testing::internal::GetCapturedStderr();
    size_t count = 0;
    for (size_t at = 0; (at = said.find("did not compact", at)) != said.npos; ++at) ++count;
    return count;
  };
  EXPECT_EQ(lines(hours(24)), 1u);
  EXPECT_EQ(lines(milliseconds(0)), 3u);
}

TEST_F(Scheduling, DryRunCountsAndSaysSo) {
  StartStream();
  Store(25);
  Job job = Of("weekly");
  job.compact.dry_run = true;
  auto scheduler = Make();
  JobRun run = RunNow(*scheduler, job);
  EXPECT_EQ(run.outcome, Outcome::kDone);
  EXPECT_EQ(run.deleted, 25);
  EXPECT_EQ(Left(), 25);
  EXPECT_EQ(scheduler->probe().deleted, 0u);
}

TEST_F(Scheduling, ShareLimitIsTold) {
  StartStream();
  Store(24);
  Job job = Of("weekly");
  job.compact.share_max = 0.25;
  auto scheduler = Make();
  JobRun run = RunNow(*scheduler, job);
  EXPECT_TRUE(run.limited);
  EXPECT_THAT(run.reason, HasSubstr("share_max"));
  EXPECT_EQ(Left(), 18);
}

TEST_F(Scheduling, ShareOfADueTimeIsTakenOnce) {
  StartStream();
  Store(40);
  Job job = Of("often");
  job.when = hours(1000);
  job.compact.share_max = 0.5;
  job.compact.pause = hours(1);
  JobRun past;
  past.due = past.started = std::chrono::floor<Microseconds>(std::chrono::system_clock::now());
  History(folder_).Put("often", past);  // and then it was killed
  auto first = Make({job});
  Await([&] { return Left() == 30; });
  first->Stop();
  EXPECT_EQ(History(folder_).Of("often").runs.back().left, 10);
  job.compact.pause = milliseconds(0);
  auto second = Make({job});
  Await([&] { return second->probe().jobs.front().runs[Number(Outcome::kDone)] == 1; });
  EXPECT_EQ(Left(), 20) << "half of the forty, not of the thirty";
  JobRun run = second->status().jobs[0].runs.back();
  EXPECT_EQ(run.due, past.due);
  EXPECT_EQ(run.deleted, 10);
  EXPECT_THAT(run.reason, HasSubstr("an attempt before"));
}

TEST_F(Scheduling, JobThatIsAlwaysDueStarvesNoOther) {
  StartStream();
  Job always = Of("always");
  always.when = seconds(0);
  Job often = Of("often");
  often.when = seconds(1);
  auto scheduler = Make({always, often});
  Await([&] { return scheduler->probe().jobs.at(1).runs[Number(Outcome::kDone)] >= 2; });
}

TEST_F(Scheduling, LostConnectionIsOpenedAnew) {
  StartStream();
  auto scheduler = Make();
  EXPECT_EQ(RunNow(*scheduler, Of("weekly")).outcome, Outcome::kDone);
  connection_.Execute("SELECT pg_terminate_backend(pid) FROM pg_locks WHERE locktype = 'advisory'");
  Store(5);
  Await([&] { return RunNow(*scheduler, Of("weekly")).outcome == Outcome::kDone; });
  EXPECT_EQ(Left(), 0);
}

}  // namespace
}  // namespace syncflow::compaction
