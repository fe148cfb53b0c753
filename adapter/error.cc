#include "adapter/error.h"

#include <string_view>

namespace syncflow::adapter {
namespace {

// The remedy for what PostgreSQL or libpq reports. The first row with this SQLSTATE whose text
// occurs in the message wins; an empty text fits every message, an empty SQLSTATE is libpq's own.
struct Remedy {
  std::string_view sqlstate;
  std::string_view text;
  std::string_view hint;
  bool needs_operator;
};

constexpr Remedy kRemedies[] = {
    {"42501", "may not be used as an output plugin",
     "allow it: ALTER SYSTEM SET output_plugin_libraries = pgoutput, test_decoding, wal2json; "
     "SELECT pg_reload_conf();",
     true},
    {"42501", "replication",
     "give the role of postgres.url the attribute: ALTER ROLE role_name REPLICATION", true},
    {"42501", "WAL sender",
     "give the role of postgres.url the attribute: ALTER ROLE role_name REPLICATION", true},
    {"42501", "", "grant the privilege to the role that postgres.url names", true},
    {"58P01", "wal2json",
     "install wal2json on the database server: apt-get install postgresql-NN-wal2json, where NN is "
     "the server's major version",
     true},
    {"58P01", "", "install what the message names on the database server", true},
    {"28P01", "", "correct the password in postgres.url or postgres.password_file", true},
    {"28000", "does not exist", "create the role, or correct its name in postgres.url", true},
    {"28000", "not permitted to log in", "ALTER ROLE role_name LOGIN", true},
    {"28000", "",
     "let the role in with a line for the database in pg_hba.conf (the word replication covers "
     "only physical replication): host database_name role_name address scram-sha-256",
     true},
    {"3D000", "", "create the database, or correct its name in postgres.url", true},
    {"08001", "",
     "write postgres.url like postgresql://user:password@host:5432/database, with / : @ ? in the "
     "password percent-encoded",
     true},
    {"08P01", "startup parameter",
     "let postgres.url name PostgreSQL itself: a pooler in between takes no session settings and "
     "no replication",
     true},
    {"22021", "", "send text without NUL characters, in UTF-8", false},
    {"25006", "",
     "let postgres.url name the primary (target_session_attrs=read-write with several hosts)",
     false},
    {"42704", "replication slot", "find out who dropped the slot", true},
    {"42P01", "", "create the tables: syncflow-sidecar init, or postgres.initialize: true", true},
    {"53100", "", "free space on the disk of the database server", false},
    {"53300", "wal_sender", "raise max_wal_senders and restart PostgreSQL", false},
    {"53300", "", "raise max_connections or the role's CONNECTION LIMIT, or lower pool_max", false},
    {"53400", "replication slots",
     "raise max_replication_slots and restart PostgreSQL, or drop an unused slot", true},
    {"55000", "wal_level", "ALTER SYSTEM SET wal_level = logical; then restart PostgreSQL", true},
    {"55000", "invalidated",
     "PostgreSQL removed WAL that was not yet received: raise max_slot_wal_keep_size, then drop "
     "the slot so that a new one is created",
     true},
    {"55000", "", "", true},
    {"55006", "",
     "only one reader can use a slot: stop the other one, or choose another replication.slot",
     false},
    {"55P03", "", "another session holds the lock; try again when its transaction has ended",
     false},
    {"57P01", "",
     "a new connection is opened; if it repeats, find who stops the server or ends the session",
     false},
    {"57P03", "", "wait until the server has started or recovered", false},
    {"0A000", "", "", true},
    {"", "invalid port number", "correct the port in postgres.url", true},
    {"", "invalid sslmode", "correct sslmode in postgres.url", true},
    {"", "could not translate host name", "correct the host in postgres.url", false},
    {"", "certificate", "check sslmode, sslrootcert and the host name in postgres.url", false},
    {"", "does not support SSL", "set sslmode in postgres.url, or ssl = on at the server", false},
};

const Remedy* Find(std::string_view sqlstate, std::string_view message) {
  for (const Remedy& remedy : kRemedies) {
    if (sqlstate == remedy.sqlstate && message.find(remedy.text) != std::string_view::npos)
      return &remedy;
  }
  return nullptr;
}

std::string HintFor(std::string_view message, std::string_view sqlstate) {
  const Remedy* remedy = Find(sqlstate, message);
  return remedy == nullptr ? "" : std::string(remedy->hint);
}

}  // namespace

Error::Error(std::string message, std::string sqlstate, std::string hint)
    : std::runtime_error(message),
      message_(std::move(message)),
      sqlstate_(std::move(sqlstate)),
      hint_(hint.empty() ? HintFor(message_, sqlstate_) : std::move(hint)) {}

bool Error::NeedsReconnect() const {
  return sqlstate_.empty() || sqlstate_.starts_with("08") || sqlstate_.starts_with("57P");
}

bool Error::NeedsOperator() const {
  const Remedy* remedy = Find(sqlstate_, message_);
  return remedy != nullptr && remedy->needs_operator;
}

std::string Error::Explain() const {
  return hint_.empty() ? message_ : message_ + "; " + hint_;
}

}  // namespace syncflow::adapter
