#pragma once

#include <string>
#include <utility>

namespace syncflow::config {

// A text that cannot be printed by accident: it has no operator<< and no conversion. Reveal() is
// easy to search for.
class Secret {
 public:
  Secret() = default;
  explicit Secret(std::string text) : text_(std::move(text)) {}
  const std::string& Reveal() const { return text_; }
  bool empty() const { return text_.empty(); }
  bool operator==(const Secret&) const = default;

 private:
  std::string text_;
};

}  // namespace syncflow::config
