#include "sidecar/metrics/process.h"

#include <gtest/gtest.h>

#include <chrono>
#include <string>

namespace syncflow::metrics {
namespace {

const std::string kLine =
    "42 (sync ) flow) S 1 42 42 0 -1 4194560 900 0 0 0 17 5 0 0 20 0 7 0 123456 104857600 2560 "
    "18446744073709551615 1 1 0\n";

TEST(ProcStat, FieldsAreThoseOfTheManual) {
  std::optional<Stat> stat = ParseStat(kLine);
  ASSERT_TRUE(stat);
  EXPECT_EQ(stat->user_ticks, 17u);
  EXPECT_EQ(stat->system_ticks, 5u);
  EXPECT_EQ(stat->threads, 7u);
  EXPECT_EQ(stat->start_ticks, 123456u);
  EXPECT_EQ(stat->virtual_bytes, 104857600u);
  EXPECT_EQ(stat->resident_pages, 2560u);
}

TEST(ProcStat, LineCutBeforeTheLastFieldIsNothing) {
  size_t last_field = kLine.find(" 2560 ") + 1;
  for (size_t length = 0; length <= last_field; ++length) {
    EXPECT_FALSE(ParseStat(kLine.substr(0, length))) << length;
  }
}

TEST(ProcStat, WordsInsteadOfNumbersAreNothing) {
  EXPECT_FALSE(ParseStat("1 (x) S a b c d e f g h i j k l m n o p q r s t u v w x y z"));
}

TEST(ThisProcess, IsPlausible) {
  Process process = ReadProcess();
  double now =
      std::chrono::duration<double>(std::chrono::system_clock::now().time_since_epoch()).count();
  EXPECT_GT(process.start_time, 1.6e9);
  EXPECT_LE(process.start_time, now + 1);
  EXPECT_GE(process.threads, 1u);
  EXPECT_GE(process.open_fds, 3u);
  EXPECT_GE(process.max_fds, process.open_fds);
  EXPECT_GE(process.virtual_bytes, process.resident_bytes);
  EXPECT_GT(process.resident_bytes, 1u << 20);
}

}  // namespace
}  // namespace syncflow::metrics
