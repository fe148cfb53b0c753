#include "config/job_options.h"

#include <algorithm>
#include <utility>
#include <variant>

#include "config/kinds.h"
#include "sidecar/compaction/timetable.h"

namespace syncflow::config {
namespace {

using std::chrono::hours;
using std::chrono::milliseconds;
using std::chrono::minutes;
using std::chrono::seconds;

constexpr hours kYears{24 * 3650};

struct AgeKind {
  using Value = Age;
  Duration<milliseconds> duration{milliseconds(1), kYears};
  std::string expects = "must be never or a duration like 90d, from 1ms to 3650d";

  std::optional<Value> Read(const std::string& text) const {
    if (text == "never") return Age();
    auto value = duration.Read(text);
    if (!value) return std::nullopt;
    return Age(*value);
  }
  std::string Write(const Value& value) const { return value ? duration.Write(*value) : "never"; }
};

Line Name() {
  return {[](const std::string& text) {
            constexpr const char* kLetters =
                "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-";
            return !text.empty() && text.size() <= 64 &&
                   text.find_first_not_of(kLetters) == text.npos;
          },
          "must be 1 to 64 of the characters a-z, A-Z, 0-9, ., _ and -"};
}

Line TimeZone() {
  return {[](const std::string& text) { return compaction::Zone::Find(text).has_value(); },
          "must be a time zone like UTC or Europe/Berlin, of those that the package tzdata brings"};
}

template <typename Kind>
JobOption Row(std::string key, typename Kind::Value CompactionJob::*member, Kind kind) {
  JobOption option;
  option.key = std::move(key);
  option.set = Setter(member, kind);
  option.get = [=](const CompactionJob& job) { return kind.Write(job.*member); };
  option.free_text = std::is_same_v<Kind, Line>;
  return option;
}

// Its sentence depends on what is wrong.
JobOption Schedule() {
  JobOption option = Row("schedule", &CompactionJob::schedule, Line{});
  option.explains = true;
  option.set = [](CompactionJob& job, const std::string& text) -> std::optional<std::string> {
    auto parsed = compaction::Cron::Parse(text);
    if (auto* sentence = std::get_if<std::string>(&parsed)) return *sentence;
    job.schedule = text;
    return std::nullopt;
  };
  return option;
}

JobOption Every() {
  JobOption option = Row("every", &CompactionJob::every, Duration<seconds>{seconds(1), kYears});
  option.get = [get = option.get](const CompactionJob& job) {
    return job.every == seconds(0) ? "" : get(job);
  };
  return option;
}

std::vector<JobOption> MakeJobOptions() {
  using Job = CompactionJob;
  using Milliseconds = Duration<milliseconds>;
  return {
      Row("name", &Job::name, Name()),
      Schedule(),
      Every(),
      Row("timezone", &Job::timezone, TimeZone()),
      Row("jitter", &Job::jitter, Duration<seconds>{seconds(0), hours(24)}),
      Row("catch_up", &Job::catch_up, Flag{}),
      Row("older_than", &Job::older_than, AgeKind{}),
      Row("keep_last", &Job::keep_last, Count{0, 1'000'000}),
      Row("batch_rows", &Job::batch_rows, Count{1, 100'000}),
      Row("pause", &Job::pause, Milliseconds{milliseconds(0), minutes(1)}),
      Row("lock_timeout", &Job::lock_timeout, Milliseconds{milliseconds(1), minutes(1)}),
      Row("statement_timeout", &Job::statement_timeout, Milliseconds{milliseconds(100), hours(1)}),
      Row("share_max", &Job::share_max, Share{}),
      Row("max_duration", &Job::max_duration, Duration<seconds>{seconds(1), hours(24 * 7)}),
      Row("dry_run", &Job::dry_run, Flag{}),
      Row("vacuum", &Job::vacuum, Flag{}),
  };
}

}  // namespace

const std::vector<JobOption>& JobOptions() {
  static const std::vector<JobOption> options = MakeJobOptions();
  return options;
}

const JobOption* FindJobOption(const std::string& key) {
  for (const JobOption& option : JobOptions()) {
    if (option.key == key) return &option;
  }
  return nullptr;
}

std::optional<std::string> SetAge(Age& age, const std::string& text) {
  AgeKind kind;
  auto value = kind.Read(text);
  if (!value) return kind.expects;
  age = *value;
  return std::nullopt;
}

std::string AgeText(const Age& age) {
  return AgeKind{}.Write(age);
}

std::vector<std::string> FindJobGaps(const std::vector<std::string>& given) {
  auto has = [&](const char* key) {
    return std::find(given.begin(), given.end(), key) != given.end();
  };
  std::vector<std::string> out;
  if (!has("name")) out.emplace_back("this job has no name: give it one, like name: weekly");
  if (!has("schedule") && !has("every")) {
    out.emplace_back(
        "this job never runs: give a schedule like \"0 2 * * SUN\", or every, like 6h");
  }
  if (has("schedule") && has("every"))
    out.emplace_back("this job has both schedule and every: leave one out");
  if (!has("older_than")) {
    out.emplace_back(
        "this job does not say how old an operation must be: give older_than, like 90d");
  }
  return out;
}

std::vector<std::string> FindJobConflicts(const CompactionJob& job) {
  bool ages = std::any_of(job.collections.begin(), job.collections.end(),
                          [](const auto& collection) { return collection.second.has_value(); });
  std::vector<std::string> out;
  if (!job.older_than && !ages)
    out.emplace_back("this job deletes nothing: give older_than or one of collections an age");
  if (job.schedule.empty() && job.jitter >= job.every)
    out.emplace_back("this job's jitter must be shorter than every");
  return out;
}

}  // namespace syncflow::config
