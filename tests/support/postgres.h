// The private PostgreSQL of tests/support/postgres.py for C++ tests. It goes when the program that
// started it ends, however it ends: its life hangs on the helper's standard input.
#pragma once

#include <cstdio>
#include <string>
#include <vector>

#include <nlohmann/json.hpp>

namespace syncflow::testing {

class PrivatePostgres {
 public:
  explicit PrivatePostgres(const std::vector<std::string>& arguments = {});
  ~PrivatePostgres();
  PrivatePostgres(const PrivatePostgres&) = delete;
  PrivatePostgres& operator=(const PrivatePostgres&) = delete;

  // Shared by the tests of a program that do not restart or reconfigure it.
  static PrivatePostgres& Shared();

  const std::string& url() const { return url_; }
  int port() const { return port_; }
  void Stop(const std::string& mode = "fast") { Command("stop " + mode); }
  void Start() { Command("start"); }
  void Reload() { Command("reload"); }
  void Set(const std::string& name, const std::string& value) {
    Command("set " + name + " " + value);
  }

 private:
  void Command(const std::string& line);
  std::string ReadLine();

  int pid_ = -1;
  std::FILE* in_ = nullptr;  // of the helper
  std::FILE* out_ = nullptr;
  std::string url_;
  int port_ = 0;
};

}  // namespace syncflow::testing
