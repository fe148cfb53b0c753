#include <gtest/gtest.h>

#include "adapter/listener.h"

namespace syncflow::adapter {
namespace {

TEST(OperationNotice, IsReadAsTheTriggerSendsIt) {
  auto notice = ParseOperationNotice(
      R"({"id" : "o1", "type" : "insert", "collection" : "to\"dos", "doc_id" : "d1"})");
  ASSERT_TRUE(notice);
  EXPECT_EQ(notice->id, "o1");
  EXPECT_EQ(notice->type, "insert");
  EXPECT_EQ(notice->collection, "to\"dos");
  EXPECT_EQ(notice->doc_id, "d1");
}

TEST(OperationNotice, OfALongRowHasOnlyTheId) {
  auto notice = ParseOperationNotice(R"({"id" : "o1"})");
  ASSERT_TRUE(notice);
  EXPECT_EQ(notice->id, "o1");
  EXPECT_EQ(notice->doc_id, "");
}

TEST(OperationNotice, IsNotReadFromAnythingElse) {
  for (const char* payload : {"", "hello", "{}", "[]", "null", "\"id\"", "{\"id\":1}",
                              "{\"id\":null}", "{\"ID\":\"x\"}", "{\"id\":\"\xff\"}", "{\"id\":"})
    EXPECT_FALSE(ParseOperationNotice(payload)) << payload;
}

TEST(OperationNotice, CutShortIsNone) {
  std::string whole = R"({"id":"o1","type":"insert","collection":"c","doc_id":"d"})";
  for (size_t length = 0; length < whole.size(); ++length)
    EXPECT_FALSE(ParseOperationNotice(whole.substr(0, length))) << length;
}

}  // namespace
}  // namespace syncflow::adapter
