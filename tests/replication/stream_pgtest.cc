#include "replication/stream.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "adapter/schema.h"
#include "replication/pgoutput.h"
#include "replication/preflight.h"
#include "replication/publication.h"
#include "replication/slot.h"
#include "replication/wal2json.h"
#include "tests/support/postgres.h"

namespace syncflow::replication {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

class StreamTest : public ::testing::Test {
 protected:
  void SetUp() override {
    adapter::Connection connection = Connect();
    adapter::CreateSchema(connection, "public", adapter::NotifyMode::kOff);
    connection.Execute("TRUNCATE operations");
  }
  void TearDown() override {
    adapter::Connection connection = Connect();
    connection.Execute(
        "SELECT pg_terminate_backend(active_pid) FROM pg_replication_slots WHERE active; SELECT "
        "pg_sleep(0.2); "
        "SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots WHERE NOT active");
  }

  static adapter::ConnectOptions Options(bool replication) {
    adapter::ConnectOptions options;
    options.url = testing::PrivatePostgres::Shared().url();
    options.replication = replication;
    return options;
  }
  static adapter::Connection Connect(bool replication = false) {
    return adapter::Connection(Options(replication));
  }

  static void Insert(adapter::Connection& connection, const std::string& id) {
    connection.Query(
        "INSERT INTO operations (id, type, collection, doc_id, data, timestamp, client_id, "
        "vector_clock) "
        "VALUES ($1, 'insert', 'todos', 'd', '{\"t\": 1}', 1, 'c', '{\"c\": 1}')",
        {id});
  }

  Stream Open(const std::string& slot, Lsn start = {}) {
    StreamOptions options;
    options.slot = slot;
    options.plugin_options = Wal2JsonOptions("public", "operations");
    options.start = start;
    return Stream(Connect(true), options, probe_);
  }

  // After a stream that ended: its walsender holds the slot for a moment.
  Stream Reopen(const std::string& slot, Lsn start) {
    for (;;) {
      try {
        return Open(slot, start);
      } catch (const adapter::Error& error) {
        if (error.sqlstate() != "55006") throw;
      }
    }
  }

  // Ids of the operations of the next `transactions` transactions that have any.
  std::vector<std::string> Read(Stream& stream, int transactions) {
    Wal2Json decoder;
    return Read(stream, decoder, transactions,
                [](const Change& change) { return std::string(change.operation.id); });
  }

  // What `tell` says of each of their changes.
  std::vector<std::string> Read(Stream& stream, Decoder& decoder, int transactions,
                                const std::function<std::string(const Change&)>& tell) {
    std::vector<std::string> told;
    bool any = false;
    while (transactions > 0) {
      stream.Fill();
      while (auto message = stream.Receive()) {
        auto* data = std::get_if<XLogData>(&*message);
        if (data == nullptr) continue;
        Event event = decoder.Decode(data->payload);
        if (auto* change = std::get_if<Change>(&event)) told.push_back(tell(*change)), any = true;
        if (auto* commit = std::get_if<Commit>(&event)) {
          end_ = commit->end_lsn;
          transactions -= any ? 1 : 0;
          any = false;
        }
      }
      if (transactions > 0) stream.Wait(adapter::Clock::now() + std::chrono::seconds(1), -1);
    }
    return told;
  }

  // Everything a change holds.
  static std::string Everything(const Change& change) {
    std::string text = change.commit_lsn.ToString() + " " + std::to_string(change.index) + " " +
                       std::to_string(change.xid) + " " + std::to_string(change.commit_time) + " ";
    adapter::AppendOperationJson(text, change.operation);
    return text;
  }

  std::string Refusal(const std::function<void()>& action) {
    try {
      action();
    } catch (const adapter::Error& error) {
      return error.Explain();
    }
    return "";
  }

  Probe probe_;
  Lsn end_;
};

TEST_F(StreamTest, CommittedOperationsArriveInCommitOrder) {
  adapter::Connection replication = Connect(true);
  Lsn start = CreateSlot(replication, "order_slot", "wal2json").start;
  adapter::Connection first = Connect();
  adapter::Connection second = Connect();
  first.Execute("BEGIN");
  Insert(first, "began-first");
  Insert(second, "committed-first");
  first.Execute("COMMIT");
  adapter::Connection third = Connect();
  third.Execute("BEGIN");
  Insert(third, "rolled-back");
  third.Execute("ROLLBACK");
  Stream stream = Open("order_slot", start);
  EXPECT_THAT(Read(stream, 2), ElementsAre("committed-first", "began-first"));
  EXPECT_GT(probe_.messages, 0u);
}

TEST_F(StreamTest, UnconfirmedIsSentAgainAndConfirmedIsNot) {
  adapter::Connection replication = Connect(true);
  Lsn start = CreateSlot(replication, "confirm_slot", "wal2json").start;
  adapter::Connection writer = Connect();
  Insert(writer, "one");
  {
    Stream stream = Open("confirm_slot", start);
    EXPECT_THAT(Read(stream, 1), ElementsAre("one"));
    stream.End();
  }
  Insert(writer, "two");
  {
    Stream stream = Reopen("confirm_slot", start);
    EXPECT_THAT(Read(stream, 2), ElementsAre("one", "two"));
    stream.Confirm(end_);
    stream.SendStatus();
    stream.End();
  }
  Insert(writer, "three");
  Stream stream = Reopen("confirm_slot", start);
  EXPECT_THAT(Read(stream, 1), ElementsAre("three"));
}

TEST_F(StreamTest, FindsWhatItCreated) {
  adapter::Connection replication = Connect(true);
  EXPECT_EQ(FindSlot(replication, "found_slot"), std::nullopt);
  Lsn start = CreateSlot(replication, "found_slot", "wal2json").start;
  auto slot = FindSlot(replication, "found_slot");
  ASSERT_TRUE(slot);
  EXPECT_EQ(slot->plugin, "wal2json");
  EXPECT_EQ(slot->confirmed_flush, start);
  EXPECT_FALSE(slot->active_pid);
  EXPECT_NO_THROW(CheckSlot(*slot, "wal2json", IdentifySystem(replication).database));
}

TEST_F(StreamTest, SlotOfAnotherPluginOrDatabaseIsRefusedWithTheRemedy) {
  adapter::Connection replication = Connect(true);
  CreateSlot(replication, "foreign_slot", "test_decoding");
  Slot slot = *FindSlot(replication, "foreign_slot");
  EXPECT_THAT(Refusal([&] { CheckSlot(slot, "wal2json", "postgres"); }),
              HasSubstr("pg_drop_replication_slot('foreign_slot')"));
  slot.plugin = "wal2json";
  EXPECT_THAT(Refusal([&] { CheckSlot(slot, "wal2json", "other"); }), HasSubstr("'postgres'"));
  EXPECT_FALSE(IsInvalidated(slot));
  slot.wal_status = "lost";
  EXPECT_TRUE(IsInvalidated(slot));
}

TEST_F(StreamTest, SlotInUseIsRefusedAndFreeAgainLater) {
  adapter::Connection replication = Connect(true);
  Lsn start = CreateSlot(replication, "busy_slot", "wal2json").start;
  {
    Stream stream = Open("busy_slot", start);
    try {
      Open("busy_slot", start);
      ADD_FAILURE() << "two streams on one slot";
    } catch (const adapter::Error& error) {
      EXPECT_EQ(error.sqlstate(), "55006");
    }
    stream.End();
  }
  Reopen("busy_slot", start);
}

TEST_F(StreamTest, TerminatedWalsenderIsAnErrorThatWantsAReconnect) {
  adapter::Connection replication = Connect(true);
  Stream stream = Open("killed_slot", CreateSlot(replication, "killed_slot", "wal2json").start);
  adapter::Connection killer = Connect();
  killer.Execute(
      "SELECT pg_terminate_backend(active_pid) FROM pg_replication_slots WHERE slot_name = "
      "'killed_slot'");
  try {
    for (;;) {
      stream.Wait(adapter::Clock::now() + std::chrono::seconds(1), -1);
      stream.Fill();
      stream.Receive();
    }
  } catch (const adapter::Error& error) {
    EXPECT_TRUE(error.NeedsReconnect()) << error.what();
  }
}

TEST_F(StreamTest, PositionsThatWouldLieAreNeverSent) {
  adapter::Connection replication = Connect(true);
  Stream stream = Open("assert_slot", CreateSlot(replication, "assert_slot", "wal2json").start);
  EXPECT_DEATH(stream.Confirm(Lsn(UINT64_MAX)), "nothing is confirmed that was not received");
}

// NULLs, texts that JSON escapes, numbers beyond a double, a column more and one less while the
// streams run, other tables in the same transaction.
TEST_F(StreamTest, BothPluginsSayTheSame) {
  adapter::Connection replication = Connect(true);
  adapter::Connection sql = Connect();
  CreatePublication(replication, "each_slot", "public", "operations");
  Stream json = Open("json_slot", CreateSlot(replication, "json_slot", "wal2json").start);
  StreamOptions options;
  options.slot = "binary_slot";
  options.plugin_options = PgOutputOptions("each_slot");
  options.start = CreateSlot(replication, "binary_slot", "pgoutput").start;
  Stream binary(Connect(true), options, probe_);
  auto insert = [&](const std::string& id, const std::string& rest) {
    sql.Execute(
        "INSERT INTO operations (id, type, collection, doc_id, data, timestamp, client_id, "
        "synced, vector_clock) VALUES ('" +
        id + "', 'update', 'tödös 😀', E'a\\\\b\"\\n\\x01', " + rest +
        ", 'c', NULL, '{\"c\": 9007199254740993}')");
  };
  insert("plain", R"('{"n": 12345678901234567890.50, "s": "\u0001\" / \\"}', 9223372036854775807)");
  sql.Execute(
      "BEGIN; INSERT INTO documents (id, collection, data, vector_clock, updated_at) VALUES "
      "('d', 'c', '{}', '{}', 1)");
  insert("null", "NULL, -1");
  insert("array", "'[1, null, \"x\"]', 0");
  sql.Execute("COMMIT; ALTER TABLE operations ADD COLUMN added int DEFAULT 7");
  insert("added", "'{}', 1");
  sql.Execute("ALTER TABLE operations DROP COLUMN added");
  insert("dropped", "'\"\"', 1");
  sql.Execute("UPDATE operations SET synced = true; DELETE FROM operations");
  insert("last", "'{}', 1");
  Wal2Json wal2json;
  PgOutput pgoutput("public", "operations");
  std::vector<std::string> told = Read(json, wal2json, 5, Everything);
  EXPECT_EQ(told.size(), 6u);
  EXPECT_EQ(Read(binary, pgoutput, 5, Everything), told);
  sql.Execute("DROP PUBLICATION each_slot; DELETE FROM documents");
}

TEST_F(StreamTest, PublicationThatLeavesSomethingOutIsRefusedWithTheRemedy) {
  adapter::Connection replication = Connect(true);
  adapter::Connection sql = Connect();
  auto refusal = [&] {
    return Refusal([&] { CheckPublication(replication, "pub's", "public", "operations"); });
  };
  EXPECT_THAT(refusal(), HasSubstr("CREATE PUBLICATION \"pub's\" FOR TABLE ONLY"));
  std::pair<const char*, const char*> cases[] = {
      {"CREATE PUBLICATION \"pub's\"", "ADD TABLE ONLY"},
      {"CREATE PUBLICATION \"pub's\" FOR ALL TABLES WITH (publish = 'update')", "SET (publish"},
      {"CREATE PUBLICATION \"pub's\" FOR TABLE operations WHERE (id > 'a')", "SET TABLE ONLY"},
      {"CREATE PUBLICATION \"pub's\" FOR TABLE operations (id, type)", "SET TABLE ONLY"}};
  for (const auto& [create, remedy] : cases) {
    sql.Execute(create);
    EXPECT_THAT(refusal(), HasSubstr(remedy)) << create;
    sql.Execute("DROP PUBLICATION \"pub's\"");
  }
  CreatePublication(replication, "pub's", "public", "operations");
  CreatePublication(replication, "pub's", "public", "operations");
  EXPECT_EQ(refusal(), "");
  sql.Execute("DROP PUBLICATION \"pub's\"");
}

TEST_F(StreamTest, PreflightNamesWhatMakesTheFeedIncomplete) {
  adapter::Connection replication = Connect(true);
  adapter::Connection sql = Connect();
  EXPECT_NO_THROW(Preflight(replication, "public", "operations"));
  EXPECT_THAT(Refusal([&] { Preflight(replication, "public", "absent"); }),
              HasSubstr("syncflow-sidecar init"));
  sql.Execute("CREATE UNLOGGED TABLE volatile_ops (id text)");
  EXPECT_THAT(Refusal([&] { Preflight(replication, "public", "volatile_ops"); }),
              HasSubstr("SET LOGGED"));
  sql.Execute("CREATE TABLE parted (id text) PARTITION BY LIST (id)");
  EXPECT_THAT(Refusal([&] { Preflight(replication, "public", "parted"); }),
              HasSubstr("ordinary table"));
  sql.Execute("CREATE TABLE plain_json (id text, data json, vector_clock jsonb)");
  EXPECT_THAT(Refusal([&] { Preflight(replication, "public", "plain_json"); }),
              HasSubstr("TYPE jsonb"));
  sql.Execute("DROP TABLE volatile_ops, parted, plain_json");
}

}  // namespace
}  // namespace syncflow::replication
