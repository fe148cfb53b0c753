#include "replication/timestamp.h"

#include <gtest/gtest.h>

namespace syncflow::replication {
namespace {

TEST(Timestamp, CountsMicrosecondsSince1970) {
  EXPECT_EQ(ParseTimestamp("1970-01-01 00:00:00+00"), 0);
  EXPECT_EQ(ParseTimestamp("2026-11-23 09:14:20.339073+00"), 1795425260339073);
  EXPECT_EQ(ParseTimestamp("2000-02-29 23:59:59.000001+00"), 951868799000001);
}

TEST(Timestamp, TrailingZerosOfTheFractionMayBeMissing) {
  EXPECT_EQ(ParseTimestamp("1970-01-01 00:00:01.5+00"), 1500000);
  EXPECT_EQ(ParseTimestamp("1970-01-01 00:00:01.05+00"), 1050000);
  EXPECT_EQ(ParseTimestamp("1970-01-01 00:00:01.33967+00"), 1339670);
}

TEST(Timestamp, AnythingElseIsRefused) {
  for (const char* text :
       {"", "2026-11-23", "2026-11-23T09:14:20+00", "2026-11-23 09:14:20", "2026-11-23 09:14:20+01",
        "2026-13-01 00:00:00+00", "2026-02-30 00:00:00+00", "2026-11-23 24:00:00+00",
        "2026-11-23 09:60:00+00", "2026-11-23 09:14:61+00", "2026-+1-23 09:14:20+00",
        "2026-11-23 09:14:20.1234567+00", "2026-11-23 09:14:20+00 ", "2026-11-23 09:14:20+00 BC",
        "-026-11-23 09:14:20+00"}) {
    EXPECT_EQ(ParseTimestamp(text), std::nullopt) << text;
  }
}

TEST(Timestamp, EveryShorterTextIsRefused) {
  std::string_view whole = "2026-11-23 09:14:20.339073+00";
  for (size_t length = 0; length < whole.size(); ++length) {
    EXPECT_EQ(ParseTimestamp(whole.substr(0, length)), std::nullopt) << length;
  }
}

}  // namespace
}  // namespace syncflow::replication
