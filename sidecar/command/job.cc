#include "sidecar/command/job.h"

#include "config/units.h"

namespace syncflow::command {

compaction::Job JobOf(const config::CompactionJob& settings) {
  compaction::Job job;
  job.name = settings.name;
  if (settings.schedule.empty()) {
    job.schedule = "every " + config::FormatDuration(settings.every);
    job.when = settings.every;
  } else {
    job.schedule = settings.schedule + " " + settings.timezone;
    job.when =
        compaction::Clocked{std::get<compaction::Cron>(compaction::Cron::Parse(settings.schedule)),
                            compaction::Zone::Find(settings.timezone).value()};
  }
  job.jitter = settings.jitter;
  job.catch_up = settings.catch_up;
  job.max_duration = settings.max_duration;
  job.compact.older_than = settings.older_than;
  job.compact.collections = settings.collections;
  job.compact.keep_last = static_cast<int>(settings.keep_last);
  job.compact.batch_rows = static_cast<int>(settings.batch_rows);
  job.compact.pause = settings.pause;
  job.compact.lock_timeout = settings.lock_timeout;
  job.compact.statement_timeout = settings.statement_timeout;
  job.compact.share_max = settings.share_max;
  job.compact.dry_run = settings.dry_run;
  job.compact.vacuum = settings.vacuum;
  return job;
}

}  // namespace syncflow::command
