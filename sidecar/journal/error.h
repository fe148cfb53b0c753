#pragma once

#include <stdexcept>
#include <string>

namespace syncflow::journal {

// Each message is one sentence with the remedy in it.
class Error : public std::runtime_error {
 public:
  enum class Kind {
    kUnusable,  // the folder cannot be created, read or written
    kLocked,    // another process has it open
    kForeign,   // it belongs to another server, database, table or slot
    kForked,    // PostgreSQL has left its history; opened again, it begins a new one
    kDamaged,   // its content contradicts itself
    kDiskFull,  // a write found no space; nothing is lost, try again
    kIo,        // a write failed otherwise
  };
  Error(Kind kind, const std::string& message) : std::runtime_error(message), kind_(kind) {}
  Kind kind() const { return kind_; }

 private:
  Kind kind_;
};

}  // namespace syncflow::journal
