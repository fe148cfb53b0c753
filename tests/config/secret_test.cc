#include "config/secret.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <ostream>
#include <string>
#include <type_traits>
#include <vector>

#include "config/print.h"
#include "tests/config/rig.h"

namespace syncflow::config {
namespace {

using testing::HasSubstr;
using testing::Not;

template <typename T>
concept Printable = requires(std::ostream& out, const T& value) {
  out << value;
};

static_assert(Printable<std::string>);
static_assert(!Printable<Secret>);
static_assert(!std::is_convertible_v<Secret, std::string>);
static_assert(!std::is_convertible_v<std::string, Secret>);

std::string AllThatIsSaid(const std::string& text, const Environment& environment) {
  Loaded loaded = LoadText(text, "f.yaml", environment);
  return Joined(loaded.violations) + Joined(loaded.warnings) + Print(loaded);
}

// The password stands in the url, rightly or wrongly, or slips to another place of the file.
TEST(Password, IsNeverSaid) {
  const std::string secret = "hunter2-S3cret";
  const std::string url = "postgresql://u:" + secret + "@h/db";
  const std::vector<std::string> texts = {
      "version: 1\npostgres:\n  url: " + url + "\n",
      "version: 1\npostgres:\n  url: \"" + url + "\\n\"\n",
      "version: 1\npostgres:\n  url: [" + url + "]\n",
      "version: 1\npostgres:\n  url: {password: " + secret + "}\n",
      "version: 1\npostgres: " + url + "\n",
      "version: 1\npostgres: {\"" + url + "\": x}\n",
      "version: 1\npostgres: {" + secret + ": x}\n",
      "version: 1\n" + url + "\n",
      "version: 1\n\"" + url + "\":\n",
      "version: 1\n" + secret + ": 1\n" + secret + ": 2\n",
      "version: 1\npostgres:\n  url: a: " + secret + "\n",
      "version: 1\npostgres:\n  url: \"" + secret + "\n",
      "version: 1\npostgres:\n  url: @" + secret + "\n",
      "version: 1\npostgres:\n  url: *" + secret + "\n",
      "version: 1\npostgres:\n  url: &" + secret + " x\n",
      "version: 1\npostgres:\n  url: !" + secret + " x\n",
      "version: 1\npostgres:\n  url: \"" + secret + "\\q\"\n",
      "version: 1\npostgres:\n  url: p${" + secret + "}\n",
      "version: 1\npostgres:\n  url: p${" + secret + "\n",
      "version: 1\npostgres:\n  url: p${X:+" + secret + "}\n",
      "version: ${URL}\npostgres:\n  url: ${URL}\n",
      "version: 1\npostgres:\n  url: ${URL}\nfeed: {listen: '${URL}', heartbeat: '${URL}'}\n",
      "version: 1\npostgres:\n  url: ${URL}\nlog: {level: '${URL}'}\njournal: '${URL}'\n",
      url,
      secret + "\xff",
  };
  for (const std::string& text : texts) {
    Environment environment = {{"URL", url}, {"SYNCFLOW_UNKNOWN", url}};
    EXPECT_THAT(AllThatIsSaid(text, environment), Not(HasSubstr(secret))) << text;
    environment["SYNCFLOW_POSTGRES_URL"] = url;
    EXPECT_THAT(AllThatIsSaid(text, environment), Not(HasSubstr(secret))) << text;
    environment["SYNCFLOW_POSTGRES_URL"] = url + "\n";
    EXPECT_THAT(AllThatIsSaid(text, environment), Not(HasSubstr(secret))) << text;
  }
}

TEST(Password, IsKeptForTheConnection) {
  EXPECT_EQ(LoadGood().settings.postgres.url.Reveal(), "postgresql://localhost/app");
}

}  // namespace
}  // namespace syncflow::config
