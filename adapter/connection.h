// The one place that touches libpq. A Connection and everything made from it belongs to one thread.
#pragma once

#include <chrono>
#include <functional>
#include <initializer_list>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "adapter/error.h"

struct pg_conn;
struct pg_result;

namespace syncflow::adapter {

using Clock = std::chrono::steady_clock;

struct ConnectOptions {
  // libpq URI or keyword string. SyncFlow's ?max=N is understood and taken out before libpq sees
  // it.
  std::string url;
  // When not empty: the file that holds the password, read at every connect (a trailing newline is
  // dropped).
  std::string password_file;
  std::string application_name = "syncflow-sidecar";
  // A walsender connection (replication=database): simple queries, replication commands and COPY
  // BOTH.
  bool replication = false;
  // For connecting (shared evenly by the hosts of the url) and for every statement; the statement
  // is cancelled and the connection closed when it passes.
  std::chrono::milliseconds timeout{10'000};
  // When this descriptor becomes readable, connecting and statements give up at once with an Error.
  // Not owned; -1 = none. An eventfd that Stop() writes to makes stopping prompt.
  int stop_fd = -1;
};

// Rows of one result, all as text.
class Result {
 public:
  int rows() const;
  int columns() const;
  bool IsNull(int row, int column) const;
  std::string_view Get(int row, int column) const;  // "" for NULL
  // Rows a command touched ("DELETE 5" is 5).
  int64_t affected() const;

 private:
  friend class Connection;
  struct Clear {
    void operator()(pg_result* result) const;
  };
  explicit Result(pg_result* result) : result_(result) {}
  std::unique_ptr<pg_result, Clear> result_;
};

// One statement of a Pipeline; parameters are texts, nullopt = NULL.
struct Statement {
  std::string sql;
  std::vector<std::optional<std::string>> parameters;
};

struct Notification {
  std::string channel;
  std::string payload;
};

class Connection {
 public:
  // Opens a connection whose session settings are pinned (UTF8, UTC, ISO dates, hex bytea, no idle
  // timeout), so that role or database settings cannot change what comes back. TCP keepalives and
  // tcp_user_timeout are set unless the url sets them. Throws Error; its message names host, port
  // and user, never the password. Looking up the host's name may take as long as the resolver
  // takes.
  explicit Connection(const ConnectOptions& options);
  ~Connection();
  Connection(Connection&&) noexcept;
  Connection& operator=(Connection&&) noexcept;

  // ---- queries ----

  // One statement with text parameters (nullopt = NULL). Not for replication connections. The first
  // error is thrown; after one without SQLSTATE the connection is of no use any more.
  Result Query(const std::string& sql,
               const std::vector<std::optional<std::string>>& parameters = {});
  // One or several statements without parameters, by the simple protocol (the only one a walsender
  // takes). The result is the last one's.
  Result Execute(const std::string& sql);
  // One statement without parameters, whose rows come one by one: any number of them takes the
  // memory of one. Each may take as long as the timeout. When `take` throws, the connection is of
  // no use any more.
  void ForEachRow(const std::string& sql, const std::function<void(const Result& row)>& take);
  // Sends all statements and waits for all results, in one round trip; results in their order. Each
  // sql is prepared once for the connection, so there should be few different ones. The first
  // error is thrown, and the server has skipped what followed; a transaction begun here stays open
  // until ROLLBACK.
  std::vector<Result> Pipeline(const std::vector<Statement>& statements);
  std::string QuoteIdentifier(std::string_view name) const;
  std::string QuoteLiteral(std::string_view text) const;

  // ---- COPY BOTH (after START_REPLICATION by StartCopyBoth) ----

  void StartCopyBoth(const std::string& command);
  // One CopyData message if one is complete; nullopt if more bytes are needed or the stream ended
  // in good order (copy_ended()). The view is valid until the next call. Throws Error for every
  // other end, after everything that came before it was returned:
  //   server stops (smart, fast)   copy_ended()
  //   client's EndCopy             copy_ended(); the connection can be used again
  //   pg_terminate_backend         Error 57P01
  //   ERROR of plugin or server    Error with its SQLSTATE; the connection can be used again
  //   immediate stop, lost link    Error without SQLSTATE
  std::optional<std::string_view> GetCopyData();
  // True after the stream ended without an error.
  bool copy_ended() const;
  // Queues, and sends what the socket takes at once. After EndCopy it does nothing.
  void PutCopyData(std::string_view message);
  // True when everything queued has been sent.
  bool FlushOutput();
  // Tells the server that the client ends the stream; best effort, never throws.
  void EndCopy() noexcept;

  // ---- waiting ----

  int socket() const;
  // Reads what the socket has, without waiting. Throws Error when the connection is lost; during
  // COPY only GetCopyData does, once everything that had arrived was returned.
  void ConsumeInput();
  // Sends what is queued and waits until the socket is readable (or writable, if asked or if output
  // is left over), `wake_fd` (if not -1) is readable, or the deadline passes. Returns true when the
  // socket is ready or lost.
  bool Wait(Clock::time_point deadline, bool for_write = false, int wake_fd = -1);

  // ---- notifications ----

  std::optional<Notification> NextNotification();  // of what was consumed
  // Takes those that arrive while a statement waits for its result, instead of keeping them for
  // NextNotification.
  void OnNotification(std::function<void(const Notification&)> notification);
  // Called with every NOTICE and WARNING (severity, message), on this connection's thread.
  void OnNotice(
      std::function<void(const std::string& severity, const std::string& message)> notice);

  // ---- facts ----

  // For statements from now on, in place of the one given at first.
  void set_timeout(std::chrono::milliseconds timeout);
  // Usable, and outside a transaction.
  bool idle() const;
  int server_version() const;  // 150020 for 15.20
  int backend_pid() const;
  std::string host_and_port() const;  // for messages
  std::string user() const;
  std::string database() const;
  // Makes the connection unusable at once; what waits on its socket ends. The one call that is
  // allowed from another thread (while the Connection exists).
  void Abandon() noexcept;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace syncflow::adapter
