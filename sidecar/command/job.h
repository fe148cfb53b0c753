// What a job of the configuration is to the scheduler.
#pragma once

#include "config/settings.h"
#include "sidecar/compaction/job.h"

namespace syncflow::command {

// The configuration has been checked, so schedule and time zone are right.
compaction::Job JobOf(const config::CompactionJob& settings);

}  // namespace syncflow::command
