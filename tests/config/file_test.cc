#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <stdlib.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>

#include "tests/config/rig.h"

namespace syncflow::config {
namespace {

using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::StartsWith;

class File : public testing::Test {
 protected:
  File() {
    std::string name = testing::TempDir() + "config_test.XXXXXX";
    folder_ = mkdtemp(name.data());
    path_ = folder_ / "sidecar.yaml";
  }
  ~File() override { std::filesystem::remove_all(folder_); }

  void Write(const std::string& text) { std::ofstream(path_, std::ios::binary) << text; }
  std::vector<std::string> Violations() { return Load(path_, {}).violations; }

  std::filesystem::path folder_;
  std::filesystem::path path_;
};

TEST_F(File, IsLoaded) {
  Write(kGood + "notify: {mode: off, watch: false}\nlog: {level: warning, format: json}\n");
  Loaded loaded = Load(path_, {});
  EXPECT_THAT(loaded.violations, IsEmpty());
  EXPECT_EQ(loaded.settings.postgres.url.Reveal(), "postgresql://localhost/app");
  EXPECT_EQ(loaded.settings.notify.mode, NotifyMode::kOff);
  EXPECT_FALSE(loaded.settings.notify.watch);
  EXPECT_EQ(loaded.settings.log.level, LogLevel::kWarning);
  EXPECT_EQ(loaded.settings.log.format, LogFormat::kJson);
}

TEST_F(File, ThatIsMissingIsASentence) {
  EXPECT_THAT(Violations(), ElementsAre(AllOf(StartsWith(path_.string() + ": cannot be read"),
                                              HasSubstr("No such file"))));
}

TEST_F(File, ThatIsAFolderIsASentence) {
  std::filesystem::create_directory(path_);
  EXPECT_THAT(Violations(),
              ElementsAre(path_.string() + ": this is a folder; name the file in it"));
}

TEST_F(File, ThatMayNotBeReadIsASentence) {
  if (geteuid() == 0) GTEST_SKIP() << "root may read everything";
  Write(kGood);
  std::filesystem::permissions(path_, std::filesystem::perms::none);
  EXPECT_THAT(Violations(), ElementsAre(HasSubstr("Permission denied")));
}

TEST_F(File, OfOneMebibyteIsTheLargest) {
  std::string text = kGood + "#";
  text.resize(1 << 20, 'x');
  Write(text);
  EXPECT_THAT(Violations(), IsEmpty());
  Write(text + "x");
  EXPECT_THAT(Violations(), ElementsAre(path_.string() + ":1:1: the file is larger than 1 MiB"));
}

TEST_F(File, WithoutEndIsNotReadToTheEnd) {
  EXPECT_THAT(Load("/dev/zero", {}).violations, ElementsAre(HasSubstr("larger than 1 MiB")));
}

TEST(Scalars, AreTakenAsTheyAreWritten) {
  Loaded loaded = LoadGood(R"(
journal: {directory: 'it''s ${X} $$5 $6', retain_age: "1d"}
http: {listen: "127.0.0.1:\x31"}
feed:
  connections_max: "7"
  allow_anonymous: 'true'
)",
                           {{"X", "a: [b] # \"c"}});
  EXPECT_EQ(Joined(loaded.violations), "");
  EXPECT_EQ(loaded.settings.journal.directory, "it's a: [b] # \"c $5 $6");
  EXPECT_EQ(loaded.settings.journal.retain_age, std::chrono::hours(24));
  EXPECT_EQ(loaded.settings.http.listen, "127.0.0.1:1");
  EXPECT_EQ(loaded.settings.feed.connections_max, 7u);
  EXPECT_TRUE(loaded.settings.feed.allow_anonymous);
}

TEST(Scalars, OfVariablesKeepTheTypeOfTheirSetting) {
  Environment environment = {{"N", "12"}, {"YES", "true"}, {"BAD", "1\n2"}};
  Loaded loaded =
      LoadGood("feed: {connections_max: '${N}0', allow_anonymous: '${YES}'}\n", environment);
  EXPECT_EQ(loaded.settings.feed.connections_max, 120u);
  EXPECT_TRUE(loaded.settings.feed.allow_anonymous);
  EXPECT_THAT(LoadGood("journal: {directory: '${BAD}'}", environment).violations,
              ElementsAre(HasSubstr("folder")));
}

TEST(Version, MayComeFromAVariable) {
  EXPECT_THAT(ViolationsOf("version: ${V}\npostgres: {url: x}\n", {{"V", "1"}}), IsEmpty());
}

}  // namespace
}  // namespace syncflow::config
