#include "adapter/conninfo.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <stdexcept>

namespace syncflow::adapter {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

TEST(PoolMax, IsReadFromTheQueryOfAUri) {
  EXPECT_EQ(PoolMaxOf("postgresql://h/d?max=50"), 50);
  EXPECT_EQ(PoolMaxOf("postgres://h/d?sslmode=require&max=7&application_name=x"), 7);
  EXPECT_EQ(PoolMaxOf("postgresql://h/d"), std::nullopt);
  EXPECT_EQ(PoolMaxOf("postgresql://h/d?xmax=5"), std::nullopt);
  EXPECT_EQ(PoolMaxOf("host=h dbname=d max=50"), std::nullopt);
}

TEST(PoolMax, ThatIsNoSizeIsRefused) {
  for (const char* max : {"", "0", "-1", "1001", "5x", "99999999999999999999", "%35"})
    EXPECT_THROW(PoolMaxOf(std::string("postgresql://h/d?max=") + max), std::invalid_argument);
}

TEST(PoolMax, IsTakenOutWhereverItStands) {
  EXPECT_EQ(WithoutPoolMax("postgresql://h/d?max=50"), "postgresql://h/d");
  EXPECT_EQ(WithoutPoolMax("postgresql://h/d?max=50&a=b"), "postgresql://h/d?a=b");
  EXPECT_EQ(WithoutPoolMax("postgresql://h/d?a=b&max=50"), "postgresql://h/d?a=b");
  EXPECT_EQ(WithoutPoolMax("postgresql://h/d?a=b&max=50&c=d"), "postgresql://h/d?a=b&c=d");
  EXPECT_EQ(WithoutPoolMax("postgresql://h/d?max=1&max=2&c=d&max=3"), "postgresql://h/d?c=d");
  EXPECT_EQ(WithoutPoolMax("postgresql://h/d?xmax=5"), "postgresql://h/d?xmax=5");
  EXPECT_EQ(WithoutPoolMax("host=h max=5"), "host=h max=5");
}

TEST(MaskPassword, HidesThePasswordOfAUri) {
  EXPECT_EQ(MaskPassword("postgresql://u:geheim@h:5432/d"), "postgresql://u:***@h:5432/d");
  EXPECT_EQ(MaskPassword("postgresql://:geheim@h/d"), "postgresql://:***@h/d");
  EXPECT_EQ(MaskPassword("postgresql://u@h:5432/d?a=b"), "postgresql://u@h:5432/d?a=b");
  EXPECT_EQ(MaskPassword("postgresql://h1:1,h2:2/d"), "postgresql://h1:1,h2:2/d");
  EXPECT_EQ(MaskPassword("postgresql://u@h/d?password=geheim&a=b"),
            "postgresql://u@h/d?password=***&a=b");
  EXPECT_EQ(MaskPassword("postgresql://h/d?a=b&sslpassword=geheim"),
            "postgresql://h/d?a=b&sslpassword=***");
}

TEST(MaskPassword, HidesWhatWasNotEncoded) {
  for (const char* url : {"postgresql://u:geheim@geheim@h/d", "postgresql://u:geheim/geheim@h/d",
                          "postgresql://u:geheim?geheim=1@h/d", "postgresql://u:geheim:geheim@h/d",
                          "postgresql://u@h/d?%70assword=geheim", "postgre://u:geheim@h/d",
                          "password geheim host=", "host=h password='geheim geheim' user=u",
                          "password = 'it\\'s geheim'", "password=geheim\\ geheim",
                          "password='geheim", "host=h\tpassword=geheim"}) {
    EXPECT_THAT(MaskPassword(url), Not(HasSubstr("geheim"))) << url;
  }
}

TEST(MaskPassword, LeavesTheRestOfAKeywordStringReadable) {
  EXPECT_EQ(MaskPassword("host=h password = 'a b' user='x y'"), "host=h password = *** user='x y'");
  EXPECT_EQ(MaskPassword("host=h user=u"), "host=h user=u");
  EXPECT_EQ(MaskPassword(""), "");
}

TEST(MaskPassword, TakesEveryPrefixOfAString) {
  for (std::string whole : {"postgresql://u:geheim@h:5432/d?password=%67eheim&max=5",
                            "host=h password = 'ge\\'heim' user = u"}) {
    for (size_t length = 0; length <= whole.size(); ++length) {
      std::string url = whole.substr(0, length);
      EXPECT_NO_THROW(MaskPassword(url));
      EXPECT_LE(WithoutPoolMax(url).size(), url.size());
    }
  }
}

}  // namespace
}  // namespace syncflow::adapter
