#include "adapter/connection.h"

#include <fcntl.h>
#include <libpq-fe.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <cstring>
#include <fstream>
#include <thread>
#include <unordered_map>
#include <utility>

#include "adapter/conninfo.h"

namespace syncflow::adapter {
namespace {

using std::chrono::milliseconds;

// Settings of the session that decide what values look like, after whatever the connection string
// sets: a role's or database's own settings must not change what comes back.
constexpr const char* kPinnedSettings =
    " -c timezone=UTC -c datestyle=ISO -c intervalstyle=postgres -c bytea_output=hex"
    " -c extra_float_digits=1 -c idle_session_timeout=0";

constexpr size_t kMessageMax = 1000;

struct Deleter {
  void operator()(char* bytes) const { PQfreemem(bytes); }
  void operator()(PQconninfoOption* options) const { PQconninfoFree(options); }
  void operator()(PGcancel* cancel) const { PQfreeCancel(cancel); }
  void operator()(PGnotify* notify) const { PQfreemem(notify); }
  void operator()(PGresult* result) const { PQclear(result); }
};
using Bytes = std::unique_ptr<char, Deleter>;
using AnyResult = std::unique_ptr<PGresult, Deleter>;

// For poll(2), rounded up so that it does not spin before the deadline.
int PollTimeout(Clock::time_point deadline) {
  auto now = Clock::now();
  if (deadline <= now) return 0;
  auto left = std::chrono::ceil<milliseconds>(deadline - now).count();
  return static_cast<int>(std::min<int64_t>(left, 60'000));
}

// ---- what went wrong, as one line ----

std::string OneLine(std::string text) {
  std::replace_if(
      text.begin(), text.end(), [](char c) { return c == '\n' || c == '\r' || c == '\t'; }, ' ');
  if (text.size() > kMessageMax) text.resize(kMessageMax);
  return text;
}

// libpq ends its messages with a line feed and adds lines of advice.
std::string FirstLine(const std::string& text) {
  return OneLine(text.substr(0, text.find('\n')));
}

std::string Field(const PGresult* result, int code) {
  const char* text = PQresultErrorField(result, code);
  return text == nullptr ? "" : text;
}

// The detail of a data error repeats the row's content, which belongs into no log.
bool DetailIsUseful(std::string_view sqlstate) {
  return !sqlstate.starts_with("22") && !sqlstate.starts_with("23");
}

Error FromServer(const PGresult* result) {
  std::string sqlstate = Field(result, PG_DIAG_SQLSTATE);
  std::string message = Field(result, PG_DIAG_MESSAGE_PRIMARY);
  std::string detail = Field(result, PG_DIAG_MESSAGE_DETAIL);
  if (!detail.empty() && DetailIsUseful(sqlstate)) message += " (" + detail + ")";
  Error error(OneLine(message), sqlstate);
  std::string hint = OneLine(Field(result, PG_DIAG_MESSAGE_HINT));
  return error.hint().empty() && !hint.empty() ? Error(error.what(), sqlstate, hint) : error;
}

struct ServerReport {
  std::string sqlstate;
  std::string message;
};

// Before a connection stands libpq tells the SQLSTATE only in its text, and only with verbose
// errors: `connection to server at "h", port 5432 failed: FATAL:  28P01: password …`.
std::optional<ServerReport> FindServerReport(const std::string& text) {
  auto is_sqlstate = [](std::string_view five) {
    return five.find_first_not_of("0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ") == five.npos;
  };
  for (size_t at = text.rfind(":  "); at != text.npos && at > 0; at = text.rfind(":  ", at - 1)) {
    std::string report = FirstLine(text.substr(at + 3));
    if (report.size() > 7 && report.compare(5, 2, ": ") == 0 && is_sqlstate(report.substr(0, 5)))
      return ServerReport{report.substr(0, 5), report.substr(7)};
  }
  return std::nullopt;
}

// What libpq itself says of the last address it tried, without the address.
std::string ClientReport(const std::string& text) {
  constexpr std::string_view kFailed = " failed: ";
  size_t at = text.rfind(kFailed);
  return FirstLine(at == text.npos ? text : text.substr(at + kFailed.size()));
}

// ---- what libpq is given ----

void RefuseNul(std::string_view text) {
  if (text.find('\0') == text.npos) return;
  throw Error("a text holds a NUL character, which PostgreSQL cannot store", "22021");
}

std::string ReadPassword(const std::string& file) {
  std::ifstream in(file);
  std::string password;
  if (!std::getline(in, password) && !in.eof()) {
    throw Error("postgres.password_file '" + file + "' cannot be read", "28P01",
                "make it readable for the user the sidecar runs as");
  }
  return password;
}

// Parameters as libpq takes them; refers to the texts.
class Values {
 public:
  explicit Values(const std::vector<std::optional<std::string>>& parameters) {
    for (const auto& parameter : parameters) {
      if (parameter) RefuseNul(*parameter);
      values_.push_back(parameter ? parameter->c_str() : nullptr);
    }
  }
  int count() const { return static_cast<int>(values_.size()); }
  const char* const* data() const { return values_.data(); }

 private:
  std::vector<const char*> values_;
};

// What the connection string itself sets.
class Given {
 public:
  explicit Given(const std::string& conninfo) {
    char* reason = nullptr;
    options_.reset(PQconninfoParse(conninfo.c_str(), &reason));
    Bytes reason_owner(reason);
    // libpq's reason may quote the string, password and all.
    if (!options_)
      throw Error("postgres.url is no connection string that libpq understands", "08001");
  }

  const char* Find(std::string_view keyword) const {
    for (const PQconninfoOption* option = options_.get(); option->keyword != nullptr; ++option) {
      if (keyword == option->keyword) return option->val;
    }
    return nullptr;
  }
  std::string Text(std::string_view keyword) const {
    const char* text = Find(keyword);
    return text == nullptr ? "" : text;
  }

 private:
  std::unique_ptr<PQconninfoOption, Deleter> options_;
};

// Keywords and values for PQconnectStartParams.
class Parameters {
 public:
  explicit Parameters(const ConnectOptions& options)
      : conninfo_(WithoutPoolMax(options.url)), given_(conninfo_) {
    // A password with a '/' makes libpq take its beginning for the port, and name it in messages.
    if (given_.Text("port").find_first_not_of("0123456789,") != std::string::npos)
      throw Error("the port in postgres.url is no number", "08001");
    Add("dbname", conninfo_);  // expanded; what follows overrides it
    if (!options.password_file.empty()) Add("password", ReadPassword(options.password_file));
    if (options.replication) Add("replication", "database");
    Add("fallback_application_name", options.application_name);
    AddUnlessGiven("keepalives_idle", "10");
    AddUnlessGiven("keepalives_interval", "5");
    AddUnlessGiven("keepalives_count", "3");
    AddUnlessGiven("tcp_user_timeout", "30000");
    Add("client_encoding", "UTF8");
    Add("options", given_.Text("options") + kPinnedSettings);
  }

  int hosts() const {
    std::string list = given_.Text(given_.Find("host") == nullptr ? "hostaddr" : "host");
    return 1 + static_cast<int>(std::count(list.begin(), list.end(), ','));
  }

  PGconn* Start() const {
    std::vector<const char*> keywords;
    std::vector<const char*> values;
    for (const auto& [keyword, value] : pairs_) {
      keywords.push_back(keyword.c_str());
      values.push_back(value.c_str());
    }
    keywords.push_back(nullptr);
    values.push_back(nullptr);
    return PQconnectStartParams(keywords.data(), values.data(), 1);
  }

 private:
  void Add(std::string keyword, std::string value) {
    pairs_.emplace_back(std::move(keyword), std::move(value));
  }
  void AddUnlessGiven(const char* keyword, const char* value) {
    if (given_.Find(keyword) == nullptr) Add(keyword, value);
  }

  std::string conninfo_;
  Given given_;
  std::vector<std::pair<std::string, std::string>> pairs_;
};

}  // namespace

// ---- results ----

void Result::Clear::operator()(pg_result* result) const {
  PQclear(result);
}
int Result::rows() const {
  return PQntuples(result_.get());
}
int Result::columns() const {
  return PQnfields(result_.get());
}
bool Result::IsNull(int row, int column) const {
  return PQgetisnull(result_.get(), row, column) != 0;
}

std::string_view Result::Get(int row, int column) const {
  return {PQgetvalue(result_.get(), row, column),
          static_cast<size_t>(PQgetlength(result_.get(), row, column))};
}

int64_t Result::affected() const {
  std::string_view text = PQcmdTuples(result_.get());
  int64_t count = 0;
  std::from_chars(text.data(), text.data() + text.size(), count);
  return count;
}

// ---- the connection ----

struct Connection::State {
  PGconn* handle = nullptr;
  milliseconds timeout{0};
  int stop_fd = -1;
  // A second descriptor of the socket, for Abandon(): libpq may close its own at any moment, and
  // the number could be somebody else's by then.
  int abandon_fd = -1;
  Bytes copied;  // the last CopyData message
  bool copying = false;
  bool ending = false;  // the client has ended the copy, the server's answer is on its way
  bool copy_ended = false;
  bool lost = false;              // while copying; told when all that had arrived was handed over
  std::optional<Error> farewell;  // FATAL while nothing was asked
  std::unordered_map<std::string, std::string> prepared;  // sql to the statement's name
  std::function<void(const std::string&, const std::string&)> notice;
  std::function<void(const Notification&)> notification;

  ~State() {
    PQfinish(handle);
    if (abandon_fd >= 0) close(abandon_fd);
  }

  // ---- waiting ----

  enum class Waited { kSocket, kWake, kDeadline };

  // A lost socket counts as ready: whoever reads it next reports the loss.
  Waited Poll(int events, Clock::time_point deadline, int wake_fd) const {
    if (PQsocket(handle) < 0) return Waited::kSocket;
    pollfd fds[2] = {{PQsocket(handle), static_cast<short>(events), 0}, {wake_fd, POLLIN, 0}};
    for (;;) {
      int ready = poll(fds, 2, PollTimeout(deadline));
      if (ready > 0) return fds[0].revents != 0 ? Waited::kSocket : Waited::kWake;
      if (ready < 0 && errno != EINTR) throw Error(std::string("poll: ") + std::strerror(errno));
      if (Clock::now() >= deadline) return Waited::kDeadline;
    }
  }

  [[noreturn]] static void GiveUp(Waited waited, const std::string& what) {
    if (waited == Waited::kWake) throw Error("stopped while " + what);
    throw Error("no answer in time while " + what, "",
                "check the network and whether PostgreSQL is overloaded");
  }

  // ---- connecting ----

  // PQconnectPoll; the socket may be another one after every step. Each of several hosts has its
  // share of the time: a dead machine must not use up that of the next.
  void Connect(int hosts) {
    PQsetErrorVerbosity(handle, PQERRORS_VERBOSE);
    auto end = Clock::now() + timeout;
    Clock::time_point share_end;
    std::string place;
    PostgresPollingStatusType step = PGRES_POLLING_WRITING;
    while (step != PGRES_POLLING_OK) {
      if (step == PGRES_POLLING_FAILED) throw ConnectFailure();
      if (std::exchange(place, Place()) != Place())
        share_end = std::min(end, Clock::now() + timeout / hosts);
      Waited waited = Poll(step == PGRES_POLLING_READING ? POLLIN : POLLOUT, share_end, stop_fd);
      if (waited == Waited::kDeadline && Clock::now() < end) {
        shutdown(PQsocket(handle), SHUT_RDWR);  // libpq goes on to the next host
      } else if (waited != Waited::kSocket) {
        GiveUp(waited, "connecting to " + place);
      }
      step = PQconnectPoll(handle);
    }
    PQsetErrorVerbosity(handle, PQERRORS_DEFAULT);
    abandon_fd = fcntl(PQsocket(handle), F_DUPFD_CLOEXEC, 0);
  }

  std::string Place() const {
    const char* host = PQhost(handle);
    const char* port = PQport(handle);
    return std::string(host == nullptr || *host == '\0' ? "localhost" : host) + ":" +
           (port == nullptr || *port == '\0' ? "5432" : port);
  }

  Error ConnectFailure() const {
    std::string text = PQerrorMessage(handle);
    const char* user = PQuser(handle);
    std::string prefix =
        "cannot connect to " + Place() + (user == nullptr ? "" : std::string(" as ") + user) + ": ";
    if (auto report = FindServerReport(text))
      return Error(prefix + report->message, report->sqlstate, HbaHint(*report));
    std::string report = ClientReport(text);
    bool no_password = report.find("no password supplied") != report.npos;
    Error error(prefix + report, no_password ? "28P01" : "");
    if (!error.hint().empty()) return error;
    return Error(prefix + report, "",
                 "check that PostgreSQL runs at " + Place() +
                     " and that postgres.url names the right host and port");
  }

  std::string HbaHint(const ServerReport& report) const {
    if (report.sqlstate != "28000" || report.message.find("pg_hba.conf") == std::string::npos)
      return "";
    return "add to pg_hba.conf: host " + std::string(PQdb(handle)) + " " + PQuser(handle) +
           " CLIENT_ADDRESS/32 scram-sha-256; SELECT pg_reload_conf(); a line for the word "
           "replication covers only physical replication";
  }

  // ---- results ----

  Error Lost() {
    PQisBusy(handle);  // takes in what arrived before the end
    if (farewell) return *farewell;
    std::string text = ClientReport(PQerrorMessage(handle));
    bool gone = PQstatus(handle) == CONNECTION_BAD;
    return Error("the connection to " + Place() + (gone ? " was lost" : " is of no use any more") +
                 (text.empty() ? "" : ": " + text));
  }

  Error FromResult(const PGresult* result) {
    return PQresultErrorField(result, PG_DIAG_SQLSTATE) == nullptr ? Lost() : FromServer(result);
  }

  void Check(int sent) {
    if (sent == 0) throw Lost();
  }

  // While copying, what arrived before the loss is handed over first.
  void NoteLoss() {
    if (!copying) throw Lost();
    lost = true;
  }

  // libpq would keep every notification that arrives before a result; a million are many megabytes.
  void HandNotifications() {
    if (!notification) return;
    while (auto next = NextNotification()) notification(*next);
  }

  std::optional<Notification> NextNotification() const {
    std::unique_ptr<PGnotify, Deleter> notify(PQnotifies(handle));
    if (!notify) return std::nullopt;
    return Notification{notify->relname, notify->extra};
  }

  // All results of what was sent; the last one counts, the first error is thrown.
  AnyResult Collect(Clock::time_point deadline) {
    AnyResult last;
    std::optional<Error> failure;
    while (AnyResult next = NextResult(deadline)) {
      ExecStatusType status = PQresultStatus(next.get());
      bool failed = status == PGRES_FATAL_ERROR || status == PGRES_BAD_RESPONSE;
      if (failed && !failure) failure = FromResult(next.get());
      last = std::move(next);
      if (status == PGRES_COPY_BOTH || status == PGRES_COPY_IN || status == PGRES_COPY_OUT) break;
    }
    if (failure) throw Error(*failure);
    if (!last) throw Lost();
    return last;
  }

  AnyResult NextResult(Clock::time_point deadline) {
    int unsent = PQflush(handle);
    while (unsent > 0 || PQisBusy(handle) != 0) {
      Waited waited = Poll(POLLIN | (unsent > 0 ? POLLOUT : 0), deadline, stop_fd);
      if (waited != Waited::kSocket) {
        CancelAndClose();
        GiveUp(waited, "waiting for the result of a statement");
      }
      // PQgetResult tells why: what the server said before it went comes first.
      if (PQconsumeInput(handle) == 0) break;
      HandNotifications();
      if (unsent > 0) unsent = PQflush(handle);
    }
    return AnyResult(PQgetResult(handle));
  }

  // ---- pipelines ----

  // Name of the prepared statement; a new one is prepared by the pipeline being sent.
  std::string Prepare(const std::string& sql, std::vector<std::string>& new_ones) {
    auto known = prepared.find(sql);
    if (known != prepared.end()) return known->second;
    auto again = std::find(new_ones.begin(), new_ones.end(), sql);
    std::string name =
        "s" + std::to_string(prepared.size() + static_cast<size_t>(again - new_ones.begin()));
    if (again != new_ones.end()) return name;
    Check(PQsendPrepare(handle, name.c_str(), sql.c_str(), 0, nullptr));
    new_ones.push_back(sql);
    return name;
  }

  // What was sent, so that its results can be told apart.
  struct Sent {
    std::vector<std::string> new_ones;  // statements to be prepared, in order
    std::vector<bool> prepares;         // of each command: whether it is a Prepare
  };

  Sent SendPipeline(const std::vector<Statement>& statements, const std::vector<Values>& values) {
    Sent sent;
    Check(PQenterPipelineMode(handle));
    for (size_t i = 0; i < statements.size(); ++i) {
      size_t before = sent.new_ones.size();
      std::string name = Prepare(statements[i].sql, sent.new_ones);
      if (sent.new_ones.size() > before) sent.prepares.push_back(true);
      Check(PQsendQueryPrepared(handle, name.c_str(), values[i].count(), values[i].data(), nullptr,
                                nullptr, 0));
      sent.prepares.push_back(false);
    }
    Check(PQpipelineSync(handle));
    return sent;
  }

  std::vector<Result> RunPipeline(const std::vector<Statement>& statements) {
    std::vector<Values> values;
    for (const Statement& statement : statements) values.emplace_back(statement.parameters);
    Sent sent = SendPipeline(statements, values);
    auto deadline = Clock::now() + timeout;
    std::vector<Result> results;
    std::optional<Error> failure;
    auto next_new = sent.new_ones.begin();
    for (bool prepare : sent.prepares) {
      AnyResult result = TakeFromPipeline(deadline, failure);
      if (!result) continue;
      if (prepare) prepared.emplace(*next_new++, "s" + std::to_string(prepared.size()));
      if (!prepare) results.push_back(Result(result.release()));
    }
    TakeFromPipeline(deadline, failure);  // the sync
    Check(PQexitPipelineMode(handle));
    if (failure) throw Error(*failure);
    return results;
  }

  // The result of one command of the pipeline; null when it failed or was skipped. The first error
  // is kept.
  AnyResult TakeFromPipeline(Clock::time_point deadline, std::optional<Error>& failure) {
    AnyResult result = NextResult(deadline);
    if (!result) throw Lost();
    ExecStatusType status = PQresultStatus(result.get());
    if (status == PGRES_PIPELINE_SYNC) return result;
    if (NextResult(deadline)) throw Lost();  // each command has one result
    if (status == PGRES_COMMAND_OK || status == PGRES_TUPLES_OK) return result;
    if (status != PGRES_PIPELINE_ABORTED && !failure) failure = FromResult(result.get());
    return nullptr;
  }

  // The server stops working for nobody. PQcancel opens a connection of its own and may wait for
  // the network as long as the kernel does, so nobody waits for it.
  void CancelAndClose() {
    std::unique_ptr<PGcancel, Deleter> cancel(PQgetCancel(handle));
    if (cancel) {
      std::thread([request = std::move(cancel)] {
        char reason[256];
        PQcancel(request.get(), reason, sizeof reason);
      }).detach();
    }
    shutdown(PQsocket(handle), SHUT_RDWR);
  }

  // The stream ended: in good order once the server said COPY, even when it closes the connection
  // right after; else with the error that is thrown.
  void FinishCopy() {
    copying = false;
    auto deadline = Clock::now() + timeout;
    while (AnyResult next = NextResult(deadline)) {
      ExecStatusType status = PQresultStatus(next.get());
      if (status == PGRES_COPY_IN || status == PGRES_COPY_BOTH) PQputCopyEnd(handle, nullptr);
      if (status == PGRES_COMMAND_OK || status == PGRES_TUPLES_OK) copy_ended = true;
      if (status == PGRES_FATAL_ERROR && !copy_ended) throw FinishFailed(next.get(), deadline);
    }
    if (!copy_ended) throw Lost();
  }

  Error FinishFailed(const PGresult* result, Clock::time_point deadline) {
    Error failure = FromResult(result);
    while (NextResult(deadline)) continue;
    return failure;
  }

  static void Receive(void* state, const PGresult* result) {
    auto& self = *static_cast<State*>(state);
    std::string severity = Field(result, PG_DIAG_SEVERITY_NONLOCALIZED);
    if (severity == "FATAL") self.farewell = FromServer(result);
    if (self.notice) self.notice(severity, OneLine(Field(result, PG_DIAG_MESSAGE_PRIMARY)));
  }
};

Connection::Connection(const ConnectOptions& options) : state_(std::make_unique<State>()) {
  Parameters parameters(options);
  state_->timeout = options.timeout;
  state_->stop_fd = options.stop_fd;
  state_->handle = parameters.Start();
  if (state_->handle == nullptr) throw Error("libpq has no memory for a connection");
  if (PQstatus(state_->handle) == CONNECTION_BAD) throw state_->ConnectFailure();
  PQsetNoticeReceiver(state_->handle, State::Receive, state_.get());
  state_->Connect(parameters.hosts());
  PQsetnonblocking(state_->handle, 1);
}

Connection::~Connection() = default;
Connection::Connection(Connection&&) noexcept = default;
Connection& Connection::operator=(Connection&&) noexcept = default;

// ---- queries ----

Result Connection::Query(const std::string& sql,
                         const std::vector<std::optional<std::string>>& parameters) {
  RefuseNul(sql);
  Values values(parameters);
  state_->Check(PQsendQueryParams(state_->handle, sql.c_str(), values.count(), nullptr,
                                  values.data(), nullptr, nullptr, 0));
  return Result(state_->Collect(Clock::now() + state_->timeout).release());
}

Result Connection::Execute(const std::string& sql) {
  RefuseNul(sql);
  state_->Check(PQsendQuery(state_->handle, sql.c_str()));
  return Result(state_->Collect(Clock::now() + state_->timeout).release());
}

void Connection::ForEachRow(const std::string& sql,
                            const std::function<void(const Result& row)>& take) {
  RefuseNul(sql);
  state_->Check(PQsendQuery(state_->handle, sql.c_str()));
  state_->Check(PQsetSingleRowMode(state_->handle));
  while (AnyResult next = state_->NextResult(Clock::now() + state_->timeout)) {
    switch (PQresultStatus(next.get())) {
      case PGRES_SINGLE_TUPLE:
        take(Result(next.release()));
        break;
      case PGRES_TUPLES_OK:  // the end
        break;
      default:
        throw Error(state_->FromResult(next.get()));
    }
  }
}

std::vector<Result> Connection::Pipeline(const std::vector<Statement>& statements) {
  return state_->RunPipeline(statements);
}

std::string Connection::QuoteIdentifier(std::string_view name) const {
  RefuseNul(name);
  Bytes quoted(PQescapeIdentifier(state_->handle, name.data(), name.size()));
  if (!quoted) throw Error("a name is not valid UTF-8", "22021");
  return quoted.get();
}

std::string Connection::QuoteLiteral(std::string_view text) const {
  RefuseNul(text);
  Bytes quoted(PQescapeLiteral(state_->handle, text.data(), text.size()));
  if (!quoted) throw Error("a text is not valid UTF-8", "22021");
  return quoted.get();
}

// ---- COPY BOTH ----

void Connection::StartCopyBoth(const std::string& command) {
  Result result = Execute(command);
  if (PQresultStatus(result.result_.get()) != PGRES_COPY_BOTH)
    throw Error("the server did not begin to stream");
  state_->copying = true;
  state_->ending = false;
  state_->copy_ended = false;
}

std::optional<std::string_view> Connection::GetCopyData() {
  if (state_->copy_ended) return std::nullopt;
  char* bytes = nullptr;
  int length = PQgetCopyData(state_->handle, &bytes, 1);
  state_->copied.reset(bytes);
  if (length > 0) return std::string_view(bytes, static_cast<size_t>(length));
  if (length == -1) state_->FinishCopy();
  if (length == -2 || (length == 0 && state_->lost)) throw state_->Lost();
  return std::nullopt;
}

bool Connection::copy_ended() const {
  return state_->copy_ended;
}

void Connection::PutCopyData(std::string_view message) {
  if (state_->ending) return;
  if (PQputCopyData(state_->handle, message.data(), static_cast<int>(message.size())) <= 0)
    return state_->NoteLoss();
  FlushOutput();
}

bool Connection::FlushOutput() {
  int unsent = PQflush(state_->handle);
  if (unsent < 0) state_->NoteLoss();
  return unsent <= 0;
}

void Connection::EndCopy() noexcept {
  state_->ending = true;
  PQputCopyEnd(state_->handle, nullptr);
  PQflush(state_->handle);
}

// ---- waiting ----

int Connection::socket() const {
  return PQsocket(state_->handle);
}

void Connection::ConsumeInput() {
  if (PQconsumeInput(state_->handle) == 0) state_->NoteLoss();
}

bool Connection::Wait(Clock::time_point deadline, bool for_write, int wake_fd) {
  bool writing = PQflush(state_->handle) > 0 || for_write;
  return state_->Poll(POLLIN | (writing ? POLLOUT : 0), deadline, wake_fd) ==
         State::Waited::kSocket;
}

// ---- notifications ----

std::optional<Notification> Connection::NextNotification() {
  return state_->NextNotification();
}

void Connection::OnNotification(std::function<void(const Notification&)> notification) {
  state_->notification = std::move(notification);
}

void Connection::OnNotice(std::function<void(const std::string&, const std::string&)> notice) {
  state_->notice = std::move(notice);
}

// ---- facts ----

void Connection::set_timeout(std::chrono::milliseconds timeout) {
  state_->timeout = timeout;
}
bool Connection::idle() const {
  return PQtransactionStatus(state_->handle) == PQTRANS_IDLE;
}
int Connection::server_version() const {
  return PQserverVersion(state_->handle);
}
int Connection::backend_pid() const {
  return PQbackendPID(state_->handle);
}
std::string Connection::host_and_port() const {
  return state_->Place();
}
std::string Connection::user() const {
  return PQuser(state_->handle);
}
std::string Connection::database() const {
  return PQdb(state_->handle);
}

void Connection::Abandon() noexcept {
  ::shutdown(state_->abandon_fd, SHUT_RDWR);
}

}  // namespace syncflow::adapter
