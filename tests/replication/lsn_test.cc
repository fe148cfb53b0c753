#include "replication/lsn.h"

#include <gtest/gtest.h>

namespace syncflow::replication {
namespace {

TEST(Lsn, PrintsAsPostgresDoes) {
  EXPECT_EQ(Lsn(0x16B374D848).ToString(), "16/B374D848");
  EXPECT_EQ(Lsn(0).ToString(), "0/0");
  EXPECT_EQ(Lsn(UINT64_MAX).ToString(), "FFFFFFFF/FFFFFFFF");
}

TEST(Lsn, ParsesWhatItPrints) {
  for (uint64_t bytes : {0ull, 1ull, 0xFFFFFFFFull, 0x100000000ull, 0x8000000000000000ull, ~0ull}) {
    EXPECT_EQ(Lsn::Parse(Lsn(bytes).ToString()), Lsn(bytes));
  }
  EXPECT_EQ(Lsn::Parse("0/0000000A"), Lsn(10));
  EXPECT_EQ(Lsn::Parse("a/b"), Lsn(0xA0000000Bull));
}

TEST(Lsn, OrdersAsNumberNotAsText) {
  EXPECT_LT(*Lsn::Parse("0/9"), *Lsn::Parse("0/10"));
}

TEST(Lsn, OrdersBeyondTheSignBit) {
  EXPECT_LT(*Lsn::Parse("7FFFFFFF/0"), *Lsn::Parse("80000000/0"));
}

TEST(Lsn, RefusesEverythingElse) {
  for (const char* text : {"", "/", "0/", "/0", "0", "0/0/0", "0x1/0", "0/g", "-1/0", "+1/0",
                           " 0/0", "0/0 ", "123456789/0", "0/123456789"}) {
    EXPECT_EQ(Lsn::Parse(text), std::nullopt) << text;
  }
}

}  // namespace
}  // namespace syncflow::replication
