// A subscription to a feed that the test scripts.
#pragma once

#include <gtest/gtest.h>

#include <optional>
#include <thread>

#include "sidecar/client/subscription.h"
#include "tests/client/peer.h"

namespace syncflow::client {

class ScriptedFeed : public ::testing::Test {
 protected:
  ScriptedFeed() { options_.address = listener_.address(); }
  ~ScriptedFeed() override { End(); }

  // From here on what the scripts have noted may be read.
  void Finish() {
    feed_.reset();
    server_.join();
  }
  // Whatever the scripts still wait for.
  void End() {
    feed_.reset();
    listener_.Shut();
    if (server_.joinable()) server_.join();
  }
  // The next event, which must be of this type.
  Event Expect(Event::Type type) {
    auto event = feed_->Next();
    EXPECT_TRUE(event.has_value());
    if (!event) return {type};
    EXPECT_EQ(static_cast<int>(event->type), static_cast<int>(type))
        << event->line << event->message;
    return *event;
  }

  Listener listener_;
  Options options_;
  std::optional<Subscription> feed_;
  std::thread server_;
};

}  // namespace syncflow::client
