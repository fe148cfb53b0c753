// Many statements in one round trip.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "adapter/connection.h"
#include "tests/support/postgres.h"

namespace syncflow::adapter {
namespace {

using ::testing::HasSubstr;
using ::testing::SizeIs;

class Pipelined : public ::testing::Test {
 protected:
  static Connection Connect() {
    ConnectOptions options;
    options.url = testing::PrivatePostgres::Shared().url();
    options.timeout = std::chrono::seconds(120);
    return Connection(options);
  }
  std::string SqlstateOf(const std::vector<Statement>& statements) {
    try {
      connection_.Pipeline(statements);
    } catch (const Error& error) {
      return error.sqlstate();
    }
    return "none";
  }
  void ExpectUsable() {
    EXPECT_EQ(connection_.Pipeline({{"SELECT 'usable'", {}}})[0].Get(0, 0), "usable");
    EXPECT_EQ(connection_.Query("SELECT 'again'").Get(0, 0), "again");
  }

  Connection connection_ = Connect();
};

TEST_F(Pipelined, ResultsComeInOrder) {
  std::vector<Statement> statements;
  for (int i = 0; i < 1000; ++i) statements.push_back({"SELECT $1::int + 1", {std::to_string(i)}});
  statements.push_back({"SELECT $1::text IS NULL", {std::nullopt}});
  auto results = connection_.Pipeline(statements);
  ASSERT_THAT(results, SizeIs(1001));
  for (int i = 0; i < 1000; ++i) EXPECT_EQ(results[i].Get(0, 0), std::to_string(i + 1));
  EXPECT_EQ(results[1000].Get(0, 0), "t");
  EXPECT_TRUE(connection_.Pipeline({}).empty());
}

TEST_F(Pipelined, StatementIsPreparedOnce) {
  for (int i = 0; i < 3; ++i)
    connection_.Pipeline({{"SELECT 1", {}}, {"SELECT 2", {}}, {"SELECT 1", {}}});
  EXPECT_EQ(connection_.Query("SELECT count(*) FROM pg_prepared_statements").Get(0, 0), "2");
}

TEST_F(Pipelined, ErrorInTheMiddleIsTheOneThatIsThrown) {
  EXPECT_EQ(SqlstateOf({{"SELECT 1", {}}, {"SELECT 1 / $1::int", {"0"}}, {"SELECT nonsense", {}}}),
            "22012");
  ExpectUsable();
  EXPECT_EQ(SqlstateOf({{"SELECT 5", {}}, {"SELECT nonsense", {}}, {"SELECT 6", {}}}), "42703");
  ExpectUsable();
  EXPECT_EQ(connection_.Pipeline({{"SELECT 6", {}}, {"SELECT 5", {}}})[0].Get(0, 0), "6")
      << "what was skipped does not count as prepared";
}

TEST_F(Pipelined, WithoutBeginAllIsOneTransaction) {
  connection_.Execute("CREATE TEMPORARY TABLE t (n int)");
  EXPECT_EQ(SqlstateOf({{"INSERT INTO t VALUES (1)", {}}, {"SELECT 1 / 0", {}}}), "22012");
  EXPECT_EQ(connection_.Query("SELECT count(*) FROM t").Get(0, 0), "0");
}

TEST_F(Pipelined, TransactionStaysOpenAfterAnError) {
  EXPECT_TRUE(connection_.idle());
  EXPECT_EQ(SqlstateOf({{"BEGIN", {}}, {"SELECT 1 / 0", {}}, {"COMMIT", {}}}), "22012");
  EXPECT_FALSE(connection_.idle());
  connection_.Execute("ROLLBACK");
  EXPECT_TRUE(connection_.idle());
  ExpectUsable();
}

TEST_F(Pipelined, ParametersAndResultsMayBeLarge) {
  std::string large(10 << 20, 'x');
  auto results =
      connection_.Pipeline({{"SELECT $1::text", {large}}, {"SELECT length($1::text)", {large}}});
  EXPECT_EQ(results[0].Get(0, 0), large);
  EXPECT_EQ(results[1].Get(0, 0), std::to_string(large.size()));
}

TEST_F(Pipelined, NulIsRefusedBeforeAnythingIsSent) {
  EXPECT_EQ(SqlstateOf({{"SELECT 1", {}}, {"SELECT $1::text", {std::string("a\0b", 3)}}}), "22021");
  ExpectUsable();
}

TEST_F(Pipelined, LostConnectionIsToldAsSuch) {
  Connection killer = Connect();
  std::string pid = std::to_string(connection_.backend_pid());
  try {
    connection_.Pipeline({{"SELECT 1", {}},
                          {"SELECT pg_terminate_backend($1::int)", {pid}},
                          {"SELECT pg_sleep(60)", {}}});
    ADD_FAILURE();
  } catch (const Error& error) {
    EXPECT_TRUE(error.NeedsReconnect()) << error.what();
  }
  EXPECT_FALSE(connection_.idle());
}

}  // namespace
}  // namespace syncflow::adapter
