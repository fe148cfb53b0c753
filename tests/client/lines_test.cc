#include "sidecar/client/lines.h"

#include <gtest/gtest.h>

namespace syncflow::client {
namespace {

using nlohmann::json;

TEST(ClientLines, HelloSaysOnlyWhatWasAsked) {
  EXPECT_EQ(HelloLine({}, "a1", "", {}),
            R"({"type":"hello","version":1,"request":"a1","on_gap":"fail"})"
            "\n");
}

TEST(ClientLines, HelloSaysAllThatWasAsked) {
  Options options;
  options.name = "billing";
  options.collections = {"todos", "n\"otes"};
  options.heartbeat = std::chrono::seconds(7);
  options.window = 9;
  options.continue_after_gap = true;
  EXPECT_EQ(HelloLine(options, "a1", "secret", {"snapshot", "s-1", 12}),
            R"({"type":"hello","version":1,"request":"a1","token":"secret","name":"billing",)"
            R"("from":"snapshot","snapshot":"s-1","number":12,"collections":["todos","n\"otes"],)"
            R"("heartbeat":7,"window":9,"on_gap":"continue"})"
            "\n");
}

TEST(ClientLines, AckIsOneLine) {
  EXPECT_EQ(AckLine("1.2.3"), "{\"type\":\"ack\",\"cursor\":\"1.2.3\"}\n");
}

TEST(ClientLines, AckOfWhatIsNoTextIsALine) {
  EXPECT_EQ(AckLine("\xff"), "{\"type\":\"ack\",\"cursor\":\"\xEF\xBF\xBD\"}\n");
}

TEST(ClientLines, SnapshotIsNotAskedForAfterItsEnd) {
  EXPECT_FALSE(json::parse(HelloLine({}, "a1", "", {"1.2.3", "s-1", 12})).contains("snapshot"));
}

TEST(ClientLines, CursorsAreReadFromTheFront) {
  EXPECT_EQ(CursorOfChange(R"({"type":"change","cursor":"1.2.3","op":{"cursor":"9"}})"), "1.2.3");
  EXPECT_EQ(CursorOfChange(R"({"type": "change","cursor":"1.2.3"})"), std::nullopt);
  EXPECT_EQ(CursorOfChange(R"({"type":"live","cursor":"1.2.3"})"), std::nullopt);
  EXPECT_EQ(CursorOfChange(""), std::nullopt);
}

TEST(ClientLines, DocumentsAreNumbered) {
  auto head = HeadOfDocument(R"({"type":"document","snapshot":"s-1","number":120,"document":{}})");
  ASSERT_TRUE(head);
  EXPECT_EQ(head->snapshot, "s-1");
  EXPECT_EQ(head->number, 120u);
  for (const char* other :
       {R"({"type":"document","number":1,"snapshot":"s-1"})",
        R"({"type":"document","snapshot":"s-1","number":"1"})",
        R"({"type":"document","snapshot":"s-1)", R"({"type":"change","cursor":"1"})"})
    EXPECT_FALSE(HeadOfDocument(other)) << other;
}

TEST(ClientLines, FieldsOfAnotherTypeAreAbsent) {
  json line = json::parse(R"({"text":7,"number":"7","flag":1})");
  EXPECT_EQ(Text(line, "text"), "");
  EXPECT_EQ(Number(line, "number", 3), 3);
  EXPECT_FALSE(Is(line, "flag", true));
  EXPECT_FALSE(Is(line, "none", false));
}

}  // namespace
}  // namespace syncflow::client
