#include "adapter/vector_clock.h"

#include <gtest/gtest.h>

#include <random>
#include <stdexcept>

namespace syncflow::adapter {
namespace {

ClockOrder Reversed(ClockOrder order) {
  if (order == ClockOrder::kBefore) return ClockOrder::kAfter;
  return order == ClockOrder::kAfter ? ClockOrder::kBefore : order;
}

bool IsUpTo(const VectorClock& low, const VectorClock& high) {
  ClockOrder order = low.Compare(high);
  return order == ClockOrder::kBefore || order == ClockOrder::kEqual;
}

VectorClock Merged(VectorClock clock, const VectorClock& other) {
  clock.Merge(other);
  return clock;
}

// Few clients and small counters, so that every relation occurs often.
class AnyClocks : public ::testing::Test {
 protected:
  VectorClock Next() {
    VectorClock clock;
    for (const char* client : {"a", "b", "c"}) {
      if (random_() % 3 != 0) clock.Set(client, static_cast<int64_t>(random_() % 3));
    }
    return clock;
  }
  static constexpr int kRounds = 3000;

 private:
  std::mt19937 random_{7};
};

TEST(VectorClock, ComparesAsTheReferenceDoes) {
  VectorClock one({{"a", 1}});
  VectorClock two({{"a", 2}});
  VectorClock other({{"b", 1}});
  EXPECT_EQ(one.Compare(two), ClockOrder::kBefore);
  EXPECT_EQ(two.Compare(one), ClockOrder::kAfter);
  EXPECT_EQ(one.Compare(one), ClockOrder::kEqual);
  EXPECT_EQ(one.Compare(other), ClockOrder::kConcurrent);
}

TEST(VectorClock, CountsMissingEntriesAsZero) {
  EXPECT_EQ(VectorClock({{"a", 0}}).Compare(VectorClock()), ClockOrder::kEqual);
  EXPECT_EQ(VectorClock({{"a", 1}}).Compare(VectorClock()), ClockOrder::kAfter);
  EXPECT_EQ(VectorClock({{"a", 1}}).At("b"), 0);
}

TEST_F(AnyClocks, ComparisonReversedIsTheReverse) {
  for (int round = 0; round < kRounds; ++round) {
    VectorClock a = Next();
    VectorClock b = Next();
    EXPECT_EQ(a.Compare(b), Reversed(b.Compare(a))) << a.ToJson() << b.ToJson();
  }
}

TEST_F(AnyClocks, OrderIsTransitive) {
  for (int round = 0; round < kRounds; ++round) {
    VectorClock a = Next();
    VectorClock b = Next();
    VectorClock c = Next();
    bool ordered = IsUpTo(a, b) && IsUpTo(b, c);
    EXPECT_TRUE(!ordered || IsUpTo(a, c)) << a.ToJson() << b.ToJson() << c.ToJson();
  }
}

TEST_F(AnyClocks, MergeIsTheLeastUpperBound) {
  for (int round = 0; round < kRounds; ++round) {
    VectorClock a = Next();
    VectorClock b = Next();
    VectorClock merged = Merged(a, b);
    EXPECT_TRUE(IsUpTo(a, merged) && IsUpTo(b, merged));
    VectorClock bound = Next();
    bool bounded = IsUpTo(a, bound) && IsUpTo(b, bound);
    EXPECT_TRUE(!bounded || IsUpTo(merged, bound)) << a.ToJson() << b.ToJson() << bound.ToJson();
  }
}

TEST_F(AnyClocks, MergeIsCommutativeAndIdempotent) {
  for (int round = 0; round < kRounds; ++round) {
    VectorClock a = Next();
    VectorClock b = Next();
    EXPECT_EQ(Merged(a, b), Merged(b, a));
    EXPECT_EQ(Merged(a, a), a);
  }
}

TEST_F(AnyClocks, JsonReadsBackTheSame) {
  for (int round = 0; round < kRounds; ++round) {
    VectorClock clock = Next();
    EXPECT_EQ(VectorClock::FromJson(clock.ToJson()), clock);
  }
}

TEST(VectorClock, KeepsWhole64BitCountersAndAnyName) {
  VectorClock clock({{"", 0}, {"\"quoted\"\n", INT64_MAX}, {"é", INT64_MIN}});
  EXPECT_EQ(VectorClock::FromJson(clock.ToJson()), clock);
  EXPECT_EQ(VectorClock().ToJson(), "{}");
  EXPECT_EQ(VectorClock({{"b", 1}, {"a", 2}}).ToJson(), R"({"a":2,"b":1})");
}

TEST(VectorClock, ThatIsNoneIsRefused) {
  for (const char* json : {"", "[]", "1", "{\"a\":1.5}", "{\"a\":\"1\"}", "{\"a\":null}",
                           "{\"a\":9223372036854775808}", "{\"a\":1", "{\"a\":1e3}"})
    EXPECT_THROW(VectorClock::FromJson(json), std::invalid_argument) << json;
}

}  // namespace
}  // namespace syncflow::adapter
