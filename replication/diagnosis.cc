#include "replication/diagnosis.h"

#include <chrono>
#include <cstdlib>
#include <functional>
#include <optional>

#include "adapter/schema.h"
#include "replication/preflight.h"
#include "replication/publication.h"
#include "replication/server_version.h"
#include "replication/slot.h"

namespace syncflow::replication {
namespace {

constexpr const char* kPgOutput = "pgoutput";
constexpr const char* kWal2Json = "wal2json";
constexpr std::chrono::seconds kProbeTimeout{3};
constexpr double kClockSkewMax = 5;  // seconds

class Diagnosis {
 public:
  Diagnosis(const adapter::ConnectOptions& connect, const Subject& subject)
      : connect_(connect), subject_(subject) {}

  std::vector<Finding> Run() {
    if (!Check("connection", [this] { Connect(); })) return std::move(findings_);
    Check("version", [this] { Version(); });
    Check("primary", [this] { Held(RequirePrimary, "the server is a primary"); });
    Check("wal_level", [this] { Held(RequireWalLevel, "wal_level is logical"); });
    Check("encoding", [this] { Held(RequireEncoding, "the database is encoded in UTF8"); });
    Check("table", [this] { Table(); });
    Check("role", [this] { Role(); });
    if (subject_.deletes) Check("compaction", [this] { Compaction(); });
    if (subject_.serves_clients) Check("late_operations", [this] { ClockIndex(); });
    Check("replication", [this] { Replicate(); });
    Check("slot", [this] { ExistingSlot(); });
    Check("slots_left", [this] { SlotsLeft(); });
    Check("senders_left", [this] { SendersLeft(); });
    Check("plugin", [this] { Plugin(); });
    if (plugin_ == kPgOutput) Check("publication", [this] { Publication(); });
    Check("wal_kept", [this] { WalKept(); });
    Check("sender_timeout", [this] { SenderTimeout(); });
    Check("old_transactions", [this] { OldTransactions(); });
    Check("notify_queue", [this] { NotifyQueue(); });
    Check("clock", [this] { ServerClock(); });
    return std::move(findings_);
  }

 private:
  // ---- how a check speaks ----

  bool Check(const char* name, const std::function<void()>& check) {
    name_ = name;
    try {
      check();
      return true;
    } catch (const adapter::Error& error) {
      Add(Severity::kError, error.what(), error.hint());
      return false;
    }
  }

  void Add(Severity severity, const std::string& sentence, const std::string& remedy = "") {
    findings_.push_back({name_, severity, sentence, remedy});
  }
  void Ok(const std::string& sentence) { Add(Severity::kOk, sentence); }
  void Warn(const std::string& sentence, const std::string& remedy) {
    Add(Severity::kWarning, sentence, remedy);
  }
  void Refuse(const std::string& sentence, const std::string& remedy) {
    Add(Severity::kError, sentence, remedy);
  }

  template <typename Requirement>
  void Held(Requirement require, const std::string& sentence) {
    require(*sql_);
    Ok(sentence);
  }

  adapter::Result Ask(const std::string& question,
                      const std::vector<std::optional<std::string>>& parameters = {}) {
    return sql_->Query(question, parameters);
  }
  std::string AskOne(const std::string& question,
                     const std::vector<std::optional<std::string>>& parameters = {}) {
    adapter::Result result = Ask(question, parameters);
    return result.rows() == 0 ? "" : std::string(result.Get(0, 0));
  }
  long AskNumber(const std::string& question) { return std::atol(AskOne(question).c_str()); }

  // ---- the checks ----

  void Connect() {
    sql_.emplace(connect_);
    Ok("database '" + sql_->database() + "' as role '" + sql_->user() + "'");
  }

  void Version() {
    std::string version = AskOne("SHOW server_version");
    if (sql_->server_version() < kOldestServer)
      return Refuse("PostgreSQL " + version + " is not supported", "upgrade to 14 or later");
    if (auto bugs = KnownBugs(sql_->server_version())) return Warn(*bugs, "upgrade PostgreSQL");
    Ok("PostgreSQL " + version);
  }

  void Table() {
    RequireTable(*sql_, subject_.schema, subject_.table);
    RequireJsonColumns(*sql_, subject_.schema, subject_.table);
    std::string table = Quoted();
    Ok(table + " is an ordinary, logged table");
    std::string facts =
        "FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace WHERE "
        "n.nspname = $1 AND c.relname = $2";
    std::vector<std::optional<std::string>> which{subject_.schema, subject_.table};
    if (AskOne("SELECT EXISTS (SELECT FROM pg_catalog.pg_inherits i WHERE i.inhparent = c.oid) " +
                   facts,
               which) == "t") {
      Warn("tables inherit from " + table + ", and rows inserted into them are not sent",
           "insert into " + table + " itself");
    }
    if (AskOne("SELECT c.relrowsecurity AND pg_catalog.row_security_active(c.oid) " + facts,
               which) == "t") {
      Refuse("row security hides rows of " + table + " from this role",
             "ALTER ROLE " + sql_->QuoteIdentifier(sql_->user()) + " BYPASSRLS");
    }
  }

  void Role() {
    std::string role = sql_->QuoteIdentifier(sql_->user());
    adapter::Result facts =
        Ask("SELECT rolsuper, rolreplication, coalesce(pg_catalog.has_table_privilege("
            "pg_catalog.to_regclass($1), 'SELECT'), true) FROM pg_catalog.pg_roles WHERE rolname = "
            "current_user",
            {Quoted()});
    if (facts.Get(0, 2) != "t") {
      Refuse("the role " + role + " may not read " + Quoted() +
                 ", so what the stream loses cannot be taken from it",
             "GRANT SELECT ON " + Quoted() + " TO " + role);
    }
    std::string documents = sql_->QuoteIdentifier(subject_.schema) + ".documents";
    if (AskOne("SELECT pg_catalog.has_table_privilege(pg_catalog.to_regclass($1), 'SELECT')",
               {documents}) == "f") {
      Warn("the role " + role + " may not read " + documents +
               ", so no consumer can begin with a snapshot",
           "GRANT SELECT ON " + documents + " TO " + role);
    }
    if (AskOne("SELECT pg_catalog.row_security_active(pg_catalog.to_regclass($1)::oid)",
               {documents}) == "t") {
      Warn("row security hides rows of " + documents +
               " from this role, so no consumer can begin with a snapshot",
           "ALTER ROLE " + role + " BYPASSRLS");
    }
    if (facts.Get(0, 0) == "t") {
      return Warn("the role " + role + " is a superuser, and far less is enough",
                  "syncflow-sidecar init --print-sql prints roles that may only what they need");
    }
    if (facts.Get(0, 1) != "t")
      return Refuse("the role " + role + " may not stream", "ALTER ROLE " + role + " REPLICATION");
    Ok("the role " + role + " may stream");
  }

  // Locking the rows that go asks for UPDATE on some column.
  void Compaction() {
    std::string may = AskOne(
        "SELECT pg_catalog.has_table_privilege(t, 'DELETE') AND "
        "pg_catalog.has_any_column_privilege(t, 'UPDATE') FROM pg_catalog.to_regclass($1) AS t",
        {Quoted()});
    std::string role = sql_->QuoteIdentifier(sql_->user());
    if (may == "f") {
      return Warn("the role " + role + " may not delete from " + Quoted() +
                      ", so that compaction.jobs fail",
                  "GRANT DELETE, UPDATE (synced) ON " + Quoted() + " TO " + role);
    }
    if (may == "t") Ok("the role " + role + " may delete old operations");
  }

  void ClockIndex() {
    std::string found = AskOne(
        "SELECT count(*) FROM pg_catalog.pg_index WHERE indrelid = pg_catalog.to_regclass($1) AND "
        "indisvalid AND pg_catalog.pg_get_indexdef(indexrelid) LIKE '%vector_clock -> client_id%'",
        {Quoted()});
    if (found != "0") return Ok("an index finds operations that arrived late");
    Warn(
        "no index finds operations that arrived late, so a client that sends its vector clock has "
        "the whole table read with every request",
        adapter::ExtraIndexStatement(*sql_, subject_.schema, adapter::ExtraIndex::kOperationClock));
  }

  void Replicate() {
    adapter::ConnectOptions options = connect_;
    options.replication = true;
    options.timeout = kProbeTimeout;
    replication_.emplace(options);
    SystemIdentity identity = IdentifySystem(*replication_);
    Ok("replication connection to system " + identity.system_identifier + ", timeline " +
       std::to_string(identity.timeline));
  }

  void ExistingSlot() {
    if (!replication_) return;
    slot_ = FindSlot(*replication_, subject_.slot);
    if (!slot_) return Ok("'" + subject_.slot + "' does not exist yet; the first start creates it");
    if (!subject_.plugin.empty()) CheckSlot(*slot_, subject_.plugin, sql_->database());
    if (subject_.plugin.empty())
      CheckSlot(*slot_, slot_->plugin == kPgOutput ? kPgOutput : kWal2Json, sql_->database());
    if (IsInvalidated(*slot_)) {
      return Warn("'" + slot_->name + "' was invalidated, WAL is missing",
                  "the sidecar makes a new one and takes what is missing from the table; raise "
                  "max_slot_wal_keep_size");
    }
    std::string held = AskOne(
        "SELECT pg_catalog.pg_size_pretty(pg_catalog.pg_current_wal_lsn() - $1::pg_catalog.pg_lsn)",
        {slot_->restart.ToString()});
    std::string reader =
        slot_->active_pid ? "read by process " + std::to_string(*slot_->active_pid) : "not read";
    Ok("'" + slot_->name + "' of " + slot_->plugin + " is " + reader + " and holds " + held +
       " of WAL");
    if (!HasFailoverSlots(sql_->server_version())) return;
    if (AskOne("SELECT failover FROM pg_catalog.pg_replication_slots WHERE slot_name = $1",
               {slot_->name}) == "t")
      return;
    Warn("'" + slot_->name +
             "' does not follow a failover, after one what is missing is taken from "
             "the table",
         "with standbys, stop the sidecar and, on a connection with replication=database: "
         "ALTER_REPLICATION_SLOT " +
             slot_->name + " (FAILOVER true)");
  }

  void SlotsLeft() {
    long used = AskNumber("SELECT count(*) FROM pg_catalog.pg_replication_slots");
    Left("replication slots", "max_replication_slots", used, slot_ ? 0 : 1);
  }

  void SendersLeft() {
    long used = AskNumber(
        "SELECT count(*) FROM pg_catalog.pg_stat_activity WHERE backend_type = 'walsender'");
    Left("WAL senders", "max_wal_senders", used - (replication_ ? 1 : 0),
         slot_ && slot_->active_pid ? 0 : 1);
  }

  void Left(const std::string& what, const std::string& setting, long used, long needed) {
    long most = AskNumber("SHOW " + setting);
    std::string sentence =
        std::to_string(used) + " of " + std::to_string(most) + " " + what + " are in use";
    if (most - used >= needed) return Ok(sentence);
    Refuse(sentence, "ALTER SYSTEM SET " + setting + " = " + std::to_string(most + 5) +
                         "; then restart PostgreSQL, or free one");
  }

  // Whether a plugin may be used is known only by using it. The library is loaded before the wait
  // for running transactions begins, so giving up there is an answer too.
  void Plugin() {
    if (slot_) {
      plugin_ = slot_->plugin;
      return Ok("the slot uses " + plugin_);
    }
    if (!replication_) return;
    plugin_ = subject_.plugin.empty() ? kWal2Json : subject_.plugin;
    try {
      TryPlugin();
    } catch (const adapter::Error& error) {
      if (!subject_.plugin.empty()) throw;
      plugin_ = kPgOutput;
      return Warn(std::string("wal2json cannot be used, pgoutput will be: ") + error.what(),
                  error.hint());
    }
    Ok(plugin_ + " can be used");
  }

  void TryPlugin() {
    try {
      replication_->Execute("CREATE_REPLICATION_SLOT " +
                            replication_->QuoteIdentifier(subject_.slot.substr(0, 50) + "_doctor") +
                            " TEMPORARY LOGICAL " + replication_->QuoteIdentifier(plugin_) +
                            NoSnapshot(replication_->server_version()));
    } catch (const adapter::Error& error) {
      if (!error.sqlstate().empty()) throw;
    }
    replication_.reset();  // takes the slot with it
  }

  void Publication() {
    try {
      CheckPublication(*sql_, subject_.publication, subject_.schema, subject_.table);
      Ok("'" + subject_.publication + "' has every insert into " + Quoted());
    } catch (const adapter::Error& error) {
      bool absent =
          AskOne("SELECT EXISTS (SELECT FROM pg_catalog.pg_publication WHERE pubname = $1)",
                 {subject_.publication}) == "f";
      bool owner = AskOne(
                       "SELECT pg_catalog.pg_has_role(c.relowner, 'USAGE') FROM "
                       "pg_catalog.pg_class c WHERE c.oid = pg_catalog.to_regclass($1)",
                       {Quoted()}) == "t";
      if (!absent || slot_ || !subject_.creates_publication || !owner) throw;
      Ok("'" + subject_.publication + "' does not exist yet; the first start creates it");
    }
  }

  void WalKept() {
    long most = AskNumber(
        "SELECT setting FROM pg_catalog.pg_settings WHERE name = 'max_slot_wal_keep_size'");
    if (most < 0) {
      return Warn(
          "max_slot_wal_keep_size is unlimited: a sidecar that stays away lets WAL fill the "
          "server's disk",
          "ALTER SYSTEM SET max_slot_wal_keep_size = '20GB'; SELECT pg_reload_conf(); "
          "beyond it the slot is lost, and what is missing is taken from the table");
    }
    std::string left = AskOne(
        "SELECT pg_catalog.pg_size_pretty(safe_wal_size) FROM pg_catalog.pg_replication_slots "
        "WHERE "
        "slot_name = $1 AND safe_wal_size < $2::bigint * 1024 * 1024 / 2",
        {subject_.slot, std::to_string(most)});
    if (!left.empty()) {
      return Warn("the slot is lost after another " + left + " of WAL",
                  "start the sidecar, or raise max_slot_wal_keep_size");
    }
    Ok("max_slot_wal_keep_size is " + std::to_string(most) + " MB");
  }

  void SenderTimeout() {
    long timeout =
        AskNumber("SELECT setting FROM pg_catalog.pg_settings WHERE name = 'wal_sender_timeout'");
    if (timeout == 0) {
      return Warn("wal_sender_timeout is off: a broken connection keeps the slot busy for hours",
                  "ALTER SYSTEM SET wal_sender_timeout = '60s'; SELECT pg_reload_conf()");
    }
    if (timeout < 5000) {
      return Warn("wal_sender_timeout is " + std::to_string(timeout) +
                      " ms: a moment's pause ends "
                      "the stream",
                  "ALTER SYSTEM SET wal_sender_timeout = '60s'; SELECT pg_reload_conf()");
    }
    Ok("wal_sender_timeout is " + std::to_string(timeout / 1000) + " s");
  }

  // Only who may see other sessions sees them all.
  void OldTransactions() {
    adapter::Result oldest = Ask(
        "SELECT what, age FROM (SELECT 'process ' || pid AS what, now() - xact_start AS age FROM "
        "pg_catalog.pg_stat_activity WHERE backend_xid IS NOT NULL UNION ALL SELECT 'prepared "
        "transaction ' || gid, now() - prepared FROM pg_catalog.pg_prepared_xacts) t WHERE age > "
        "interval '5 minutes' ORDER BY age DESC LIMIT 1");
    if (oldest.rows() == 0) return Ok("no transaction is older than five minutes");
    std::string what(oldest.Get(0, 0));
    Warn("the transaction of " + what + " is open for " + std::string(oldest.Get(0, 1)) +
             ": a new slot waits for it, and WAL is kept since then",
         "end it: pg_terminate_backend, or ROLLBACK PREPARED");
  }

  void NotifyQueue() {
    double used = std::atof(AskOne("SELECT pg_catalog.pg_notification_queue_usage()").c_str());
    std::string sentence =
        "the NOTIFY queue is " + std::to_string(static_cast<int>(used * 100)) + " % full";
    if (used < 0.1) return Ok(sentence);
    Warn(sentence + "; when it is full, writers fail",
         "find the listener that sits in a transaction: SELECT pid, query FROM pg_stat_activity "
         "WHERE state = 'idle in transaction'");
  }

  void ServerClock() {
    auto now = [] {
      auto since = std::chrono::system_clock::now().time_since_epoch();
      return std::chrono::duration<double>(since).count();
    };
    double before = now();
    double theirs = std::atof(AskOne("SELECT extract(epoch FROM clock_timestamp())").c_str());
    double skew = theirs - (before + now()) / 2;
    if (std::abs(skew) <= kClockSkewMax) return Ok("the clocks agree");
    Warn("the server's clock is " + std::to_string(static_cast<long>(skew)) +
             " s off this machine's: lag by time is wrong by as much",
         "run a time service on both machines");
  }

  std::string Quoted() const {
    return sql_->QuoteIdentifier(subject_.schema) + "." + sql_->QuoteIdentifier(subject_.table);
  }

  const adapter::ConnectOptions& connect_;
  const Subject& subject_;
  std::string name_;
  std::vector<Finding> findings_;
  std::optional<adapter::Connection> sql_;
  std::optional<adapter::Connection> replication_;
  std::optional<Slot> slot_;
  std::string plugin_;
};

}  // namespace

std::vector<Finding> Diagnose(const adapter::ConnectOptions& connect, const Subject& subject) {
  return Diagnosis(connect, subject).Run();
}

}  // namespace syncflow::replication
