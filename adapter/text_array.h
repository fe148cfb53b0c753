// The text form of a one-dimensional PostgreSQL array, so that a whole batch is one parameter.
#pragma once

#include <algorithm>
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
    for (size_t at = 0; at < element.size();) {
      size_t special = std::min(element.find_first_of("\"\\", at), element.size());
      text_.append(element, at, special - at);
      if (special < element.size()) (text_ += '\\') += element[special];
      at = special + 1;
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
