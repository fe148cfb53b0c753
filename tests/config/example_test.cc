// sidecar.example.yaml loads, is complete, and says of each setting what settings.h says.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cctype>
#include <fstream>
#include <map>
#include <sstream>
#include <utility>

#include "config/print.h"
#include "tests/config/rig.h"

namespace syncflow::config {
namespace {

const Environment kUrl = {{"DATABASE_URL", "postgresql://localhost/app"}};

std::vector<std::string> LinesOf(const std::string& name) {
  std::ifstream in(std::string(SYNCFLOW_SOURCE_DIR) + "/config/" + name);
  EXPECT_TRUE(in) << name;
  std::vector<std::string> lines;
  for (std::string line; std::getline(in, line);) lines.push_back(line);
  return lines;
}

Loaded LoadExample() {
  return Load(std::string(SYNCFLOW_SOURCE_DIR) + "/config/sidecar.example.yaml", kUrl);
}

// Gathers the words of the comment above each setting.
class Comments {
 public:
  explicit Comments(std::string mark) : mark_(std::move(mark)) {}

  // True when the line was a comment.
  bool Take(const std::string& line) {
    if (!line.starts_with(mark_)) return false;
    words_ += (words_.empty() ? "" : " ") + line.substr(mark_.size());
    return true;
  }
  void Enter(std::string section) {
    section_ = std::move(section);
    words_.clear();
  }
  void Name(const std::string& key) {
    of_setting_[section_ + "." + key] = std::exchange(words_, "");
  }
  std::string Of(const std::string& setting) { return of_setting_[setting]; }

 private:
  std::string mark_;
  std::string section_;
  std::string words_;
  std::map<std::string, std::string> of_setting_;
};

// `struct Feed {` and `  uint64_t line_max = 8ull << 20;`
Comments CommentsOfHeader() {
  Comments comments("  // ");
  for (const std::string& line : LinesOf("settings.h")) {
    if (comments.Take(line)) continue;
    std::istringstream in(line);
    std::string type;
    std::string name;
    in >> type >> name;
    if (type == "struct") {
      name[0] = static_cast<char>(std::tolower(static_cast<unsigned char>(name[0])));
      comments.Enter(name);
    } else if (line.starts_with("  ")) {
      comments.Name(name.substr(0, name.find_first_of("{;")));
    }
  }
  return comments;
}

// `feed:` and `  line_max: 8MiB`
Comments CommentsOfExample() {
  Comments comments("  # ");
  for (const std::string& line : LinesOf("sidecar.example.yaml")) {
    if (comments.Take(line)) continue;
    if (line.ends_with(':')) comments.Enter(line.substr(0, line.size() - 1));
    if (line.starts_with("  ")) comments.Name(line.substr(2, line.find(':') - 2));
  }
  return comments;
}

TEST(Example, LoadsToTheDefaultsAndSetsEverything) {
  Loaded loaded = LoadExample();
  EXPECT_EQ(Joined(loaded.violations) + Joined(loaded.warnings), "");
  Settings expected;
  expected.postgres.url = Secret(kUrl.at("DATABASE_URL"));
  EXPECT_EQ(TextsOf(loaded.settings), TextsOf(expected));
  for (const Option& option : Options())
    EXPECT_TRUE(loaded.origins.contains(option.name())) << option.name() << " is left out";
}

TEST(Example, SaysWhatTheHeaderSays) {
  Comments header = CommentsOfHeader();
  Comments example = CommentsOfExample();
  for (const Option& option : Options()) {
    EXPECT_NE(header.Of(option.name()), "") << option.name();
    EXPECT_EQ(example.Of(option.name()), header.Of(option.name())) << option.name();
  }
}

TEST(Example, NeedsOnlyItsOneVariable) {
  EXPECT_THAT(
      Load(std::string(SYNCFLOW_SOURCE_DIR) + "/config/sidecar.example.yaml", {}).violations,
      testing::ElementsAre(testing::HasSubstr("DATABASE_URL is not set")));
}

}  // namespace
}  // namespace syncflow::config
