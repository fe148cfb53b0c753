// A subscription on a real feed: what the scripted ones cannot know.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "sidecar/client/subscription.h"
#include "tests/feed/rig.h"

namespace syncflow::feed {
namespace {

using client::Event;
using Type = Event::Type;

class OnARealFeed : public FeedRig {
 protected:
  client::Options To(const std::string& from, const std::string& name = "") {
    client::Options options;
    options.address = "127.0.0.1:" + std::to_string(feed_->port());
    options.from = from;
    options.name = name;
    options.backoff_min = options.backoff_max = std::chrono::milliseconds(1);
    return options;
  }
  static std::string NextChange(client::Subscription& consumer) {
    while (auto event = consumer.Next()) {
      if (event->type == Type::kChange) return std::string(event->cursor);
    }
    return "";
  }
};

TEST_F(OnARealFeed, EveryChangeComesOnceInOrder) {
  Start();
  uint64_t last = CommitMany(0x2000, 8 << 20, 100);
  client::Subscription consumer(To("earliest"));
  for (uint64_t commit = 0x2000; commit < last; commit += 8)
    ASSERT_EQ(NextChange(consumer), CursorText(commit));
  Event event = *consumer.Next();
  EXPECT_EQ(event.type, Type::kLive);
}

TEST_F(OnARealFeed, NamedOneIsTakenOver) {
  Start();
  for (uint64_t commit : {0x2000, 0x2008, 0x2010}) Commit(commit);
  client::Subscription first(To("earliest", "billing"));
  NextChange(first);
  first.Acknowledge(NextChange(first));
  EXPECT_EQ(NextChange(first), CursorText(0x2010));
  for (auto event = first.Next(); event->type != Type::kAcked;) event = first.Next();
  client::Subscription second(To("", "billing"));
  EXPECT_EQ(NextChange(second), CursorText(0x2010)) << "where the name stands";
  try {
    while (first.Next()) continue;
    ADD_FAILURE() << "it was not told";
  } catch (const client::Refused& refused) {
    EXPECT_EQ(refused.code, "superseded");
  }
}

TEST_F(OnARealFeed, FeedThatRestartsIsFoundAgain) {
  Start();
  options_.listen = "127.0.0.1:" + std::to_string(feed_->port());
  Commit(0x2000);
  client::Subscription consumer(To("earliest"));
  EXPECT_EQ(NextChange(consumer), CursorText(0x2000));
  feed_->Stop(std::chrono::seconds(10));
  feed_ = std::make_unique<Feed>(options_, *journal_);
  feed_->Start();
  Commit(0x2008);
  EXPECT_EQ(NextChange(consumer), CursorText(0x2008));
}

}  // namespace
}  // namespace syncflow::feed
