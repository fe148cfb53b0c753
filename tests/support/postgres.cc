#include "tests/support/postgres.h"

#include <fcntl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <stdexcept>

namespace syncflow::testing {

PrivatePostgres::PrivatePostgres(const std::vector<std::string>& arguments) {
  int to_helper[2];
  int from_helper[2];
  if (pipe2(to_helper, O_CLOEXEC) != 0 || pipe2(from_helper, O_CLOEXEC) != 0) {
    throw std::runtime_error("no pipe for the private PostgreSQL");
  }
  std::vector<std::string> command = {
      "/usr/bin/python3", std::string(SYNCFLOW_SOURCE_DIR) + "/tests/support/postgres.py"};
  command.insert(command.end(), arguments.begin(), arguments.end());
  std::vector<char*> argv;
  for (std::string& word : command) argv.push_back(word.data());
  argv.push_back(nullptr);
  pid_ = fork();
  if (pid_ == 0) {
    dup2(to_helper[0], 0);
    dup2(from_helper[1], 1);
    execv(argv[0], argv.data());
    _exit(127);
  }
  close(to_helper[0]);
  close(from_helper[1]);
  in_ = fdopen(to_helper[1], "w");
  out_ = fdopen(from_helper[0], "r");
  nlohmann::json facts = nlohmann::json::parse(ReadLine());
  url_ = facts["url"];
  port_ = facts["port"];
}

PrivatePostgres::~PrivatePostgres() {
  std::fclose(in_);
  int status = 0;
  waitpid(pid_, &status, 0);
  std::fclose(out_);
}

PrivatePostgres& PrivatePostgres::Shared() {
  static PrivatePostgres server;
  return server;
}

void PrivatePostgres::Command(const std::string& line) {
  std::fprintf(in_, "%s\n", line.c_str());
  std::fflush(in_);
  std::string answer = ReadLine();
  if (answer != "ok") throw std::runtime_error("private PostgreSQL: '" + line + "': " + answer);
}

std::string PrivatePostgres::ReadLine() {
  std::string line;
  for (int c = std::fgetc(out_); c != '\n'; c = std::fgetc(out_)) {
    if (c == EOF) throw std::runtime_error("private PostgreSQL: it did not start");
    line.push_back(static_cast<char>(c));
  }
  return line;
}

}  // namespace syncflow::testing
