// Every setting: meaning, unit, default, consequence. The table in options.cc gives each its name
// in the file, the values it takes and its variable; sidecar.example.yaml repeats these words.
#pragma once

#include <chrono>
#include <cstdint>
#include <string>

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
  std::chrono::seconds pin_age_max = std::chrono::hours(24 * 30);
};

struct Feed {
  // Where consumers connect: an IP address or localhost, and a port. Anything but loopback needs
  // tokens_file or allow_anonymous.
  std::string listen = "127.0.0.1:7433";
  // A client that has said nothing for so long gets what is new from now on (plain mode), 10ms to
  // 1m. Longer delays such clients, shorter mistakes slow ones for them.
  std::chrono::milliseconds hello_timeout{250};
  // How often an idle consumer hears a heartbeat if it asks for no other interval, 1s to 5m.
  std::chrono::seconds heartbeat{15};
  // Memory for the newest changes, shared by all consumers, 1MiB to 64GiB. Consumers that are
  // further behind are served from the journal's files.
  uint64_t tail_memory = 64ull << 20;
  // Consumers at the same time, 1 to 1000000; one more is refused and asked to try again later.
  uint32_t connections_max = 20'000;
  // The longest line, 4KiB to 1GiB. A longer change is sent without its largest fields, which its
  // "omitted" names.
  uint64_t line_max = 8ull << 20;
  // Without tokens_file, serve everybody who can connect, on addresses other than loopback too: let
  // something in front of the port ask who they are.
  bool allow_anonymous = false;
  // A file that says who may read what: lines of a name, the SHA-256 of a token, and collections
  // with commas between or *. Read again when it changes. Empty: consumers need no token.
  std::string tokens_file;
};

struct Http {
  // Where /metrics, /livez, /readyz, /startupz and /status answer: an IP address or localhost, and
  // a port. Empty: nowhere.
  std::string listen = "127.0.0.1:9464";
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
  Http http;
  Notify notify;
  Log log;
};

}  // namespace syncflow::config
