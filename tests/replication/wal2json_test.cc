#include "replication/wal2json.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "replication/error.h"

namespace syncflow::replication {
namespace {

const std::string kBegin =
    R"({"action":"B","xid":727,"timestamp":"1970-01-01 00:00:01.5+00","lsn":"0/153C828","nextlsn":"0/153C858"})";
const std::string kCommit =
    R"({"action":"C","xid":727,"timestamp":"1970-01-01 00:00:01.5+00","lsn":"0/153C828","nextlsn":"0/153C858"})";
const std::string kInsert =
    R"({"action":"I","xid":727,"timestamp":"1970-01-01 00:00:01.5+00","lsn":"0/153C4A8","schema":"public",)"
    R"("table":"operations","columns":[{"name":"id","value":"a\"b\né\u0001"},{"name":"type","value":"insert"},)"
    R"({"name":"collection","value":"todos"},{"name":"doc_id","value":"d"},)"
    R"({"name":"data","value":"{\"n\": 12345678901234567890.50, \"t\": \"x\\\"y\"}"},)"
    R"({"name":"timestamp","value":9007199254740993},{"name":"client_id","value":"c"},)"
    R"({"name":"synced","value":null},{"name":"vector_clock","value":"{\"c\": 1}"},)"
    R"({"name":"received_at","value":"2026-11-23 09:14:20.338755"}]})";

class Wal2JsonTest : public ::testing::Test {
 protected:
  Event Decode(const std::string& payload) { return decoder_.Decode(payload); }
  Change Insert(const std::string& payload = kInsert) { return std::get<Change>(Decode(payload)); }
  std::string Refusal(const std::string& payload) {
    try {
      Decode(payload);
    } catch (const DecodeError& error) {
      return error.what();
    }
    return "";
  }
  static std::string Replace(std::string text, const std::string& from, const std::string& to) {
    size_t at = text.find(from);
    EXPECT_NE(at, std::string::npos) << from;
    return text.replace(at, from.size(), to);
  }

  Wal2Json decoder_;
};

TEST_F(Wal2JsonTest, BeginAndCommitCarryTheCommitRecord) {
  auto begin = std::get<Begin>(Decode(kBegin));
  EXPECT_EQ(begin.commit_lsn, Lsn(0x153C828));
  EXPECT_EQ(begin.xid, 727u);
  auto commit = std::get<Commit>(Decode(kCommit));
  EXPECT_EQ(commit.commit_lsn, Lsn(0x153C828));
  EXPECT_EQ(commit.end_lsn, Lsn(0x153C858));
}

TEST_F(Wal2JsonTest, InsertBecomesAnOperationWithTextsAsPostgresHoldsThem) {
  Decode(kBegin);
  Change change = Insert();
  EXPECT_EQ(change.operation.id, "a\"b\né\x01");
  EXPECT_EQ(change.operation.type, "insert");
  EXPECT_EQ(change.operation.collection, "todos");
  EXPECT_EQ(change.operation.doc_id, "d");
  EXPECT_EQ(change.operation.data, R"({"n": 12345678901234567890.50, "t": "x\"y"})");
  EXPECT_EQ(change.operation.timestamp, 9007199254740993);
  EXPECT_EQ(change.operation.client_id, "c");
  EXPECT_FALSE(change.operation.synced);
  EXPECT_EQ(change.operation.vector_clock, R"({"c": 1})");
  EXPECT_EQ(change.commit_time, 1500000);
  EXPECT_EQ(change.xid, 727u);
}

TEST_F(Wal2JsonTest, PositionIsTheCommitRecordAndACount) {
  Decode(kBegin);
  EXPECT_EQ(Insert().index, 0u);
  Change second = Insert(Replace(kInsert, "0/153C4A8", "0/1"));
  EXPECT_EQ(second.index, 1u);
  EXPECT_EQ(second.commit_lsn, Lsn(0x153C828));
}

TEST_F(Wal2JsonTest, CountStartsAnewWithEachTransaction) {
  Decode(kBegin);
  Insert();
  Decode(kCommit);
  Decode(kBegin);
  EXPECT_EQ(Insert().index, 0u);
}

TEST_F(Wal2JsonTest, SyncedIsWhatTheRowSays) {
  Decode(kBegin);
  for (bool synced : {true, false}) {
    std::string row = Replace(kInsert, R"("synced","value":null)",
                              R"("synced","value":)" + std::string(synced ? "true" : "false"));
    EXPECT_EQ(Insert(row).operation.synced, synced);
  }
}

// A later wal2json may write them in another order, with more between them.
TEST_F(Wal2JsonTest, OrderOfFieldsDoesNotMatter) {
  Decode(
      R"({"origin":1,"nextlsn":"0/153C858","lsn":"0/153C828","timestamp":"1970-01-01 00:00:01.5+00","xid":727,"action":"B"})");
  std::string columns = kInsert.substr(kInsert.find("\"columns\""));
  columns.pop_back();
  Change change = Insert(Replace(
      "{" + columns + R"(,"table":"operations","schema":"public","xid":1,"action":"I"})",
      R"({"name":"doc_id","value":"d"})", R"({"value":"d","type":"text","name":"doc_id"})"));
  EXPECT_EQ(change.operation.doc_id, "d");
  EXPECT_EQ(change.operation.id, "a\"b\né\x01");
  EXPECT_EQ(change.xid, 727u);
  EXPECT_EQ(change.commit_time, 1500000);
  auto commit = std::get<Commit>(Decode(
      R"({"nextlsn" : "0/153C858" , "timestamp":"later", "lsn" : "0/153C828" , "action" : "C" })"));
  EXPECT_EQ(commit.end_lsn, Lsn(0x153C858));
}

TEST_F(Wal2JsonTest, EmptyTextsAreTexts) {
  Decode(kBegin);
  Change change = Insert(
      Replace(Replace(kInsert, R"("d")", R"("")"), R"("c"},{"name":"s)", R"("\\"},{"name":"s)"));
  EXPECT_EQ(change.operation.doc_id, "");
  EXPECT_EQ(change.operation.client_id, "\\");
}

TEST_F(Wal2JsonTest, ValueOfAnotherKindIsRefused) {
  for (const char* value : {"null", "7", "true", "[]", "{}"}) {
    Wal2Json fresh;
    fresh.Decode(kBegin);
    EXPECT_THROW(
        fresh.Decode(Replace(kInsert, R"("value":"d")", R"("value":)" + std::string(value))),
        DecodeError)
        << value;
  }
  for (const char* field :
       {R"("lsn":"0/153C828",)", R"("timestamp":"1970-01-01 00:00:01.5+00",)", R"("action":"B",)"})
    EXPECT_NE(Refusal(Replace(kBegin, field, "")), "") << field;
}

TEST_F(Wal2JsonTest, NullDataIsAbsentAndDoesNotRememberTheLastRow) {
  Decode(kBegin);
  Insert();
  std::string without =
      Replace(kInsert, R"("{\"n\": 12345678901234567890.50, \"t\": \"x\\\"y\"}")", "null");
  EXPECT_EQ(Insert(without).operation.data, std::nullopt);
}

TEST_F(Wal2JsonTest, ActionsOfOtherKindsAreNotTheFeeds) {
  for (const char* action : {"U", "D", "T", "M"}) {
    EXPECT_TRUE(std::holds_alternative<Other>(
        Decode(Replace(kBegin, R"("B")", std::string("\"") + action + "\""))));
  }
}

TEST_F(Wal2JsonTest, MessageOutsideATransactionIsNotTheFeeds) {
  EXPECT_TRUE(std::holds_alternative<Other>(Decode(
      R"({"action":"M","xid":null,"timestamp":null,"lsn":"0/1500840","transactional":false,"prefix":"p","content":"hello"})")));
}

TEST_F(Wal2JsonTest, MissingColumnIsNamed) {
  Decode(kBegin);
  EXPECT_THAT(Refusal(Replace(kInsert, R"({"name":"doc_id","value":"d"},)", "")),
              ::testing::HasSubstr("'doc_id'"));
}

TEST_F(Wal2JsonTest, ChangeOutsideATransactionIsRefused) {
  EXPECT_NE(Refusal(kInsert), "");
}

TEST_F(Wal2JsonTest, NestedBeginAndForeignCommitAreRefused) {
  EXPECT_NE(Refusal(kCommit), "");
  Decode(kBegin);
  EXPECT_NE(Refusal(kBegin), "");
  EXPECT_NE(Refusal(Replace(kCommit, "0/153C828", "0/153C829")), "");
}

TEST_F(Wal2JsonTest, EveryCutOfAMessageIsRefused) {
  for (const std::string* message : {&kBegin, &kInsert}) {
    for (size_t length = 0; length < message->size(); ++length) {
      Wal2Json fresh;
      if (message == &kInsert) fresh.Decode(kBegin);
      EXPECT_THROW(fresh.Decode(std::string_view(*message).substr(0, length)), DecodeError)
          << length;
    }
  }
}

// What a longer message left behind it in the decoder's memory does not complete it.
TEST_F(Wal2JsonTest, EveryCutBehindTheWholeMessageIsRefused) {
  Decode(kBegin);
  for (size_t length = 0; length < kInsert.size(); ++length) {
    Insert();
    EXPECT_NE(Refusal(kInsert.substr(0, length)), "") << length;
  }
}

TEST_F(Wal2JsonTest, FlippedBytesNeverCrash) {
  size_t refused = 0;
  for (size_t at = 0; at < kInsert.size(); ++at) {
    for (int bit = 0; bit < 8; ++bit) {
      std::string damaged = kInsert;
      damaged[at] = static_cast<char>(damaged[at] ^ (1 << bit));
      Wal2Json fresh;
      fresh.Decode(kBegin);
      try {
        fresh.Decode(damaged);
      } catch (const DecodeError&) {
        ++refused;
      }
    }
  }
  EXPECT_GT(refused, kInsert.size());
}

TEST_F(Wal2JsonTest, MessageFarLargerThanTheLastIsRead) {
  Decode(kBegin);
  std::string text(8 << 20, 'x');
  Change change = Insert(Replace(kInsert, R"(x\\\"y)", text));
  EXPECT_GT(change.operation.data->size(), text.size());
}

TEST(Wal2JsonOptions, NamesAreEscapedForItsTableList) {
  EXPECT_THAT(Wal2JsonOptions("public", "operations"), ::testing::HasSubstr("'public.operations'"));
  EXPECT_THAT(Wal2JsonOptions("My, s.x'", "t"), ::testing::HasSubstr(R"('My\,\ s\.x\''.t')"));
  EXPECT_THAT(Wal2JsonOptions("\u00fcber_all", "t2"), ::testing::HasSubstr("'\u00fcber_all.t2'"));
}

}  // namespace
}  // namespace syncflow::replication
