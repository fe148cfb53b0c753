#include "config/address.h"

#include <gtest/gtest.h>

namespace syncflow::config {
namespace {

TEST(Address, IsAnIpAddressOrLocalhostWithAPort) {
  for (const char* text : {"127.0.0.1:7433", "0.0.0.0:1", "[::1]:65535", "[::]:80", "localhost:0",
                           "[fe80::1%eth0]:7433", "10.1.2.3:7433"})
    EXPECT_TRUE(IsAddress(text)) << text;
}

TEST(Address, IsNothingElse) {
  for (const char* text : {"",
                           ":",
                           ":7433",
                           "7433",
                           "127.0.0.1",
                           "127.0.0.1:",
                           "127.0.0.1:x",
                           "127.0.0.1:65536",
                           "127.0.0.1:-1",
                           "127.0.0.1:+1",
                           "127.1:7433",
                           "256.0.0.1:7433",
                           "::1:7433",
                           "[::1]",
                           "[::1",
                           "[127.0.0.1]:7433",
                           "[]:7433",
                           "[%]:7433",
                           "example.org:7433",
                           "127.0.0.1:7433 ",
                           "+127.0.0.1:7433",
                           "127.0.0.1:7433,0.0.0.0:1",
                           "http://127.0.0.1:80"})
    EXPECT_FALSE(IsAddress(text)) << text;
}

TEST(Loopback, IsOnlyThisMachine) {
  for (const char* text : {"127.0.0.1:1", "127.9.9.9:1", "[::1]:1", "localhost:1", "[0:0::0:1]:1"})
    EXPECT_TRUE(IsLoopback(text)) << text;
  for (const char* text : {"0.0.0.0:1", "[::]:1", "10.0.0.1:1", "[::2]:1", "128.0.0.1:1"})
    EXPECT_FALSE(IsLoopback(text)) << text;
}

}  // namespace
}  // namespace syncflow::config
