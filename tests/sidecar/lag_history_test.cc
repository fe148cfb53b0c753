// The lag in bytes and seconds, and its past.
#include "sidecar/lag_history.h"

#include <gtest/gtest.h>

#include <chrono>
#include <nlohmann/json.hpp>

namespace syncflow {
namespace {

using std::chrono::microseconds;

class LagTest : public ::testing::Test {
 protected:
  void At(uint64_t server, uint64_t durable, uint64_t confirmed) {
    probe_.stream.server_wal_end = server;
    probe_.durable_position = durable;
    probe_.confirmed_position = confirmed;
  }
  void CommittedBefore(std::chrono::seconds ago) {
    auto time = std::chrono::system_clock::now() - ago;
    probe_.last_commit_time =
        std::chrono::duration_cast<microseconds>(time.time_since_epoch()).count();
  }

  PipelineProbe probe_;
};

TEST_F(LagTest, BytesAreThoseBeyondTheConfirmedPosition) {
  LagHistory lag(probe_);
  EXPECT_EQ(lag.Now().bytes, 0u);
  At(5000, 0, 0);
  EXPECT_EQ(lag.Now().bytes, 0u) << "nothing was ever confirmed";
  At(5000, 4000, 2000);
  EXPECT_EQ(lag.Now().bytes, 3000u);
  At(5000, 6000, 6000);
  EXPECT_EQ(lag.Now().bytes, 0u) << "never below zero";
}

TEST_F(LagTest, AnOldCommitIsNoLagWhereNothingCameSince) {
  At(5000, 5000, 5000);
  CommittedBefore(std::chrono::hours(5));
  LagHistory lag(probe_);
  EXPECT_EQ(lag.Now().seconds, 0);
  At(6000, 5000, 5000);
  EXPECT_LT(lag.Now().seconds, 3600) << "it counts from when all was level";
}

TEST_F(LagTest, ACommitThatIsLaterThanWhenAllWasLevelCounts) {
  At(6000, 5000, 5000);
  LagHistory lag(probe_);
  CommittedBefore(std::chrono::seconds(-100));
  EXPECT_EQ(lag.Now().seconds, 0) << "a server whose clock is ahead makes no negative lag";
}

TEST_F(LagTest, PastIsKeptInOrder) {
  probe_.changes = 7;
  LagHistory lag(probe_);
  nlohmann::json samples;
  while (samples.size() < 2) {
    samples = nlohmann::json::parse(lag.Json())["samples"];
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
  }
  EXPECT_LT(samples[0][0], samples[1][0]);
  EXPECT_EQ(samples[1][3], 7);
}

}  // namespace
}  // namespace syncflow
