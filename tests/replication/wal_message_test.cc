#include "replication/wal_message.h"

#include <gtest/gtest.h>

#include "replication/error.h"

namespace syncflow::replication {
namespace {

using namespace std::string_literals;

const std::string kXLogData =
    "w"
    "\x00\x00\x00\x16\xB3\x74\xD8\x48"
    "\x00\x00\x00\x16\xB3\x74\xD8\x50"
    "\x00\x00\x00\x00\x00\x00\x00\x01"
    "payload"s;
const std::string kKeepalive =
    "k"
    "\x80\x00\x00\x00\x00\x00\x00\x07"
    "\x00\x00\x00\x00\x00\x00\x00\x01"
    "\x01"s;

TEST(WalMessage, XLogDataCarriesPositionsAndPayload) {
  auto data = std::get<XLogData>(ParseWalMessage(kXLogData));
  EXPECT_EQ(data.start, Lsn(0x16B374D848));
  EXPECT_EQ(data.wal_end, Lsn(0x16B374D850));
  EXPECT_EQ(data.payload, "payload");
}

TEST(WalMessage, KeepaliveTellsWhetherAnAnswerIsAwaited) {
  auto keepalive = std::get<Keepalive>(ParseWalMessage(kKeepalive));
  EXPECT_EQ(keepalive.wal_end, Lsn(0x8000000000000007));
  EXPECT_TRUE(keepalive.reply_requested);
  std::string quiet = kKeepalive;
  quiet.back() = '\0';
  EXPECT_FALSE(std::get<Keepalive>(ParseWalMessage(quiet)).reply_requested);
}

TEST(WalMessage, EveryShorterXLogDataHeaderIsRefused) {
  for (size_t length = 0; length < 25; ++length) {
    EXPECT_THROW(ParseWalMessage(std::string_view(kXLogData).substr(0, length)), DecodeError)
        << length;
  }
  EXPECT_EQ(std::get<XLogData>(ParseWalMessage(std::string_view(kXLogData).substr(0, 25))).payload,
            "");
}

TEST(WalMessage, KeepaliveOfAnyOtherSizeIsRefused) {
  for (size_t length = 0; length < kKeepalive.size(); ++length) {
    EXPECT_THROW(ParseWalMessage(std::string_view(kKeepalive).substr(0, length)), DecodeError)
        << length;
  }
  EXPECT_THROW(ParseWalMessage(kKeepalive + "x"), DecodeError);
}

TEST(WalMessage, UnknownKindIsRefused) {
  EXPECT_THROW(ParseWalMessage("x1234567890"), DecodeError);
}

TEST(WalMessage, StatusUpdateIsLaidOutAsTheManualSays) {
  StatusUpdate update{Lsn(0x0102030405060708), Lsn(0x11), Lsn(0x12), {}, true};
  update.sent_at = std::chrono::system_clock::time_point(std::chrono::seconds(946'684'800)) +
                   std::chrono::microseconds(0x1234);
  EXPECT_EQ(EncodeStatusUpdate(update),
            "r"
            "\x01\x02\x03\x04\x05\x06\x07\x08"
            "\0\0\0\0\0\0\0\x11"
            "\0\0\0\0\0\0\0\x12"
            "\0\0\0\0\0\0\x12\x34"
            "\x01"s);
}

}  // namespace
}  // namespace syncflow::replication
