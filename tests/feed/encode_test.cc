#include "sidecar/feed/encode.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace syncflow::feed {
namespace {

using replication::Change;
using replication::Lsn;
using ::testing::EndsWith;
using ::testing::HasSubstr;

Change AChange() {
  Change change;
  change.operation = {"op-1",
                      "update",
                      "todos",
                      "doc-1",
                      R"({"title": "x"})",
                      1700001000000,
                      "client-1",
                      false,
                      R"({"client-1": 2})"};
  change.commit_lsn = Lsn(0x14319470);
  change.index = 3;
  change.xid = 251264;
  change.commit_time = 1795425260567891;
  return change;
}

TEST(Encoder, LineIsTheProtocols) {
  Encoder encoder(journal::Epoch{0x9c41e07b}, 8 << 20);
  encoder.Encode(AChange());
  EXPECT_EQ(
      encoder.Finish(true),
      R"({"type":"change","cursor":"9c41e07b.0000000014319470.3","transaction":{"xid":251264,"index":3,"last":true},)"
      R"("committed_at":"2026-11-23T09:14:20.567891Z","op":{"id":"op-1","type":"update","collection":"todos",)"
      R"("docId":"doc-1","data":{"title": "x"},"timestamp":1700001000000,"clientId":"client-1","synced":false,)"
      R"("vectorClock":{"client-1": 2}}})"
      "\n");
}

TEST(Encoder, HoldsTheLineUntilItIsKnownWhetherItIsTheLast) {
  Encoder encoder(journal::Epoch{1}, 8 << 20);
  EXPECT_FALSE(encoder.holds());
  encoder.Encode(AChange());
  EXPECT_TRUE(encoder.holds());
  EXPECT_EQ(encoder.position(), (journal::Position{Lsn(0x14319470), 3}));
  EXPECT_THAT(std::string(encoder.Finish(false)), HasSubstr(R"("last":false})"));
  EXPECT_FALSE(encoder.holds());
}

TEST(Encoder, SqlNullDataIsAbsent) {
  Encoder encoder(journal::Epoch{1}, 8 << 20);
  Change change = AChange();
  change.operation.data.reset();
  encoder.Encode(change);
  EXPECT_THAT(std::string(encoder.Finish(true)), HasSubstr(R"("docId":"doc-1","timestamp")"));
}

TEST(Encoder, ControlCharactersNeverBreakTheLine) {
  Encoder encoder(journal::Epoch{1}, 8 << 20);
  Change change = AChange();
  change.operation.id = std::string_view("a\n\"\\\x01\t\xc3\xa9\0b", 10);
  encoder.Encode(change);
  std::string line(encoder.Finish(true));
  EXPECT_THAT(line, HasSubstr(R"("id":"a\n\"\\\u0001\t)"
                              "\xc3\xa9"
                              R"(\u0000b")"));
  EXPECT_EQ(line.find('\n'), line.size() - 1);
}

TEST(Encoder, TimeFollowsTheTransaction) {
  Encoder encoder(journal::Epoch{1}, 8 << 20);
  Change change = AChange();
  encoder.Encode(change);
  encoder.Finish(true);
  change.commit_time = 1;
  encoder.Encode(change);
  EXPECT_THAT(std::string(encoder.Finish(true)), HasSubstr("1970-01-01T00:00:00.000001Z"));
}

TEST(Encoder, TooLongALineLosesItsLargestFieldsAndSaysSo) {
  Encoder encoder(journal::Epoch{1}, 4096);
  Change change = AChange();
  std::string data = "\"" + std::string(10'000, 'x') + "\"";
  change.operation.data = data;
  encoder.Encode(change);
  std::string line(encoder.Finish(true));
  EXPECT_THAT(line, HasSubstr(R"("data":null)"));
  EXPECT_THAT(line, EndsWith(R"(}},"omitted":{"data":10002}})"
                             "\n"));
  EXPECT_LE(line.size(), 4096u);
  EXPECT_EQ(encoder.omitted(), 1u);
}

TEST(Encoder, EveryFieldThatCanBeLargeCanBeOmitted) {
  std::string large(10'000, 'x');
  Encoder encoder(journal::Epoch{1}, 4096);
  Change change = AChange();
  change.operation.doc_id = change.operation.collection = change.operation.client_id =
      change.operation.type = large;
  encoder.Encode(change);
  std::string line(encoder.Finish(true));
  EXPECT_LE(line.size(), 4096u);
  EXPECT_THAT(line, HasSubstr(R"("id":"op-1")"));
}

TEST(FormatTime, IsIsoWithMicroseconds) {
  EXPECT_EQ(FormatTime(0), "1970-01-01T00:00:00.000000Z");
  EXPECT_EQ(FormatTime(951868799000001), "2000-02-29T23:59:59.000001Z");
}

}  // namespace
}  // namespace syncflow::feed
