#include "config/units.h"

#include <gtest/gtest.h>

namespace syncflow::config {
namespace {

using namespace std::chrono_literals;

TEST(Duration, IsAWholeNumberAndAUnit) {
  EXPECT_EQ(ParseDuration("250ms"), 250ms);
  EXPECT_EQ(ParseDuration("15s"), 15s);
  EXPECT_EQ(ParseDuration("30m"), 30min);
  EXPECT_EQ(ParseDuration("6h"), 6h);
  EXPECT_EQ(ParseDuration("7d"), 168h);
  EXPECT_EQ(ParseDuration("0s"), 0s);
}

TEST(Size, IsBytesInPowersOfTwoOrTen) {
  EXPECT_EQ(ParseSize("4096"), 4096u);
  EXPECT_EQ(ParseSize("4096B"), 4096u);
  EXPECT_EQ(ParseSize("512KiB"), 512u << 10);
  EXPECT_EQ(ParseSize("64MiB"), 64u << 20);
  EXPECT_EQ(ParseSize("4GiB"), 4ull << 30);
  EXPECT_EQ(ParseSize("10KB"), 10'000u);
  EXPECT_EQ(ParseSize("10MB"), 10'000'000u);
  EXPECT_EQ(ParseSize("2GB"), 2'000'000'000u);
}

TEST(Count, IsAWholeNumber) {
  EXPECT_EQ(ParseCount("0"), 0u);
  EXPECT_EQ(ParseCount("20000"), 20'000u);
}

TEST(Numbers, AreReadStrictly) {
  for (const char* text : {"", " ", "-1", "+1", "01", "00", "0x10", "0o17", "1e3", "1.5", "1_000",
                           "1 ", " 1", "1,000", ".5", "nan", "true", "99999999999999999999"}) {
    EXPECT_EQ(ParseCount(text), std::nullopt) << text;
    EXPECT_EQ(ParseSize(text), std::nullopt) << text;
    EXPECT_EQ(ParseSize(text + std::string("MiB")), std::nullopt) << text;
    EXPECT_EQ(ParseDuration(text), std::nullopt) << text;
    EXPECT_EQ(ParseDuration(text + std::string("s")), std::nullopt) << text;
  }
}

TEST(Units, AreSpelledInOneWay) {
  for (const char* text : {"1mib", "1MIB", "1Mi", "1M", "1kB", "1TiB", "1 MiB", "MiB", "1MiB1"})
    EXPECT_EQ(ParseSize(text), std::nullopt) << text;
  for (const char* text : {"15", "15S", "15 s", "s", "1w", "1us", "1h30m", "15sec"})
    EXPECT_EQ(ParseDuration(text), std::nullopt) << text;
}

TEST(Units, OverflowIsRefused) {
  EXPECT_EQ(ParseSize("8589934591GiB"), 8589934591ull << 30);
  EXPECT_EQ(ParseSize("8589934592GiB"), std::nullopt);
  EXPECT_EQ(ParseSize("9223372036854775807"), 9223372036854775807u);
  EXPECT_EQ(ParseSize("9223372036854775808"), std::nullopt);
  EXPECT_EQ(ParseDuration("106751991167d"), std::chrono::hours(24) * 106751991167);
  EXPECT_EQ(ParseDuration("106751991168d"), std::nullopt);
}

TEST(Units, AreWrittenInTheLargestThatFits) {
  EXPECT_EQ(FormatSize(64ull << 20), "64MiB");
  EXPECT_EQ(FormatSize(1536ull << 20), "1536MiB");
  EXPECT_EQ(FormatSize(10'000'000), "10MB");
  EXPECT_EQ(FormatSize(8'000'000'000), "8GB");
  EXPECT_EQ(FormatSize(1001), "1001B");
  EXPECT_EQ(FormatSize(0), "0B");
  EXPECT_EQ(FormatDuration(168h), "7d");
  EXPECT_EQ(FormatDuration(90s), "90s");
  EXPECT_EQ(FormatDuration(1500ms), "1500ms");
  EXPECT_EQ(FormatDuration(0ms), "0ms");
}

TEST(Units, WhatIsWrittenReadsBack) {
  for (uint64_t value = 1; value < (1ull << 62); value = value * 3 + value % 7) {
    EXPECT_EQ(ParseSize(FormatSize(value)), value);
    std::chrono::milliseconds time(static_cast<int64_t>(value));
    EXPECT_EQ(ParseDuration(FormatDuration(time)), time);
  }
}

}  // namespace
}  // namespace syncflow::config
