#include "adapter/schema.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <thread>

#include "adapter/listener.h"
#include "tests/support/postgres.h"

namespace syncflow::adapter {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::SizeIs;

// Each test has a database of its own.
class Schema : public ::testing::Test {
 protected:
  static Connection ConnectToNewDatabase() {
    Connection admin = Connect("postgres");
    admin.Execute("DROP DATABASE IF EXISTS shop WITH (FORCE)");
    admin.Execute("CREATE DATABASE shop");
    return Connect();
  }

  static Connection Connect(const std::string& database = "shop",
                            const std::string& role = "postgres") {
    ConnectOptions options;
    options.url = "postgresql://" + role +
                  "@127.0.0.1:" + std::to_string(testing::PrivatePostgres::Shared().port()) + "/" +
                  database;
    options.timeout = std::chrono::seconds(120);
    return Connection(options);
  }

  static std::string Ask(Connection& connection, const std::string& sql) {
    Result result = connection.Execute(sql);
    return result.rows() == 0 ? "" : std::string(result.Get(0, 0));
  }

  static std::vector<std::string> Column(Connection& connection, const std::string& sql) {
    Result result = connection.Execute(sql);
    std::vector<std::string> column;
    for (int row = 0; row < result.rows(); ++row) column.emplace_back(result.Get(row, 0));
    return column;
  }

  // Identity of every object: it changes when one is dropped and made again, or altered.
  static std::vector<std::string> Objects(Connection& connection) {
    return Column(
        connection,
        "SELECT 'class ' || oid || ' ' || xmin FROM pg_class WHERE oid >= 16384 UNION ALL "
        "SELECT 'proc ' || oid || ' ' || xmin FROM pg_proc WHERE oid >= 16384 UNION ALL "
        "SELECT 'trigger ' || oid || ' ' || xmin FROM pg_trigger ORDER BY 1");
  }

  static void Insert(Connection& connection, const std::string& table, const std::string& id,
                     const std::string& collection = "todos") {
    connection.Query("INSERT INTO " + table +
                         " (id, type, collection, doc_id, timestamp, client_id, vector_clock) "
                         "VALUES ($1, 'insert', $2, 'd1', 1, 'c', '{}')",
                     {id, collection});
  }

  // Payloads that were sent before now on `listening`.
  static std::vector<std::string> Heard(Connection& listening) {
    listening.Execute("");
    std::vector<std::string> payloads;
    while (auto notification = listening.NextNotification())
      payloads.push_back(notification->payload);
    return payloads;
  }

  static Connection Listening() {
    Connection connection = Connect();
    connection.Execute("LISTEN operation_inserted");
    return connection;
  }

  Connection connection_ = ConnectToNewDatabase();
};

constexpr const char* kTrigger =
    "SELECT count(*) FROM pg_trigger WHERE tgname = 'operation_insert_trigger'";

TEST_F(Schema, HasTheColumnsOfTheReference) {
  CreateSchema(connection_, "public", NotifyMode::kTrigger);
  auto columns = [this](const std::string& table) {
    return Ask(
        connection_,
        "SELECT string_agg(concat_ws(' ', attname, format_type(atttypid, atttypmod), CASE WHEN "
        "attnotnull THEN 'not null' END, pg_get_expr(adbin, adrelid)), ', ' ORDER BY attnum) "
        "FROM pg_attribute LEFT JOIN pg_attrdef ON adrelid = attrelid AND adnum = attnum WHERE "
        "attnum > 0 AND attrelid = 'public." +
            table + "'::regclass");
  };
  EXPECT_EQ(columns("operations"),
            "id text not null, type text not null, collection text not null, doc_id text not null, "
            "data jsonb, timestamp bigint not null, client_id text not null, synced boolean false, "
            "vector_clock jsonb not null, received_at timestamp without time zone now()");
  EXPECT_EQ(
      columns("documents"),
      "id text not null, collection text not null, data jsonb not null, rev integer 1, deleted "
      "boolean false, vector_clock jsonb not null, updated_at bigint not null");
}

TEST_F(Schema, HasTheIndexesOfTheReference) {
  CreateSchema(connection_, "public", NotifyMode::kTrigger);
  EXPECT_THAT(Column(connection_,
                     "SELECT regexp_replace(indexdef, '.* INDEX (.*) USING btree', '\\1') FROM "
                     "pg_indexes WHERE schemaname = 'public' ORDER BY 1"),
              ElementsAre("documents_pkey ON public.documents (collection, id)",
                          "idx_docs_collection ON public.documents (collection)",
                          "idx_docs_updated ON public.documents (updated_at)",
                          "idx_ops_client ON public.operations (client_id, \"timestamp\")",
                          "idx_ops_timestamp ON public.operations (\"timestamp\", synced)",
                          "operations_pkey ON public.operations (id)"));
  EXPECT_EQ(Ask(connection_, "SELECT nextval('public.operation_seq')"), "1");
}

TEST_F(Schema, CreatedTwiceTouchesNothing) {
  CreateSchema(connection_, "public", NotifyMode::kTrigger);
  auto before = Objects(connection_);
  CreateSchema(connection_, "public", NotifyMode::kTrigger);
  EXPECT_EQ(Objects(connection_), before);
}

TEST_F(Schema, ThatIsThereIsNotWaitedForWhileWritersHoldIt) {
  CreateSchema(connection_, "public", NotifyMode::kTrigger);
  Connection writer = Connect();
  writer.Execute("BEGIN; LOCK TABLE public.operations, public.documents IN ROW EXCLUSIVE MODE");
  CreateSchema(connection_, "public", NotifyMode::kTrigger);
  writer.Execute("LOCK TABLE public.operations, public.documents IN ACCESS EXCLUSIVE MODE");
  CreateSchema(connection_, "public", NotifyMode::kTrigger);
}

TEST_F(Schema, GivesUpRatherThanQueueWritersBehindIt) {
  CreateSchema(connection_, "public", NotifyMode::kOff);
  Connection writer = Connect();
  writer.Execute("BEGIN; LOCK TABLE public.operations IN ROW EXCLUSIVE MODE");
  try {
    CreateSchema(connection_, "public", NotifyMode::kTrigger);
    FAIL() << "the trigger was created under the writer's lock";
  } catch (const Error& error) {
    EXPECT_EQ(error.sqlstate(), "55P03");
  }
  writer.Execute("COMMIT");
  CreateSchema(connection_, "public", NotifyMode::kTrigger);
  EXPECT_EQ(Ask(connection_, kTrigger), "1");
}

TEST_F(Schema, IsCreatedByManyStartersAtOnce) {
  std::vector<std::string> failures(8);
  std::vector<std::thread> starters;
  for (std::string& failure : failures) {
    starters.emplace_back([&failure] {
      try {
        Connection connection = Connect();
        CreateSchema(connection, "raced", NotifyMode::kTrigger);
      } catch (const Error& error) {
        failure = error.Explain();
      }
    });
  }
  for (std::thread& starter : starters) starter.join();
  EXPECT_THAT(failures, ::testing::Each(IsEmpty()));
  EXPECT_TRUE(HasSchema(connection_, "raced"));
}

TEST_F(Schema, TakesAnyName) {
  for (std::string name :
       {"My \"sch'ema", "back\\slash", "'; DROP TABLE x; --", "$$", "select", "é"}) {
    CreateSchema(connection_, name, NotifyMode::kTrigger);
    CreateSchema(connection_, name, NotifyMode::kTrigger);
    EXPECT_TRUE(HasSchema(connection_, name)) << name;
    Connection listening = Listening();
    Insert(connection_, connection_.QuoteIdentifier(name) + ".operations", "o1");
    EXPECT_THAT(Heard(listening), SizeIs(1)) << name;
  }
}

TEST_F(Schema, IsCreatedWhateverTheRoleHasSet) {
  connection_.Execute(
      "CREATE SCHEMA trap; CREATE DOMAIN trap.text AS int; CREATE DOMAIN trap.jsonb AS int; ALTER "
      "DATABASE shop SET search_path = trap, pg_catalog; ALTER DATABASE shop SET "
      "default_transaction_isolation = serializable; ALTER DATABASE shop SET "
      "default_transaction_read_only = on; ALTER DATABASE shop SET standard_conforming_strings = "
      "off");
  Connection odd = Connect();
  CreateSchema(odd, "back\\slash", NotifyMode::kTrigger);
  EXPECT_TRUE(HasSchema(odd, "back\\slash"));
  EXPECT_THAT(
      Column(connection_,
             "SELECT DISTINCT atttypid::regtype FROM pg_attribute JOIN pg_class c ON c.oid = "
             "attrelid WHERE attname = 'vector_clock' AND relname IN ('operations', "
             "'documents')"),
      ElementsAre("jsonb"));
}

TEST_F(Schema, CompletesWhatIsPartlyThere) {
  CreateSchema(connection_, "public", NotifyMode::kTrigger);
  connection_.Execute(
      "DROP INDEX idx_ops_client; DROP SEQUENCE operation_seq; DROP TABLE documents; DROP TRIGGER "
      "operation_insert_trigger ON operations");
  EXPECT_FALSE(HasSchema(connection_, "public"));
  CreateSchema(connection_, "public", NotifyMode::kTrigger);
  EXPECT_TRUE(HasSchema(connection_, "public"));
  EXPECT_EQ(Ask(connection_, kTrigger), "1");
  EXPECT_EQ(Ask(connection_, "SELECT count(*) FROM pg_indexes WHERE schemaname = 'public'"), "6");
}

TEST_F(Schema, IsReadyForARoleThatMayOnlyRead) {
  CreateSchema(connection_, "public", NotifyMode::kTrigger);
  connection_.Execute(
      "DROP ROLE IF EXISTS reader; CREATE ROLE reader LOGIN; REVOKE ALL ON SCHEMA public FROM "
      "PUBLIC; "
      "GRANT USAGE ON SCHEMA public TO reader");
  Connection reader = Connect("shop", "reader");
  CreateSchema(reader, "public", NotifyMode::kTrigger);
  EXPECT_TRUE(HasSchema(reader, "public"));
}

TEST_F(Schema, LeavesTheConnectionUsableAfterAFailure) {
  connection_.Execute("DROP ROLE IF EXISTS stranger; CREATE ROLE stranger LOGIN");
  Connection stranger = Connect("shop", "stranger");
  EXPECT_THROW(CreateSchema(stranger, "elsewhere", NotifyMode::kTrigger), Error);
  EXPECT_EQ(Ask(stranger, "SELECT 1"), "1");
  EXPECT_FALSE(HasSchema(stranger, "elsewhere"));
}

TEST_F(Schema, ThatLacksAColumnIsNone) {
  CreateSchema(connection_, "public", NotifyMode::kOff);
  EXPECT_TRUE(HasSchema(connection_, "public"));
  EXPECT_FALSE(HasSchema(connection_, "elsewhere"));
  connection_.Execute("ALTER TABLE public.operations DROP COLUMN vector_clock");
  EXPECT_FALSE(HasSchema(connection_, "public"));
}

// ---- the trigger ----

TEST_F(Schema, TriggerAnnouncesEachOperation) {
  CreateSchema(connection_, "public", NotifyMode::kTrigger);
  Connection listening = Listening();
  Insert(connection_, "public.operations", "o1", "to\"dos");
  auto heard = Heard(listening);
  ASSERT_THAT(heard, SizeIs(1));
  auto notice = ParseOperationNotice(heard[0]);
  ASSERT_TRUE(notice) << heard[0];
  EXPECT_EQ(notice->id, "o1");
  EXPECT_EQ(notice->type, "insert");
  EXPECT_EQ(notice->collection, "to\"dos");
  EXPECT_EQ(notice->doc_id, "d1");
}

TEST_F(Schema, TriggerNeverFailsAWriterForALongRow) {
  CreateSchema(connection_, "public", NotifyMode::kTrigger);
  Connection listening = Listening();
  for (size_t length = 7850; length <= 8010; ++length) {
    Insert(connection_, "public.operations", "o" + std::to_string(length),
           std::string(length, 'x'));
  }
  Insert(connection_, "public.operations", "many \"quotes", std::string(100'000, '"'));
  auto heard = Heard(listening);
  ASSERT_THAT(heard, SizeIs(162));
  EXPECT_EQ(ParseOperationNotice(heard.front())->collection.size(), 7850u);
  EXPECT_EQ(ParseOperationNotice(heard.back())->id, "many \"quotes");
  EXPECT_EQ(ParseOperationNotice(heard.back())->collection, "");
}

TEST_F(Schema, TriggerSkipsAnIdThatFitsIntoNoPayload) {
  CreateSchema(connection_, "public", NotifyMode::kTrigger);
  connection_.Execute("ALTER TABLE public.operations DROP CONSTRAINT operations_pkey");
  Connection listening = Listening();
  size_t announced = 0;
  for (size_t length = 7980; length <= 8010; ++length) {
    Insert(connection_, "public.operations", std::string(length, 'x'));
    announced += length + std::string("{\"id\" : \"\"}").size() <= 7999 ? 1 : 0;
  }
  EXPECT_THAT(Heard(listening), SizeIs(announced));
  EXPECT_EQ(Ask(connection_, "SELECT count(*) FROM public.operations"), "31");
}

TEST_F(Schema, TriggerFunctionIgnoresTheWritersSearchPath) {
  CreateSchema(connection_, "public", NotifyMode::kTrigger);
  Connection listening = Listening();
  connection_.Execute(
      "CREATE SCHEMA trap; CREATE DOMAIN trap.text AS int; CREATE FUNCTION trap.greater(int, int) "
      "RETURNS bool LANGUAGE sql AS 'SELECT 1/0 = 1'; CREATE OPERATOR trap.> (LEFTARG = int, "
      "RIGHTARG "
      "= int, FUNCTION = trap.greater); SET search_path = trap, pg_catalog");
  Insert(connection_, "public.operations", "o1");
  EXPECT_THAT(Heard(listening), SizeIs(1));
}

TEST_F(Schema, TriggerOfTheReferenceIsLeftButItsFunctionReplaced) {
  CreateSchema(connection_, "public", NotifyMode::kOff);
  connection_.Execute(
      "CREATE FUNCTION public.notify_operation_insert() RETURNS trigger AS $$ BEGIN PERFORM "
      "pg_notify('operation_inserted', NEW.collection); RETURN NEW; END; $$ LANGUAGE plpgsql; "
      "CREATE "
      "TRIGGER operation_insert_trigger AFTER INSERT ON public.operations FOR EACH ROW EXECUTE "
      "FUNCTION public.notify_operation_insert()");
  std::string before = Ask(connection_, "SELECT oid || ' ' || xmin FROM pg_trigger");
  CreateSchema(connection_, "public", NotifyMode::kTrigger);
  EXPECT_EQ(Ask(connection_, "SELECT oid || ' ' || xmin FROM pg_trigger"), before);
  Insert(connection_, "public.operations", "o1", std::string(9000, 'x'));
}

TEST_F(Schema, TriggerThatDiffersIsReplaced) {
  CreateSchema(connection_, "public", NotifyMode::kTrigger);
  connection_.Execute(
      "CREATE OR REPLACE TRIGGER operation_insert_trigger BEFORE UPDATE ON public.operations FOR "
      "EACH "
      "STATEMENT EXECUTE FUNCTION public.notify_operation_insert()");
  CreateSchema(connection_, "public", NotifyMode::kTrigger);
  EXPECT_THAT(Ask(connection_, "SELECT pg_get_triggerdef(oid) FROM pg_trigger"),
              HasSubstr("AFTER INSERT ON public.operations FOR EACH ROW"));
}

TEST_F(Schema, TriggerThatSomebodyDisabledStaysDisabled) {
  CreateSchema(connection_, "public", NotifyMode::kTrigger);
  connection_.Execute("ALTER TABLE public.operations DISABLE TRIGGER operation_insert_trigger");
  CreateSchema(connection_, "public", NotifyMode::kTrigger);
  EXPECT_EQ(Ask(connection_, "SELECT tgenabled FROM pg_trigger"), "D");
}

TEST_F(Schema, NotifyIsSwitchedWhileOthersWrite) {
  CreateSchema(connection_, "public", NotifyMode::kTrigger);
  std::atomic<bool> done{false};
  int64_t written = 0;
  std::thread writer([&] {
    Connection own = Connect();
    for (; !done; ++written)
      own.Execute("INSERT INTO operations VALUES ('switch" + std::to_string(written) +
                  "', 'insert', 'c', 'd', '{}', 1, 'c', false, '{}')");
  });
  Connection listening = Connect();
  listening.Execute("LISTEN operation_inserted");
  for (int round = 0; round < 10; ++round) {
    CreateSchema(connection_, "public", NotifyMode::kOff);
    CreateSchema(connection_, "public", NotifyMode::kTrigger);
    while (listening.NextNotification()) continue;
    while (!listening.NextNotification()) {
      listening.Wait(Clock::now() + std::chrono::milliseconds(50));
      listening.ConsumeInput();
    }
  }
  done = true;
  writer.join();
  EXPECT_EQ(
      connection_.Execute("SELECT count(*) FROM operations WHERE id LIKE 'switch%'").Get(0, 0),
      std::to_string(written));
}

TEST_F(Schema, WithoutNotifyHasNoTrigger) {
  CreateSchema(connection_, "public", NotifyMode::kTrigger);
  CreateSchema(connection_, "public", NotifyMode::kOff);
  EXPECT_EQ(Ask(connection_, kTrigger), "0");
  Connection listening = Listening();
  Insert(connection_, "public.operations", "o1");
  EXPECT_THAT(Heard(listening), IsEmpty());
}

// ---- the statements as SQL ----

TEST_F(Schema, StatementsRunOneByOne) {
  for (int round = 0; round < 2; ++round) {
    for (const std::string& statement :
         SchemaStatements(connection_, "My \"sch'ema", NotifyMode::kTrigger))
      connection_.Execute(statement);
  }
  EXPECT_TRUE(HasSchema(connection_, "My \"sch'ema"));
}

}  // namespace
}  // namespace syncflow::adapter
