#include "adapter/connection.h"

#include <arpa/inet.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <thread>

#include "tests/support/postgres.h"

namespace syncflow::adapter {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;
using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::Not;
using testing::PrivatePostgres;

ConnectOptions To(const std::string& url, bool replication = false) {
  ConnectOptions options;
  options.url = url;
  options.replication = replication;
  options.timeout = seconds(120);  // a loaded machine is no failure
  return options;
}

Connection Connect(bool replication = false) {
  return Connection(To(PrivatePostgres::Shared().url(), replication));
}

// The shared server's url with another role, database or query.
std::string Url(const std::string& role, const std::string& rest = "postgres") {
  return "postgresql://" + role + "@127.0.0.1:" + std::to_string(PrivatePostgres::Shared().port()) +
         "/" + rest;
}

template <typename Action>
Error FailureOf(Action action) {
  try {
    action();
  } catch (const Error& error) {
    EXPECT_THAT(error.Explain(), Not(HasSubstr("\n")));
    return error;
  }
  ADD_FAILURE() << "nothing failed";
  return Error("nothing failed", "00000");
}

Error ConnectFailure(const ConnectOptions& options) {
  return FailureOf([&] { Connection connection(options); });
}

std::string Ask(Connection& connection, const std::string& sql) {
  Result result = connection.Execute(sql);
  return result.rows() == 0 ? "" : std::string(result.Get(0, 0));
}

void WaitUntil(Connection& connection, const std::string& condition) {
  while (Ask(connection, "SELECT " + condition) != "t") usleep(20'000);
}

// A file that the server's user can read, removed with the object.
class SharedFile {
 public:
  explicit SharedFile(const std::string& content) {
    path_ = std::filesystem::temp_directory_path() /
            ("syncflow-" + std::to_string(getpid()) + "-" + std::to_string(++made_));
    std::ofstream(path_) << content;
    std::filesystem::permissions(path_, std::filesystem::perms(0644));
  }
  ~SharedFile() { std::filesystem::remove(path_); }
  SharedFile(const SharedFile&) = delete;
  SharedFile& operator=(const SharedFile&) = delete;
  std::string path() const { return path_; }

 private:
  static inline int made_ = 0;
  std::filesystem::path path_;
};

// ---- queries ----

TEST(Connection, ReturnsRowsAsText) {
  Connection connection = Connect();
  Result result = connection.Query("SELECT $1::int + 1, $2::text, 'é'", {"41", std::nullopt});
  ASSERT_EQ(result.rows(), 1);
  ASSERT_EQ(result.columns(), 3);
  EXPECT_EQ(result.Get(0, 0), "42");
  EXPECT_TRUE(result.IsNull(0, 1));
  EXPECT_EQ(result.Get(0, 1), "");
  EXPECT_EQ(result.Get(0, 2), "é");
}

TEST(Connection, CountsTheRowsACommandTouched) {
  Connection connection = Connect();
  Result result = connection.Execute(
      "CREATE TEMP TABLE t AS SELECT generate_series(1, 9) n; DELETE FROM t WHERE n > 4");
  EXPECT_EQ(result.affected(), 5);
}

TEST(Connection, TakesStatementsAndResultsBeyondEveryBuffer) {
  Connection connection = Connect();
  std::string large(20'000'000, 'x');
  EXPECT_EQ(connection.Query("SELECT $1::text", {large}).Get(0, 0), large);
  EXPECT_EQ(connection.Execute("SELECT generate_series(1, 300000)").rows(), 300'000);
}

TEST(Connection, GoesOnAfterAFailedStatement) {
  Connection connection = Connect();
  Error error = FailureOf([&] { connection.Execute("SELECT 1; SELECT 1/0; SELECT 2"); });
  EXPECT_EQ(error.sqlstate(), "22012");
  EXPECT_FALSE(error.NeedsReconnect());
  EXPECT_EQ(Ask(connection, "SELECT 'still here'"), "still here");
}

TEST(Connection, KeepsTheRowsOfADataErrorToItself) {
  Connection connection = Connect();
  connection.Execute("CREATE TEMP TABLE t (secret TEXT UNIQUE, other INT NOT NULL)");
  connection.Execute("INSERT INTO t VALUES ('geheim', 1)");
  for (const char* sql :
       {"INSERT INTO t VALUES ('geheim', 1)", "INSERT INTO t VALUES ('geheim')"}) {
    Error error = FailureOf([&] { connection.Execute(sql); });
    EXPECT_THAT(error.Explain(), Not(HasSubstr("geheim")));
  }
}

TEST(Connection, RefusesATextThatWouldBeCutAtANul) {
  Connection connection = Connect();
  std::string text("a\0b", 3);
  for (const Error& error : {FailureOf([&] { connection.Query("SELECT $1::text", {text}); }),
                             FailureOf([&] { connection.Execute("SELECT '" + text + "'"); }),
                             FailureOf([&] { connection.QuoteLiteral(text); }),
                             FailureOf([&] { connection.QuoteIdentifier(text); })})
    EXPECT_EQ(error.sqlstate(), "22021");
}

TEST(Connection, QuotesWhatWouldBreakOut) {
  Connection connection = Connect();
  for (std::string text : {"it's", "a\"b", "back\\slash", "'; DROP TABLE x; --", "é", ""}) {
    EXPECT_EQ(Ask(connection, "SELECT " + connection.QuoteLiteral(text)), text);
    if (text.empty()) continue;
    EXPECT_EQ(Ask(connection, "SELECT x." + connection.QuoteIdentifier(text) +
                                  " FROM (SELECT 1 AS " + connection.QuoteIdentifier(text) + ") x"),
              "1");
  }
}

TEST(Connection, HandsNoticesOver) {
  Connection connection = Connect();
  std::vector<std::string> heard;
  connection.OnNotice([&](const std::string& severity, const std::string& message) {
    heard.push_back(severity + ": " + message);
  });
  connection.Execute("DO $$ BEGIN RAISE NOTICE 'one'; RAISE WARNING 'two'; END $$");
  EXPECT_THAT(heard, ElementsAre("NOTICE: one", "WARNING: two"));
}

TEST(Connection, KeepsItsStateWhenMoved) {
  Connection first = Connect();
  std::vector<std::string> heard;
  first.OnNotice([&](const std::string&, const std::string& message) { heard.push_back(message); });
  Connection second(std::move(first));
  second.Execute("DO $$ BEGIN RAISE NOTICE 'one'; END $$");
  EXPECT_THAT(heard, ElementsAre("one"));
}

TEST(Connection, ReceivesNotifications) {
  Connection listener = Connect();
  listener.Execute("LISTEN \"Some Channel\"");
  Connect().Execute("NOTIFY \"Some Channel\", 'payload é'");
  std::optional<Notification> notification;
  while (!notification) {
    listener.Wait(Clock::now() + seconds(1));
    listener.ConsumeInput();
    notification = listener.NextNotification();
  }
  EXPECT_EQ(notification->channel, "Some Channel");
  EXPECT_EQ(notification->payload, "payload é");
}

TEST(Connection, KnowsItsFacts) {
  Connection connection = Connect();
  EXPECT_EQ(std::to_string(connection.server_version()),
            Ask(connection, "SHOW server_version_num"));
  EXPECT_EQ(std::to_string(connection.backend_pid()), Ask(connection, "SELECT pg_backend_pid()"));
  EXPECT_EQ(connection.user(), "postgres");
  EXPECT_EQ(connection.database(), "postgres");
  EXPECT_EQ(connection.host_and_port(),
            "127.0.0.1:" + std::to_string(PrivatePostgres::Shared().port()));
}

// ---- session settings ----

TEST(Session, IsPinnedAgainstSettingsOfTheRole) {
  Connect().Execute(
      "DROP ROLE IF EXISTS odd; CREATE ROLE odd LOGIN REPLICATION; ALTER ROLE odd SET timezone = "
      "'Asia/Tokyo'; ALTER ROLE odd SET datestyle = 'German'; ALTER ROLE odd SET intervalstyle = "
      "iso_8601; ALTER ROLE odd SET bytea_output = escape; ALTER ROLE odd SET extra_float_digits = "
      "-3; ALTER ROLE odd SET idle_session_timeout = 1; ALTER ROLE odd SET client_encoding = "
      "LATIN1");
  for (bool replication : {false, true}) {
    Connection connection(To(Url("odd"), replication));
    Result row = connection.Execute(
        "SELECT '2026-01-02 03:04:05+00'::timestamptz, '1 day'::interval, 'a'::bytea, "
        "0.1::float8 + 0.2::float8, 'é', current_setting('idle_session_timeout')");
    EXPECT_EQ(row.Get(0, 0), "2026-01-02 03:04:05+00");
    EXPECT_EQ(row.Get(0, 1), "1 day");
    EXPECT_EQ(row.Get(0, 2), "\\x61");
    EXPECT_EQ(row.Get(0, 3), "0.30000000000000004");
    EXPECT_EQ(row.Get(0, 4), "é");
    EXPECT_EQ(row.Get(0, 5), "0");
  }
}

TEST(Session, KeepsWhatTheUrlSets) {
  Connection connection(
      To(Url("postgres",
             "postgres?max=3&application_name=mine&options=-c%20work_mem%3D123kB%20-c%20"
             "timezone%3DAsia/Tokyo")));
  EXPECT_EQ(Ask(connection, "SHOW application_name"), "mine");
  EXPECT_EQ(Ask(connection, "SHOW work_mem"), "123kB");
  EXPECT_EQ(Ask(connection, "SHOW timezone"), "UTC");
  Connection usual = Connect();
  EXPECT_EQ(Ask(usual, "SHOW application_name"), "syncflow-sidecar");
}

TEST(Session, OpensFromKeywordsToo) {
  Connection connection(To("host=127.0.0.1 user=postgres dbname=postgres port=" +
                           std::to_string(PrivatePostgres::Shared().port())));
  EXPECT_EQ(Ask(connection, "SELECT current_user"), "postgres");
}

// ---- limits of time ----

TEST(Deadline, EndsTheStatementAtTheServerToo) {
  ConnectOptions options = To(PrivatePostgres::Shared().url());
  options.timeout = seconds(1);
  Connection connection(options);
  Error error = FailureOf([&] { connection.Execute("SELECT 'to be ended', pg_sleep(3600)"); });
  EXPECT_EQ(error.sqlstate(), "");
  EXPECT_THAT(error.what(), HasSubstr("no answer in time"));
  EXPECT_TRUE(FailureOf([&] { connection.Execute("SELECT 1"); }).NeedsReconnect());
  Connection other = Connect();
  WaitUntil(other,
            "NOT EXISTS (SELECT FROM pg_stat_activity WHERE pid <> pg_backend_pid() AND "
            "query LIKE '%to be ended%' AND state = 'active')");
}

TEST(Deadline, HoldsWhileTheServerReadsNothing) {
  ConnectOptions options = To(PrivatePostgres::Shared().url());
  options.timeout = milliseconds(500);
  Connection connection(options);
  kill(connection.backend_pid(), SIGSTOP);
  Error error =
      FailureOf([&] { connection.Query("SELECT $1::text", {std::string(50'000'000, 'x')}); });
  kill(connection.backend_pid(), SIGCONT);
  EXPECT_THAT(error.what(), HasSubstr("no answer in time"));
}

// An address where nobody ever answers: the queue of a listening socket that accepts nothing is
// full.
class DeafPort {
 public:
  DeafPort() : listening_(Socket()) {
    sockaddr_in address = Address(0);
    socklen_t size = sizeof address;
    bind(listening_, reinterpret_cast<sockaddr*>(&address), size);
    listen(listening_, 0);
    getsockname(listening_, reinterpret_cast<sockaddr*>(&address), &size);
    port_ = ntohs(address.sin_port);
    for (int& filler : fillers_) {
      filler = Socket();
      connect(filler, reinterpret_cast<sockaddr*>(&address), size);
    }
  }
  ~DeafPort() {
    for (int filler : fillers_) close(filler);
    close(listening_);
  }
  DeafPort(const DeafPort&) = delete;
  DeafPort& operator=(const DeafPort&) = delete;
  std::string port() const { return std::to_string(port_); }

 private:
  static int Socket() { return socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0); }
  static sockaddr_in Address(uint16_t port) {
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_port = htons(port);
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    return address;
  }

  int listening_;
  int port_ = 0;
  int fillers_[3];
};

TEST(Deadline, HoldsWhileConnecting) {
  DeafPort deaf;
  ConnectOptions options = To("postgresql://postgres@127.0.0.1:" + deaf.port() + "/postgres");
  options.timeout = milliseconds(300);
  Error error = ConnectFailure(options);
  EXPECT_THAT(error.what(), HasSubstr("no answer in time while connecting to 127.0.0.1:"));
  EXPECT_TRUE(error.NeedsReconnect());
}

TEST(Deadline, LeavesTimeForTheNextHost) {
  DeafPort deaf;
  ConnectOptions options = To("postgresql://postgres@127.0.0.1:" + deaf.port() + ",127.0.0.1:" +
                              std::to_string(PrivatePostgres::Shared().port()) + "/postgres");
  options.timeout = seconds(6);
  Connection connection(options);
  EXPECT_EQ(connection.host_and_port(),
            "127.0.0.1:" + std::to_string(PrivatePostgres::Shared().port()));
}

TEST(Stopping, EndsConnectingAndStatementsAtOnce) {
  int stop = eventfd(1, EFD_CLOEXEC | EFD_NONBLOCK);
  DeafPort deaf;
  ConnectOptions options = To("postgresql://postgres@127.0.0.1:" + deaf.port() + "/postgres");
  options.timeout = std::chrono::hours(1);
  options.stop_fd = stop;
  EXPECT_THAT(ConnectFailure(options).what(), HasSubstr("stopped while connecting"));

  eventfd_t count = 0;
  eventfd_read(stop, &count);
  options.url = PrivatePostgres::Shared().url();
  Connection connection(options);
  std::thread stopper([&] {
    Connection other = Connect();
    WaitUntil(other,
              "EXISTS (SELECT FROM pg_stat_activity WHERE pid <> pg_backend_pid() AND query "
              "LIKE '%to be stopped%' AND state = 'active')");
    eventfd_write(stop, 1);
  });
  Error error = FailureOf([&] { connection.Execute("SELECT 'to be stopped', pg_sleep(3600)"); });
  stopper.join();
  close(stop);
  EXPECT_THAT(error.what(), HasSubstr("stopped while waiting"));
}

TEST(Stopping, AbandonEndsWhatWaitsOnAnotherThread) {
  Connection connection = Connect();
  std::thread other([&] {
    Connection watching = Connect();
    WaitUntil(watching,
              "EXISTS (SELECT FROM pg_stat_activity WHERE pid <> pg_backend_pid() AND "
              "query LIKE '%to be abandoned%' AND state = 'active')");
    connection.Abandon();
  });
  Error error = FailureOf([&] { connection.Execute("SELECT 'to be abandoned', pg_sleep(60)"); });
  other.join();
  EXPECT_TRUE(error.NeedsReconnect());
  EXPECT_EQ(error.sqlstate(), "");
}

// ---- what can fail, and what the message advises ----

TEST(Refusal, OfTheConnectionNamesHostPortAndSetting) {
  Error error = ConnectFailure(To("postgresql://u:geheim@127.0.0.1:1/d"));
  EXPECT_EQ(error.sqlstate(), "");
  EXPECT_EQ(std::string(error.what()), "cannot connect to 127.0.0.1:1 as u: Connection refused");
  EXPECT_THAT(error.hint(), AllOf(HasSubstr("127.0.0.1:1"), HasSubstr("postgres.url")));
  EXPECT_TRUE(error.NeedsReconnect());
}

TEST(Refusal, OfAnUnknownHostOrSocketIsOneLine) {
  Error host = ConnectFailure(To("postgresql://u@no-such-host.invalid/d"));
  EXPECT_THAT(host.what(), HasSubstr("no-such-host.invalid"));
  Error socket = ConnectFailure(To("postgresql:///d?host=/nowhere"));
  EXPECT_THAT(socket.what(), HasSubstr("No such file or directory"));
  EXPECT_THAT(socket.hint(), HasSubstr("postgres.url"));
}

TEST(Refusal, OfAConnectionStringDoesNotRepeatIt) {
  for (const char* url : {"postgresql://u:geheim@h/d?geheim=1", "host=h geheim", "geheim://x",
                          "postgresql://u:geheim@h:x y/d", "postgresql://[geheim",
                          "postgresql://u:geheim/x@h/d", "postgresql://u@h:70000/geheim"}) {
    Error error = ConnectFailure(To(url));
    EXPECT_THAT(error.Explain(), Not(HasSubstr("geheim"))) << url;
    EXPECT_TRUE(error.NeedsOperator()) << url;
  }
}

class Passwords : public ::testing::Test {
 protected:
  static void SetUpTestSuite() {
    server_ = new PrivatePostgres({"--auth", "scram-sha-256", "--password", "geheim"});
  }
  static void TearDownTestSuite() { delete server_; }
  static std::string UrlWith(const std::string& login) {
    return "postgresql://" + login + "@127.0.0.1:" + std::to_string(server_->port()) + "/postgres";
  }
  static inline PrivatePostgres* server_ = nullptr;
};

TEST_F(Passwords, WrongOrMissingOnesAreNamedAsSuch) {
  for (const char* login : {"postgres:falsch", "postgres", "nobody:falsch"}) {
    Error error = ConnectFailure(To(UrlWith(login)));
    EXPECT_EQ(error.sqlstate(), "28P01") << login;
    EXPECT_THAT(error.what(), Not(HasSubstr("falsch")));
    EXPECT_THAT(error.hint(), HasSubstr("postgres.password_file"));
    EXPECT_TRUE(error.NeedsOperator());
  }
}

TEST_F(Passwords, AreReadFromTheirFile) {
  SharedFile file("geheim\n");
  ConnectOptions options = To(UrlWith("postgres:falsch"));
  options.password_file = file.path();
  Connection connection(options);
  EXPECT_EQ(Ask(connection, "SELECT 1"), "1");
}

TEST_F(Passwords, InAnUnreadableFileAreNamedAsSuch) {
  ConnectOptions options = To(UrlWith("postgres"));
  options.password_file = "/nowhere/password";
  Error error = ConnectFailure(options);
  EXPECT_THAT(error.what(), HasSubstr("'/nowhere/password' cannot be read"));
  EXPECT_TRUE(error.NeedsOperator());
}

TEST(Refusal, ByPgHbaShowsTheLineThatIsMissing) {
  SharedFile hba("host postgres postgres 127.0.0.1/32 trust\n");
  PrivatePostgres server({"--set", "hba_file='" + hba.path() + "'", "--set", "lc_messages='C'"});
  std::string url = "postgresql://reader@127.0.0.1:" + std::to_string(server.port()) + "/shop";
  for (bool replication : {false, true}) {
    Error error = ConnectFailure(To(url, replication));
    EXPECT_EQ(error.sqlstate(), "28000");
    EXPECT_THAT(error.hint(), HasSubstr("host shop reader CLIENT_ADDRESS/32 scram-sha-256"));
    EXPECT_TRUE(error.NeedsOperator());
  }
}

TEST(Refusal, OfARoleOrDatabaseNamesIt) {
  Error role = ConnectFailure(To(Url("no_such_role")));
  EXPECT_EQ(role.sqlstate(), "28000");
  EXPECT_THAT(role.hint(), HasSubstr("create the role"));
  Error database = ConnectFailure(To(Url("postgres", "no_such_database")));
  EXPECT_EQ(database.sqlstate(), "3D000");
  EXPECT_THAT(database.hint(), HasSubstr("create the database"));
}

TEST(Refusal, OfTooManyConnectionsNamesTheSettings) {
  Connect().Execute("DROP ROLE IF EXISTS crowd; CREATE ROLE crowd LOGIN CONNECTION LIMIT 0");
  Error error = ConnectFailure(To(Url("crowd")));
  EXPECT_EQ(error.sqlstate(), "53300");
  EXPECT_THAT(error.hint(), HasSubstr("max_connections"));
  EXPECT_FALSE(error.NeedsOperator());
}

TEST(Refusal, OfARoleWithoutReplicationNamesTheAttribute) {
  Connect().Execute("DROP ROLE IF EXISTS plain; CREATE ROLE plain LOGIN");
  Error error = ConnectFailure(To(Url("plain"), true));
  EXPECT_EQ(error.sqlstate(), "42501");
  EXPECT_THAT(error.hint(), HasSubstr("REPLICATION"));
}

TEST(Refusal, OfAPrivilegeOrTableNamesTheRemedy) {
  Connect().Execute(
      "DROP ROLE IF EXISTS guest; CREATE ROLE guest LOGIN; DROP TABLE IF EXISTS locked; CREATE "
      "TABLE locked ()");
  Connection guest(To(Url("guest")));
  Error privilege = FailureOf([&] { guest.Execute("TABLE public.locked"); });
  EXPECT_EQ(privilege.sqlstate(), "42501");
  EXPECT_THAT(privilege.hint(), HasSubstr("grant"));
  Error table = FailureOf([&] { guest.Execute("TABLE public.no_such_table"); });
  EXPECT_EQ(table.sqlstate(), "42P01");
  EXPECT_THAT(table.hint(), HasSubstr("syncflow-sidecar init"));
}

TEST(Refusal, OfASlotNamesTheRemedy) {
  Connection connection = Connect(true);
  Error missing =
      FailureOf([&] { connection.StartCopyBoth("START_REPLICATION SLOT no_such LOGICAL 0/0"); });
  EXPECT_EQ(missing.sqlstate(), "42704");
  EXPECT_TRUE(missing.NeedsOperator());
  connection.Execute("CREATE_REPLICATION_SLOT busy TEMPORARY LOGICAL test_decoding");
  Connection second = Connect(true);
  Error busy = FailureOf([&] { second.StartCopyBoth("START_REPLICATION SLOT busy LOGICAL 0/0"); });
  EXPECT_EQ(busy.sqlstate(), "55006");
  EXPECT_THAT(busy.hint(), HasSubstr("only one reader"));
}

TEST(Refusal, OfThePluginNamesTheSetting) {
  PrivatePostgres server({"--refuse-wal2json"});
  Connection connection(To(server.url(), true));
  Error error = FailureOf(
      [&] { connection.Execute("CREATE_REPLICATION_SLOT s TEMPORARY LOGICAL wal2json"); });
  EXPECT_EQ(error.sqlstate(), "42501");
  EXPECT_THAT(error.hint(),
              HasSubstr("ALTER SYSTEM SET output_plugin_libraries = pgoutput, test_decoding, "
                        "wal2json; SELECT pg_reload_conf();"));
  EXPECT_TRUE(error.NeedsOperator());
}

TEST(Refusal, OfAPluginThatIsNotInstalledSaysSo) {
  PrivatePostgres server({"--set", "output_plugin_libraries='no_such_plugin'"});
  Connection connection(To(server.url(), true));
  Error error = FailureOf(
      [&] { connection.Execute("CREATE_REPLICATION_SLOT s TEMPORARY LOGICAL no_such_plugin"); });
  EXPECT_EQ(error.sqlstate(), "58P01");
  EXPECT_THAT(error.hint(), HasSubstr("install"));
}

TEST(Refusal, OfTheWalLevelNamesTheSetting) {
  PrivatePostgres server({"--set", "wal_level=replica"});
  Connection connection(To(server.url(), true));
  Error error = FailureOf(
      [&] { connection.Execute("CREATE_REPLICATION_SLOT s TEMPORARY LOGICAL test_decoding"); });
  EXPECT_EQ(error.sqlstate(), "55000");
  EXPECT_THAT(error.hint(), HasSubstr("ALTER SYSTEM SET wal_level = logical"));
}

// ---- servers that go away; each test has its own ----

class GoingAway : public ::testing::Test {
 protected:
  PrivatePostgres server_;
  Connection connection_{To(server_.url())};
};

TEST_F(GoingAway, TerminationIsToldAsSuchToTheNextStatement) {
  Connection other(To(server_.url()));
  other.Query("SELECT pg_terminate_backend($1, 60000)",
              {std::to_string(connection_.backend_pid())});
  Error error = FailureOf([&] { connection_.Execute("SELECT 1"); });
  EXPECT_EQ(error.sqlstate(), "57P01");
  EXPECT_TRUE(error.NeedsReconnect());
}

TEST_F(GoingAway, TerminationIsToldAsSuchWhileIdle) {
  Connection other(To(server_.url()));
  other.Query("SELECT pg_terminate_backend($1, 60000)",
              {std::to_string(connection_.backend_pid())});
  Error error = FailureOf([&] {
    for (;;) connection_.Wait(Clock::now() + seconds(1)), connection_.ConsumeInput();
  });
  EXPECT_EQ(error.sqlstate(), "57P01");
}

TEST_F(GoingAway, ImmediateStopIsALostConnection) {
  server_.Stop("immediate");
  Error error = FailureOf([&] { connection_.Execute("SELECT 1"); });
  EXPECT_TRUE(error.NeedsReconnect());
  EXPECT_TRUE(FailureOf([&] { connection_.Execute("SELECT 1"); }).NeedsReconnect());
}

TEST_F(GoingAway, AServerThatIsShuttingDownIsWaitedFor) {
  pid_t postmaster =
      std::stoi(Ask(connection_, "SELECT split_part(pg_read_file('postmaster.pid'), E'\\n', 1)"));
  kill(postmaster, SIGTERM);  // smart: it waits for our connection
  Error error("", "");
  do {
    error = FailureOf([&] {
      Connection another(To(server_.url()));
      throw Error("not yet", "");
    });
  } while (std::string(error.what()) == "not yet");
  EXPECT_EQ(error.sqlstate(), "57P03");
  EXPECT_TRUE(error.NeedsReconnect());
  EXPECT_FALSE(error.NeedsOperator());
}

// ---- COPY BOTH: the five ends ----

class CopyBoth : public ::testing::Test {
 protected:
  CopyBoth() {
    stream_.Execute("CREATE_REPLICATION_SLOT s TEMPORARY LOGICAL test_decoding");
    stream_.StartCopyBoth("START_REPLICATION SLOT s LOGICAL 0/0 (\"include-xids\" 'off')");
  }

  // Payloads up to the commit of the next transaction, as test_decoding prints them.
  std::vector<std::string> ReadTransaction() {
    std::vector<std::string> lines;
    while (lines.empty() || lines.back() != "COMMIT") {
      if (auto line = Next()) lines.push_back(*line);
    }
    return lines;
  }

  // Reads until the stream has ended or an Error comes.
  void ReadToTheEnd() {
    while (!stream_.copy_ended()) Next();
  }

  Connection& control() { return control_; }

  PrivatePostgres server_;
  Connection control_{To(server_.url())};
  Connection stream_{To(server_.url(), true)};

 private:
  std::optional<std::string> Next() {
    auto message = stream_.GetCopyData();
    if (!message) {
      if (stream_.copy_ended()) return std::nullopt;
      stream_.Wait(Clock::now() + seconds(1));
      stream_.ConsumeInput();
      return std::nullopt;
    }
    // 'w', three numbers of eight bytes, payload; 'k', the end of WAL, a time, "answer at once".
    if (message->front() == 'w') return std::string(message->substr(25));
    std::string end(message->substr(1, 8));
    stream_.PutCopyData("r" + end + end + end + std::string(9, '\0'));
    return std::nullopt;
  }
};

TEST_F(CopyBoth, DeliversWhatIsCommitted) {
  control().Execute("CREATE TABLE t (n INT)");
  ReadTransaction();
  control().Execute("INSERT INTO t VALUES (1), (2)");
  EXPECT_THAT(ReadTransaction(), ElementsAre("BEGIN", "table public.t: INSERT: n[integer]:1",
                                             "table public.t: INSERT: n[integer]:2", "COMMIT"));
}

TEST_F(CopyBoth, DeliversMessagesBeyondEveryBuffer) {
  control().Execute("CREATE TABLE t (x TEXT)");
  ReadTransaction();
  control().Execute("INSERT INTO t VALUES (repeat('x', 10000000))");
  EXPECT_GT(ReadTransaction()[1].size(), 10'000'000u);
}

TEST_F(CopyBoth, WakesForAnotherDescriptor) {
  int wake = eventfd(1, EFD_CLOEXEC | EFD_NONBLOCK);
  while (stream_.Wait(Clock::now() + std::chrono::hours(1), false, wake)) {
    stream_.ConsumeInput();
    while (stream_.GetCopyData()) continue;
  }
  close(wake);
}

TEST_F(CopyBoth, EndsInGoodOrderWhenTheServerIsStopped) {
  std::thread stopper([&] { server_.Stop("fast"); });
  ReadToTheEnd();
  stopper.join();
  EXPECT_TRUE(stream_.copy_ended());
  EXPECT_EQ(stream_.GetCopyData(), std::nullopt);
}

TEST_F(CopyBoth, EndsInGoodOrderWhenTheClientEndsIt) {
  stream_.EndCopy();
  ReadToTheEnd();
  EXPECT_EQ(Ask(stream_, "SELECT 'usable'"), "usable");
  stream_.StartCopyBoth("START_REPLICATION SLOT s LOGICAL 0/0");
  EXPECT_FALSE(stream_.copy_ended());
}

TEST_F(CopyBoth, TerminationIsToldAsSuch) {
  control().Query("SELECT pg_terminate_backend($1, 60000)",
                  {std::to_string(stream_.backend_pid())});
  Error error = FailureOf([&] { ReadToTheEnd(); });
  EXPECT_EQ(error.sqlstate(), "57P01");
  EXPECT_TRUE(error.NeedsReconnect());
}

TEST_F(CopyBoth, AnErrorOfTheServerEndsTheStreamButNotTheConnection) {
  control().Query("SELECT pg_cancel_backend($1)", {std::to_string(stream_.backend_pid())});
  Error error = FailureOf([&] { ReadToTheEnd(); });
  EXPECT_EQ(error.sqlstate(), "57014");
  EXPECT_FALSE(error.NeedsReconnect());
  EXPECT_EQ(Ask(stream_, "SELECT 'usable'"), "usable");
}

TEST_F(CopyBoth, ImmediateStopIsALostConnection) {
  server_.Stop("immediate");
  Error error = FailureOf([&] { ReadToTheEnd(); });
  EXPECT_EQ(error.sqlstate(), "");
  EXPECT_TRUE(error.NeedsReconnect());
  EXPECT_FALSE(stream_.copy_ended());
}

TEST_F(CopyBoth, WhatCameBeforeTheEndIsDelivered) {
  control().Execute("CREATE TABLE t (n INT)");
  ReadTransaction();
  control().Execute("INSERT INTO t VALUES (7)");
  WaitUntil(control(), "sent_lsn >= (SELECT pg_current_wal_insert_lsn()) FROM pg_stat_replication");
  control().Query("SELECT pg_terminate_backend($1, 60000)",
                  {std::to_string(stream_.backend_pid())});
  EXPECT_THAT(ReadTransaction(),
              ElementsAre("BEGIN", "table public.t: INSERT: n[integer]:7", "COMMIT"));
  EXPECT_EQ(FailureOf([&] { ReadToTheEnd(); }).sqlstate(), "57P01");
}

}  // namespace
}  // namespace syncflow::adapter
