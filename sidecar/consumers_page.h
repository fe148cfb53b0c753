// /consumers: where named consumers stand, and an operator's hand on them.
//
//   GET    /consumers          {"head":"…","earliest":"…","consumers":[{"name":"billing",
//                               "token":"invoicing","connected":true,
//                               "acknowledged":"…","state":"kept","wal_behind_bytes":0,
//                               "seen_at":"…"}]}
//   PUT    /consumers/billing  {"cursor":"…"}   or "earliest" or "latest"
//   PUT    /consumers/billing  {"token":"…"}    whose it shall be, "": nobody's
//   DELETE /consumers/billing
//
// `token` names the one that the name belongs to, "" where none was asked for.
// The state is what the consumer would be told: kept, history_lost (the journal no longer holds
// what follows), epoch_changed, or snapshot (it has acknowledged nothing behind one yet). 404: no
// such name; 409: it is connected; 400: no such place; each with
// {"error":"…"}.
#pragma once

#include <string>

#include "sidecar/http/route.h"
#include "sidecar/journal/journal.h"

namespace syncflow {

// The list of consumers alone, as JSON. Any thread.
std::string ConsumersJson(const journal::Journal& journal);

// Any thread. PUT and DELETE wait for the disk.
http::Response AnswerConsumers(const journal::Journal& journal, const http::Request& request);

}  // namespace syncflow
