// Every setting: meaning, unit, default, consequence. The table in options.cc gives each its name
// in the file, the values it takes and its variable; sidecar.example.yaml repeats these words.
#pragma once

#include <chrono>
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "config/secret.h"

namespace syncflow::config {

struct Postgres {
  // SyncFlow's database, as libpq's URI or keywords; SyncFlow's ?max=N is accepted. Required. The
  // role needs REPLICATION and, with initialize, the right to create tables in the schema.
  Secret url;
  // A file with the password, read again at every connect, so that a rotated secret needs no
  // restart. Empty: none.
  std::string password_file;
  // The schema that holds SyncFlow's tables.
  std::string schema = "public";
  // At start, create what is missing of the tables, indexes and trigger, as SyncFlow does. false:
  // somebody else does, for example `syncflow-sidecar init` as a role that may.
  bool initialize = true;
  // Connections for the clients of the sync API, 1 to 1000; opened when they are needed. ?max=N of
  // the url goes before it.
  uint32_t pool_max = 10;
};

enum class Plugin { kAuto, kWal2Json, kPgOutput };

struct Replication {
  // The logical replication slot, created at the first start; 1 to 63 of the characters a-z, 0-9
  // and _. It makes PostgreSQL keep WAL until the journal has it: drop it when the sidecar goes for
  // good.
  std::string slot = "syncflow_sidecar";
  // The output plugin of the slot: wal2json, pgoutput, or auto: that of an existing slot, and for a
  // new one wal2json where the server has and allows it, else pgoutput. Cursors are the same.
  // A slot of the other plugin is replaced by a copy at the same position.
  Plugin plugin = Plugin::kAuto;
  // The publication that pgoutput reads; created before the slot where it is missing and
  // postgres.initialize is true.
  std::string publication = "syncflow_sidecar";
  // At the first start, begin with the operations that are already in the table, marked
  // "recovered". false: with the first one that is committed after the slot was created.
  bool backfill = true;
};

struct Journal {
  // A folder on a local disk, for one sidecar only. Losing it loses what consumers have not read
  // and PostgreSQL no longer keeps.
  std::string directory = "/var/lib/syncflow-sidecar";
  // A segment file is closed at this size, 1MiB to 1GiB. Retention removes whole segments, so
  // smaller ones follow the two limits below more closely, and each keeps two files open.
  uint64_t segment_size = 64ull << 20;
  // The oldest segments are removed when all together are larger than this, 2 to 8192 segments,
  // unless a named consumer still needs them. Consumers that are further behind are told
  // history_lost.
  uint64_t retain_size = 4ull << 30;
  // The oldest segments are removed when they are older than this, 1m to 3650d, unless a named
  // consumer still needs them. Consumers that are further behind are told history_lost.
  std::chrono::seconds retain_age = std::chrono::hours(24 * 7);
  // How large the journal may become for named consumers that are behind, 2MiB to 8192GiB. Where
  // it is smaller than retain_size, they hold nothing back.
  uint64_t pin_size_max = 16ull << 30;
  // A named consumer that was not connected for so long holds nothing back either, 1m to 3650d.
  // Only the time counts in which the sidecar was running.
  std::chrono::seconds pin_age_max = std::chrono::hours(24 * 30);
};

struct Feed {
  // Where consumers connect: an IP address or localhost, and a port. Anything but loopback needs
  // tokens_file, tls.client_ca or allow_anonymous.
  std::string listen = "127.0.0.1:7433";
  // A client that has said nothing for so long gets what is new from now on (plain mode), 10ms to
  // 1m. Longer delays such clients, shorter mistakes slow ones for them.
  std::chrono::milliseconds hello_timeout{250};
  // How often an idle consumer hears a heartbeat if it asks for no other interval, 1s to 5m.
  std::chrono::seconds heartbeat{15};
  // Memory for the newest changes, shared by all consumers, 1MiB to 64GiB. Consumers that are
  // further behind are served from the journal's files.
  uint64_t tail_memory = 8ull << 20;
  // Consumers at the same time, 1 to 1000000; one more is refused and asked to try again later.
  uint32_t connections_max = 20'000;
  // The longest line, 4KiB to 1GiB. A longer change is sent without its largest fields, which its
  // "omitted" names.
  uint64_t line_max = 8ull << 20;
  // Without tokens_file and tls.client_ca, serve everybody who can connect, on addresses other than
  // loopback too: let something in front of the port ask who they are.
  bool allow_anonymous = false;
  // A file that says who may read what: lines of a name for who holds it, to whom durable consumers
  // belong, the SHA-256 of a token, and collections with commas between or *. Read again when it
  // changes. Empty: consumers need no token.
  std::string tokens_file;
};

struct FeedTls {
  // A file with the server's certificate and those between it and its authority, as PEM: consumers
  // then connect by TLS 1.2 or 1.3, and by nothing else. Read again when it changes. Empty: no TLS.
  std::string certificate;
  // The file with its key, as PEM without a passphrase; read together with the certificate.
  std::string key;
  // A file with the authorities, as PEM, of which each consumer must show a certificate. Empty:
  // none is asked for.
  std::string client_ca;
};

struct Http {
  // Where /metrics, /livez, /readyz, /startupz and /status answer: an IP address or localhost, and
  // a port. Empty: nowhere.
  std::string listen = "127.0.0.1:9464";
  // A file that holds one token of at least 16 characters: what changes something (consumers,
  // compaction) needs it as Authorization: Bearer, from this machine too. Read again for each
  // change. Empty: only this machine may change something.
  std::string token_file;
};

struct SyncApi {
  // Where SyncFlow's clients synchronize, as with its own server: an IP address or localhost, and a
  // port, such as 127.0.0.1:3000. Anything but loopback needs allow_anonymous. Empty: nowhere.
  std::string listen;
  // Serve everybody who can connect, on addresses other than loopback too: SyncFlow's clients do
  // not say who they are, so let something in front of the port ask.
  bool allow_anonymous = false;
};

enum class NotifyMode { kTrigger, kOff };

struct Notify {
  // trigger: every operation is announced with NOTIFY, as SyncFlow does. off: the trigger is
  // removed; writers become faster, and whoever listens hears nothing.
  NotifyMode mode = NotifyMode::kTrigger;
  // Measure NOTIFY against the slot: how long it was away, and which operations it never announced.
  // Takes one more connection. Without effect when mode is off.
  bool watch = true;
};

// How old an operation is when it goes; nullopt: never.
using Age = std::optional<std::chrono::milliseconds>;
using Ages = std::map<std::string, Age>;  // by collection

struct CompactionJob {
  // What the log, /status and the history call it: 1 to 64 of the characters a-z, A-Z, 0-9, ., _
  // and -. Required.
  std::string name;
  // When it runs: minute, hour, day of the month, month and weekday as in crontab(5), or @hourly,
  // @daily, @weekly, @monthly or @yearly. Either this or every.
  std::string schedule;
  // How long after the beginning of the last run it runs again, 1s to 3650d. Either this or
  // schedule.
  std::chrono::seconds every{0};
  // The time zone of schedule, like Europe/Berlin. Where clocks are put forward or back, fixed
  // times run once: at the jump when they are skipped, the first time when they come twice; with *
  // in minute or hour every real interval counts.
  std::string timezone = "UTC";
  // Each run begins up to so much later, by chance, 0s to 1d.
  std::chrono::seconds jitter{0};
  // Run once as soon as possible where one or more times were missed, because the sidecar was not
  // running or a run was cut off.
  bool catch_up = true;
  // Operations go when they are older than this, by their own timestamps and the database's clock,
  // and were stored that long ago, too (received_at): 1ms to 3650d, or never. Required.
  Age older_than;
  // Collections with another age than that, like {drafts: 7d, audit: never}.
  Ages collections;
  // How many operations of each document stay whatever their age, the newest, 0 to 1000000. Needs
  // an index: syncflow-sidecar init --index document.
  uint32_t keep_last = 0;
  // How many rows one transaction looks at, at most, 1 to 100000. Where that takes half a second,
  // fewer.
  uint32_t batch_rows = 1000;
  // Between two batches, 0ms to 1m.
  std::chrono::milliseconds pause{100};
  // How long a batch waits for the table, 1ms to 1m. Rows that somebody has locked are left to the
  // next run.
  std::chrono::milliseconds lock_timeout{1000};
  // How long a batch may take, 100ms to 1h.
  std::chrono::milliseconds statement_timeout{10'000};
  // The largest share of the table that one run deletes, the oldest, so that a wrong clock cannot
  // empty it: greater than 0, at most 1. A run that is tried again, or goes on after a restart, is
  // still the same.
  double share_max = 0.5;
  // A run ends after so long, and the next one goes on, 1s to 7d.
  std::chrono::seconds max_duration = std::chrono::hours(4);
  // Only count what would go.
  bool dry_run = false;
  // At the end of a run, VACUUM (ANALYZE) the table. Needs to own it.
  bool vacuum = false;
};

struct Compaction {
  // Jobs that delete old operations from the table. What the journal does not hold durably yet
  // stays, and so does everything while a named consumer needs more than the journal has. Only in
  // this file.
  std::vector<CompactionJob> jobs;
};

enum class LogLevel { kDebug, kInfo, kWarning, kError };
enum class LogFormat { kText, kJson };

struct Log {
  // debug, info, warning or error: lines of lower levels are left out.
  LogLevel level = LogLevel::kInfo;
  // text for people, json for machines; one line each, on standard error.
  LogFormat format = LogFormat::kText;
};

struct Settings {
  Postgres postgres;
  Replication replication;
  Journal journal;
  Feed feed;
  FeedTls feed_tls;  // feed.tls
  Http http;
  SyncApi sync_api;
  Notify notify;
  Compaction compaction;
  Log log;
};

}  // namespace syncflow::config
