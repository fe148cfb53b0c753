// The text form of a one-dimensional PostgreSQL array, so that a whole batch is one parameter.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <utility>

namespace syncflow::adapter {

class TextArray {
 public:
  void Add(std::string_view element) {
    Separate();
    text_ += '"';
    for (char c : element) {
      if (c == '"' || c == '\\') text_ += '\\';
      text_ += c;
    }
    text_ += '"';
  }
  void AddOrNull(const std::optional<std::string>& element) {
    if (element) return Add(std::string_view(*element));
    Separate();
    text_ += "NULL";
  }
  std::string Take() && { return std::move(text_) + '}'; }

 private:
  void Separate() {
    if (text_.size() > 1) text_ += ',';
  }

  std::string text_ = "{";
};

}  // namespace syncflow::adapter
