#include "sidecar/journal/entry.h"

#include <gtest/gtest.h>

namespace syncflow::journal {
namespace {

using replication::Lsn;

const Entry kEntry{EntryKind::kBatch, 7,       0x1122334455667788, 99,        {Lsn(8), 1},
                   {Lsn(16), 2},      Lsn(24), 1795425260339073,   0xE3069283};

std::string_view Text(const EntryBytes& bytes) {
  return {bytes.data(), bytes.size()};
}

TEST(Crc32c, MatchesThePublishedCheckValue) {
  EXPECT_EQ(Crc32c("123456789"), 0xE3069283u);
  EXPECT_EQ(Crc32c(""), 0u);
}

TEST(Entry, DecodesWhatItEncodes) {
  auto decoded = DecodeEntry(Text(EncodeEntry(kEntry)));
  ASSERT_TRUE(decoded);
  EXPECT_EQ(decoded->lines, kEntry.lines);
  EXPECT_EQ(decoded->offset, kEntry.offset);
  EXPECT_EQ(decoded->length, kEntry.length);
  EXPECT_EQ(decoded->first, kEntry.first);
  EXPECT_EQ(decoded->last, kEntry.last);
  EXPECT_EQ(decoded->safe, kEntry.safe);
  EXPECT_EQ(decoded->appended_at, kEntry.appended_at);
  EXPECT_EQ(decoded->data_crc, kEntry.data_crc);
}

TEST(Entry, LayoutIsTheDrawnOne) {
  EntryBytes bytes = EncodeEntry(kEntry);
  EXPECT_EQ(bytes[0], 'b');
  EXPECT_EQ(bytes[4], 7);
  EXPECT_EQ(Text(bytes).substr(8, 8), "\x88\x77\x66\x55\x44\x33\x22\x11");
  EXPECT_EQ(bytes[56], 24);
}

TEST(Entry, AnyFlippedBitIsNoticed) {
  EntryBytes good = EncodeEntry(kEntry);
  for (size_t at = 0; at < good.size(); ++at) {
    for (int bit = 0; bit < 8; ++bit) {
      EntryBytes bad = good;
      bad[at] = static_cast<char>(bad[at] ^ (1 << bit));
      EXPECT_FALSE(DecodeEntry(Text(bad))) << at << "." << bit;
    }
  }
}

TEST(Entry, AnyOtherSizeIsRefused) {
  EntryBytes good = EncodeEntry(kEntry);
  for (size_t length = 0; length < good.size(); ++length)
    EXPECT_FALSE(DecodeEntry(Text(good).substr(0, length)));
}

}  // namespace
}  // namespace syncflow::journal
