#include "replication/pgoutput.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <optional>
#include <vector>

#include "replication/error.h"

namespace syncflow::replication {
namespace {

using ::testing::HasSubstr;

std::string Integer(uint64_t value, int bytes) {
  std::string out;
  for (int shift = (bytes - 1) * 8; shift >= 0; shift -= 8)
    out.push_back(static_cast<char>(value >> shift));
  return out;
}

std::string Text(const std::string& text) {
  return text + '\0';
}

const std::string kBegin = "B" + Integer(0x153C828, 8) + Integer(1'500'000, 8) + Integer(727, 4);
const std::string kCommit =
    "C" + Integer(0, 1) + Integer(0x153C828, 8) + Integer(0x153C858, 8) + Integer(1'500'000, 8);
const std::vector<std::string> kNames = {"id",           "type",       "collection", "doc_id",
                                         "data",         "timestamp",  "client_id",  "synced",
                                         "vector_clock", "received_at"};
constexpr size_t kDataColumn = 4;
constexpr size_t kTimestampColumn = 5;
constexpr size_t kSyncedColumn = 7;

std::string Relation(uint32_t id, const std::string& schema, const std::string& table,
                     const std::vector<std::string>& names = kNames) {
  std::string out =
      "R" + Integer(id, 4) + Text(schema) + Text(table) + "d" + Integer(names.size(), 2);
  for (const std::string& name : names) out += Integer(0, 1) + Text(name) + Integer(25, 8);
  return out;
}

using Row = std::vector<std::optional<std::string>>;

Row Operation() {
  return {"a\"b\né",          "insert", "todos", "d",           R"({"n": 12345678901234567890.50})",
          "9007199254740993", "c",      "t",     R"({"c": 1})", "2026-11-23 09:14:20.338755"};
}

std::string Insert(uint32_t relation, const Row& row) {
  std::string out = "I" + Integer(relation, 4) + "N" + Integer(row.size(), 2);
  for (const auto& value : row)
    out += value ? "t" + Integer(value->size(), 4) + *value : std::string("n");
  return out;
}

class PgOutputTest : public ::testing::Test {
 protected:
  // The payload stays, since a change borrows from it.
  Event Decode(const std::string& payload) { return decoder_.Decode(payload_ = payload); }
  Change Take(const Row& row) { return std::get<Change>(Decode(Insert(7, row))); }
  void Begin() {
    Decode(kBegin);
    Decode(Relation(7, "public", "operations"));
  }
  std::string Refusal(const std::string& payload) {
    try {
      Decode(payload);
    } catch (const DecodeError& error) {
      return error.what();
    }
    return "";
  }

  std::string payload_;
  PgOutput decoder_{"public", "operations"};
};

TEST_F(PgOutputTest, BeginAndCommitCarryTheCommitRecord) {
  auto begin = std::get<replication::Begin>(Decode(kBegin));
  EXPECT_EQ(begin.commit_lsn, Lsn(0x153C828));
  EXPECT_EQ(begin.xid, 727u);
  auto commit = std::get<Commit>(Decode(kCommit));
  EXPECT_EQ(commit.commit_lsn, Lsn(0x153C828));
  EXPECT_EQ(commit.end_lsn, Lsn(0x153C858));
}

// PostgreSQL's own calendar goes on much longer; a line has four digits for a year.
TEST(PgOutput, CommitTimeThatALineCannotNameIsRefused) {
  auto begin = [](int64_t since_2000) {
    PgOutput("public", "operations")
        .Decode("B" + Integer(0x153C828, 8) + Integer(static_cast<uint64_t>(since_2000), 8) +
                Integer(727, 4));
  };
  constexpr int64_t kEnd = 253'402'300'800'000'000 - 946'684'800'000'000;
  constexpr int64_t kStart = -62'167'219'200'000'000 - 946'684'800'000'000;
  for (int64_t time : {kEnd, kStart - 1, INT64_MAX, INT64_MIN})
    EXPECT_THROW(begin(time), DecodeError) << time;
  EXPECT_NO_THROW(begin(kEnd - 1));
  EXPECT_NO_THROW(begin(kStart));
}

TEST_F(PgOutputTest, InsertBecomesAnOperationWithTextsAsPostgresHoldsThem) {
  Begin();
  Change change = Take(Operation());
  EXPECT_EQ(change.operation.id, "a\"b\né");
  EXPECT_EQ(change.operation.type, "insert");
  EXPECT_EQ(change.operation.collection, "todos");
  EXPECT_EQ(change.operation.doc_id, "d");
  EXPECT_EQ(change.operation.data, R"({"n": 12345678901234567890.50})");
  EXPECT_EQ(change.operation.timestamp, 9007199254740993);
  EXPECT_EQ(change.operation.client_id, "c");
  EXPECT_TRUE(change.operation.synced);
  EXPECT_EQ(change.operation.vector_clock, R"({"c": 1})");
  EXPECT_EQ(change.commit_lsn, Lsn(0x153C828));
  EXPECT_EQ(change.commit_time, 946'684'800'000'000 + 1'500'000);
  EXPECT_EQ(change.xid, 727u);
}

TEST_F(PgOutputTest, NullStaysNullOnlyWhereTheTableAllowsIt) {
  Begin();
  Take(Operation());
  Row row = Operation();
  row[kDataColumn] = row[kSyncedColumn] = std::nullopt;
  Change change = Take(row);
  EXPECT_EQ(change.operation.data, std::nullopt) << "the row before had one";
  EXPECT_FALSE(change.operation.synced);
  row[kTimestampColumn] = std::nullopt;
  EXPECT_THAT(Refusal(Insert(7, row)), HasSubstr("NOT NULL"));
}

TEST_F(PgOutputTest, CountStartsAnewWithEachTransaction) {
  Begin();
  EXPECT_EQ(Take(Operation()).index, 0u);
  EXPECT_EQ(Take(Operation()).index, 1u);
  Decode(kCommit);
  Decode(kBegin);
  EXPECT_EQ(Take(Operation()).index, 0u);
}

TEST_F(PgOutputTest, OtherTablesOfThePublicationAreNotCounted) {
  Begin();
  Decode(Relation(8, "public", "documents", {"id"}));
  Decode(Relation(9, "elsewhere", "operations"));
  EXPECT_TRUE(std::holds_alternative<Other>(Decode(Insert(8, {"x"}))));
  EXPECT_TRUE(std::holds_alternative<Other>(Decode(Insert(9, Operation()))));
  EXPECT_EQ(Take(Operation()).index, 0u);
}

TEST_F(PgOutputTest, AlteredTableIsDescribedAnew) {
  Begin();
  Take(Operation());
  std::vector<std::string> names = kNames;
  names.insert(names.begin(), "added");
  Decode(Relation(7, "public", "operations", names));
  Row row = Operation();
  row.insert(row.begin(), "x");
  EXPECT_EQ(Take(row).operation.doc_id, "d");
  EXPECT_THAT(Refusal(Insert(7, Operation())), HasSubstr("does not fit"));
}

TEST_F(PgOutputTest, MissingColumnIsNamed) {
  std::vector<std::string> names = kNames;
  names.erase(names.begin() + kDataColumn);
  EXPECT_THAT(Refusal(Relation(7, "public", "operations", names)), HasSubstr("'data'"));
}

TEST_F(PgOutputTest, OutOfTurnIsRefused) {
  EXPECT_THAT(Refusal(kCommit), HasSubstr("did not begin"));
  EXPECT_THAT(Refusal(Insert(7, Operation())), HasSubstr("outside a transaction"));
  Decode(kBegin);
  EXPECT_THAT(Refusal(kBegin), HasSubstr("inside another"));
  EXPECT_THAT(Refusal(Insert(7, Operation())), HasSubstr("did not describe"));
}

TEST_F(PgOutputTest, WhatTheFeedDoesNotCarryIsOther) {
  for (const char* kind : {"U", "D", "T", "Y", "O", "M", "A"})
    EXPECT_TRUE(std::holds_alternative<Other>(Decode(kind))) << kind;
  EXPECT_THAT(Refusal("?"), HasSubstr("unknown kind"));
}

TEST_F(PgOutputTest, EveryCutAndEveryExcessIsRefused) {
  auto refused = [](const std::vector<std::string>& before, const std::string& message) {
    PgOutput decoder("public", "operations");
    for (const std::string& one : before) decoder.Decode(one);
    try {
      decoder.Decode(message);
      return false;
    } catch (const DecodeError&) {
      return true;
    }
  };
  std::string relation = Relation(7, "public", "operations");
  std::string insert = Insert(7, Operation());
  std::pair<std::vector<std::string>, std::string> cases[] = {
      {{}, kBegin}, {{kBegin}, kCommit}, {{kBegin}, relation}, {{kBegin, relation}, insert}};
  for (const auto& [before, message] : cases) {
    ASSERT_FALSE(refused(before, message)) << message[0];
    for (size_t length = 0; length < message.size(); ++length)
      EXPECT_TRUE(refused(before, message.substr(0, length))) << message[0] << " at " << length;
  }
  EXPECT_TRUE(refused({}, kBegin + "x"));
  EXPECT_TRUE(refused({kBegin}, kCommit + "x"));
  EXPECT_TRUE(refused({kBegin, relation}, insert + "x"));
}

TEST_F(PgOutputTest, TextThatIsNoTimestampIsRefused) {
  Begin();
  for (const char* text : {"", "x", "1.5", "99999999999999999999", "1 "}) {
    Row row = Operation();
    row[kTimestampColumn] = text;
    EXPECT_THAT(Refusal(Insert(7, row)), HasSubstr("timestamp")) << text;
  }
}

TEST(PgOutputOptions, NameIsQuotedTwice) {
  EXPECT_EQ(PgOutputOptions("a\"b'c"), R"(("proto_version" '1', "publication_names" '"a""b''c"'))");
}

}  // namespace
}  // namespace syncflow::replication
