// POST /compact: an operator, or a program written for SyncFlow's server, has old operations
// deleted now, under the same fence as the jobs. One run at a time. Nothing goes that
// no job would delete, were it as old as the jobs say, and no collection that a job keeps.
//
//   {"olderThanDays":90,"dryRun":true,"shareMax":1}   defaults: 30, false, 0.5
//
// 200 {"message":"Compaction completed","deletedCount":n} when the run has ended, 400 for a body
// that is none, 409 while another run goes on here, or one that was asked for in another sidecar,
// 500 when PostgreSQL refused, 503 {"error":"…","deletedCount":n} when nothing, or not all, could
// safely be deleted.
#pragma once

#include "sidecar/compaction/scheduler.h"
#include "sidecar/http/route.h"

namespace syncflow {

// Any thread; returns when the run has ended.
http::Response AnswerCompact(compaction::Scheduler& scheduler, const http::Request& request);

}  // namespace syncflow
