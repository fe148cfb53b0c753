#include "sidecar/command/show.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace syncflow::command {
namespace {

using ::testing::EndsWith;
using ::testing::HasSubstr;

std::string Change(const std::string& operation, const std::string& more = "") {
  return R"({"type":"change","cursor":"9c41e07b.0000000014319470.3","transaction":{"xid":1,)"
         R"("index":3,"last":true},"committed_at":"2026-11-23T03:31:22.567891Z","op":)" +
         operation + more + "}";
}

TEST(ShownChange, IsOneReadableLine) {
  EXPECT_EQ(ShowChange(Change(R"({"id":"op-1","type":"update","collection":"todos",)"
                              R"("docId":"doc-1","data":{"title": "x"}})")),
            "2026-11-23T03:31:22.567Z update todos/doc-1 9c41e07b.0000000014319470.3 "
            R"({"title":"x"})");
}

TEST(ShownChange, WithoutDataEndsWithTheCursor) {
  EXPECT_THAT(ShowChange(Change(R"({"type":"delete","collection":"todos","docId":"d"})")),
              EndsWith("delete todos/d 9c41e07b.0000000014319470.3"));
}

TEST(ShownChange, SaysWhenItWasRecovered) {
  EXPECT_THAT(ShowChange(Change(R"({"type":"delete"})", R"(,"recovered":true)")),
              EndsWith(" (recovered)"));
}

TEST(ShownChange, LongDataIsCutBetweenCharacters) {
  std::string umlauts;
  for (int i = 0; i < 500; ++i) umlauts += "ä";
  for (const char* shift : {"", "x"}) {
    std::string shown =
        ShowChange(Change(R"({"type":"insert","data":")" + (shift + umlauts) + R"("})"));
    EXPECT_LT(shown.size(), 400u);
    EXPECT_THAT(shown, EndsWith("ä…"));
  }
}

TEST(ShownChange, CannotSteerTheTerminal) {
  std::string shown = ShowChange(Change(
      R"({"type":"\u001b[2J","collection":"a\u009b31m","docId":"\r\n","data":"\u007f\u0085"})"));
  for (char c : shown) EXPECT_GE(static_cast<unsigned char>(c), 0x20u);
  EXPECT_THAT(shown, HasSubstr("?[2J a?31m/??"));
  EXPECT_EQ(shown.find('\x7f'), std::string::npos);
  EXPECT_EQ(shown.find("\xC2"), std::string::npos);
}

TEST(ShownChange, OtherLinesComeBackAsTheyAre) {
  for (const char* line : {"", "no json", "[]", "{}", R"({"op":1})", R"({"op":null})"}) {
    EXPECT_EQ(ShowChange(line), line);
  }
}

TEST(ShownChange, NoCutOfALineBreaksIt) {
  std::string line = Change(R"({"type":"update","collection":"ä","docId":"d","data":[1,{"a":2}]})");
  for (size_t length = 0; length < line.size(); ++length) {
    EXPECT_EQ(ShowChange(line.substr(0, length)), line.substr(0, length));
  }
}

TEST(PrintableText, KeepsLettersOfEveryAlphabet) {
  EXPECT_EQ(Printable("aä€😀\xC2\xA0."), "aä€😀\xC2\xA0.");
}

}  // namespace
}  // namespace syncflow::command
