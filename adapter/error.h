// What went wrong at PostgreSQL, and what can be done now.
#pragma once

#include <stdexcept>
#include <string>

namespace syncflow::adapter {

class Error : public std::runtime_error {
 public:
  // `message` is one sentence without secrets; `hint` one sentence with the setting, SQL or command
  // that mends it, or empty. `sqlstate` is empty when the server sent none (connection refused,
  // lost, timed out).
  Error(std::string message, std::string sqlstate = "", std::string hint = "");

  const std::string& sqlstate() const { return sqlstate_; }
  const std::string& hint() const { return hint_; }
  // The connection is gone or unusable: open another one.
  bool NeedsReconnect() const;
  // Trying again will not help before somebody changes something (password, privilege, setting).
  bool NeedsOperator() const;
  // message and hint as one text for a log line.
  std::string Explain() const;

 private:
  std::string message_;
  std::string sqlstate_;
  std::string hint_;
};

}  // namespace syncflow::adapter
