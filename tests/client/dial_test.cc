#include "sidecar/client/dial.h"

#include <gtest/gtest.h>

namespace syncflow::client {
namespace {

TEST(FeedAddress, IsHostAndPort) {
  EXPECT_EQ(Address::Parse("127.0.0.1:7433").host, "127.0.0.1");
  EXPECT_EQ(Address::Parse("feed.internal:99").port, "99");
  EXPECT_EQ(Address::Parse("[::1]:7433").host, "::1");
}

TEST(FeedAddress, OtherFormsAreRefused) {
  for (const char* text : {"", ":", "host", "host:", ":7433", "::1:7433", "[]:1", "7433"}) {
    EXPECT_THROW(Address::Parse(text), std::invalid_argument) << text;
  }
}

TEST(Dialing, UnknownHostIsASentence) {
  EXPECT_THROW(Dial({"no-such-host.invalid", "1"}, std::chrono::milliseconds(1000), -1),
               ConnectionError);
}

}  // namespace
}  // namespace syncflow::client
