// Certificates that a test makes for itself, with the openssl command.
#pragma once

#include <cstdlib>
#include <filesystem>
#include <stdexcept>
#include <string>

namespace syncflow {

class Certificates {
 public:
  explicit Certificates(std::filesystem::path folder) : folder_(std::move(folder)) {}

  // name.crt and name.key, signed by itself; may sign others.
  void MakeAuthority(const std::string& name) const {
    Run("req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj /CN=" +
        name + " -keyout " + File(name + ".key") + " -out " + File(name + ".crt"));
  }
  // name.crt and name.key for localhost and 127.0.0.1, signed by the authority.
  void Make(const std::string& name, const std::string& authority) const {
    Run("req -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -subj /CN=" + name +
        " -keyout " + File(name + ".key") +
        " -addext subjectAltName=DNS:localhost,IP:127.0.0.1 -out " + File(name + ".csr"));
    Run("x509 -req -days 2 -copy_extensions copy -in " + File(name + ".csr") + " -CA " +
        File(authority + ".crt") + " -CAkey " + File(authority + ".key") +
        " -CAcreateserial -out " + File(name + ".crt"));
  }
  std::string File(const std::string& name) const { return (folder_ / name).string(); }

 private:
  static void Run(const std::string& words) {
    std::string command = "openssl " + words + " >/dev/null 2>&1";
    if (std::system(command.c_str()) != 0) throw std::runtime_error(command + " failed");
  }

  std::filesystem::path folder_;
};

}  // namespace syncflow
