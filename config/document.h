// A configuration file as it stands there, before anybody asks what its words mean.
#pragma once

#include <compare>
#include <string>
#include <vector>

namespace syncflow::config {

// Counted from 1; columns are bytes.
struct Place {
  int line = 1;
  int column = 1;
  auto operator<=>(const Place&) const = default;
};

struct Complaint {
  Place place;
  std::string sentence;
};

struct Entry;

struct Node {
  // kUnread: the file broke off or the value was refused; there is a complaint about it already.
  enum class Kind { kUnread, kEmpty, kScalar, kList, kMap };

  Kind kind = Kind::kUnread;
  Place place;
  std::string text;  // of a scalar
  // Key and value of a map, in the order of the file and as often as they stand there. Of a list
  // only the keys.
  std::vector<Entry> entries;
};

struct Entry {
  Node key;
  Node value;
};

struct Document {
  Node root;
  bool whole = true;  // false: it broke off, so that nothing can be called missing
  std::vector<Complaint> complaints;
};

}  // namespace syncflow::config
