// The routes of SyncFlow's server, answered by the adapter.
#pragma once

#include <vector>

#include "adapter/postgres_sync_adapter.h"
#include "sidecar/http/route.h"

namespace syncflow::sync_api {

// The adapter must outlive them. Any thread; each waits for PostgreSQL as long as the adapter does.
// `compact` answers /compact.
std::vector<http::Route> Routes(adapter::PostgresSyncAdapter& adapter, http::Handler compact);

// What a client is told of a failure: 400 for what it sent, 503 when trying again later may help,
// else 500. No SQL, no name of a host or role; those are in the log.
http::Response AnswerTo(const adapter::Error& error);

}  // namespace syncflow::sync_api
