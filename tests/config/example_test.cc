// sidecar.example.yaml loads, is complete, and says of each setting what settings.h says.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
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
    size_t begin = line.find_first_not_of(' ');
    if (begin == 0 || begin == line.npos || line.compare(begin, mark_.size(), mark_) != 0)
      return false;
    words_ += (words_.empty() ? "" : " ") + line.substr(begin + mark_.size());
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

// SyncApi is sync_api, FeedTls is feed.tls.
std::string SectionOf(const std::string& type) {
  std::string snake;
  for (char c : type) {
    auto letter = static_cast<unsigned char>(c);
    if (std::isupper(letter) && !snake.empty()) snake += '_';
    snake += static_cast<char>(std::tolower(letter));
  }
  for (const Option& option : Options()) {
    std::string section = option.section;
    std::ranges::replace(section, '.', '_');
    if (section == snake) return option.section;
  }
  return snake;
}

// `struct Feed {` and `  uint64_t line_max = 8ull << 20;`
Comments CommentsOfHeader() {
  Comments comments("// ");
  for (const std::string& line : LinesOf("settings.h")) {
    if (comments.Take(line)) continue;
    std::istringstream in(line);
    std::string type;
    std::string name;
    in >> type >> name;
    if (type == "struct") {
      comments.Enter(SectionOf(name));
    } else if (line.starts_with("  ")) {
      comments.Name(name.substr(0, name.find_first_of("{;")));
    }
  }
  return comments;
}

// `feed:` and `  line_max: 8MiB`, `  tls:` and `    key: ""`
Comments CommentsOfExample() {
  Comments comments("# ");
  std::string section;
  for (const std::string& line : LinesOf("sidecar.example.yaml")) {
    if (comments.Take(line)) continue;
    size_t begin = line.find_first_not_of(' ');
    if (begin == line.npos) continue;
    std::string key = line.substr(begin, line.find(':') - begin);
    if (!line.ends_with(':')) {
      comments.Name(key);
    } else if (begin == 0) {
      comments.Enter(section = key);
    } else {
      comments.Enter(section + "." + key);
    }
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

// The commented job, as it would stand in a file.
std::string JobOfExample() {
  std::string job;
  bool inside = false;
  for (const std::string& line : LinesOf("sidecar.example.yaml")) {
    inside = inside ? line.starts_with("  #") : line == "  # jobs:";
    if (inside) job += "  " + line.substr(4) + "\n";
  }
  return job;
}

Comments CommentsOfJob() {
  Comments comments("# ");
  comments.Enter("compaction_job");
  std::istringstream in(JobOfExample());
  for (std::string line; std::getline(in, line);) {
    line.erase(0, line.find_first_not_of(' '));
    if (line.starts_with("# every:") || line.starts_with("- ")) line.erase(0, 2);
    if (!comments.Take(line)) comments.Name(line.substr(0, line.find(':')));
  }
  return comments;
}

TEST(Example, JobHasTheDefaults) {
  Loaded loaded =
      LoadText("version: 1\npostgres: {url: x}\ncompaction:\n" + JobOfExample(), "f", {});
  ASSERT_EQ(Joined(loaded.violations), "");
  ASSERT_EQ(loaded.settings.compaction.jobs.size(), 1u);
  CompactionJob job = loaded.settings.compaction.jobs[0];
  job.name = job.schedule = "";
  job.older_than = std::nullopt;
  for (const JobOption& option : JobOptions())
    EXPECT_EQ(option.get(job), option.get(CompactionJob{})) << option.key;
}

TEST(Example, JobSaysWhatTheHeaderSays) {
  Comments header = CommentsOfHeader();
  Comments example = CommentsOfJob();
  std::vector<std::string> keys = {kCollections};
  for (const JobOption& option : JobOptions()) keys.push_back(option.key);
  for (const std::string& key : keys) {
    EXPECT_NE(header.Of("compaction_job." + key), "") << key;
    EXPECT_EQ(example.Of("compaction_job." + key), header.Of("compactionJob." + key)) << key;
  }
  EXPECT_NE(header.Of("compaction.jobs"), "");
  EXPECT_EQ(CommentsOfExample().Of("compaction.jobs"), header.Of("compaction.jobs"));
}

TEST(Example, NeedsOnlyItsOneVariable) {
  EXPECT_THAT(
      Load(std::string(SYNCFLOW_SOURCE_DIR) + "/config/sidecar.example.yaml", {}).violations,
      testing::ElementsAre(testing::HasSubstr("DATABASE_URL is not set")));
}

}  // namespace
}  // namespace syncflow::config
