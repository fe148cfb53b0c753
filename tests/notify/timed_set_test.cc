#include "sidecar/notify/timed_set.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <random>
#include <vector>

namespace syncflow::notify {
namespace {

using Time = TimedSet::Time;

Time At(int second) {
  return Time(std::chrono::seconds(second));
}

TEST(TimedSet, GivesBackTheOldestFirst) {
  TimedSet set(10);
  set.Add(1, At(1));
  set.Add(2, At(2));
  EXPECT_EQ(set.TakeOldest(At(5)), At(1));
  EXPECT_EQ(set.TakeOldest(At(5)), At(2));
  EXPECT_EQ(set.TakeOldest(At(5)), std::nullopt);
}

TEST(TimedSet, KeepsWhatIsYoungerThanTheLimit) {
  TimedSet set(10);
  set.Add(1, At(3));
  EXPECT_EQ(set.TakeOldest(At(2)), std::nullopt);
  EXPECT_EQ(set.TakeOldest(At(3)), At(3));
}

TEST(TimedSet, TakenKeysAreNotGivenBack) {
  TimedSet set(10);
  set.Add(1, At(1));
  set.Add(2, At(2));
  EXPECT_TRUE(set.Take(1));
  EXPECT_FALSE(set.Take(1));
  EXPECT_EQ(set.TakeOldest(At(5)), At(2));
}

TEST(TimedSet, KeyThatComesAgainCountsFromThen) {
  TimedSet set(10);
  set.Add(1, At(1));
  set.Add(1, At(4));
  EXPECT_EQ(set.TakeOldest(At(3)), std::nullopt);
  EXPECT_EQ(set.TakeOldest(At(4)), At(4));
  EXPECT_EQ(set.size(), 0u);
}

TEST(TimedSet, FullSetTakesNothingMore) {
  TimedSet set(2);
  EXPECT_TRUE(set.Add(1, At(1)));
  EXPECT_TRUE(set.Add(2, At(1)));
  EXPECT_FALSE(set.Add(3, At(1)));
  EXPECT_FALSE(set.Take(3));
  set.Take(1);
  EXPECT_TRUE(set.Add(3, At(2)));
}

// Against something trivially right: a map searched from end to end.
TEST(TimedSet, BehavesLikeAMap) {
  for (unsigned seed = 0; seed < 50; ++seed) {
    std::minstd_rand random(seed);
    TimedSet set(100'000);
    std::map<uint64_t, Time> map;
    for (int step = 0; step < 2000; ++step) {
      uint64_t key = random() % 40;
      Time now = At(step / 3);
      switch (random() % 3) {
        case 0:
          set.Add(key, now);
          map[key] = now;
          break;
        case 1:
          ASSERT_EQ(set.Take(key), map.erase(key) > 0);
          break;
        default:
          Time limit = now - std::chrono::seconds(random() % 20);
          auto oldest = std::min_element(map.begin(), map.end(),
                                         [](auto& a, auto& b) { return a.second < b.second; });
          bool due = oldest != map.end() && oldest->second <= limit;
          std::optional<Time> taken = set.TakeOldest(limit);
          ASSERT_EQ(taken.has_value(), due);
          if (!due) break;
          ASSERT_EQ(*taken, oldest->second);
          // Which of several with one time it took shows in what is gone.
          for (auto it = map.begin(); it != map.end(); ++it) {
            if (it->second != *taken) continue;
            TimedSet probe = set;
            if (probe.Take(it->first)) continue;
            map.erase(it);
            break;
          }
      }
      ASSERT_EQ(set.size(), map.size());
    }
  }
}

}  // namespace
}  // namespace syncflow::notify
