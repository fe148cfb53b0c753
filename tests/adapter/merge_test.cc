#include "adapter/merge.h"

#include <gtest/gtest.h>

#include "adapter/raw_json.h"

namespace syncflow::adapter {
namespace {

Operation Make(const std::string& type, const std::string& clock,
               std::optional<std::string> data = R"({"a":1})") {
  return {"op", type, "todos", "doc", std::move(data), 7, "c", false, VectorClock::FromJson(clock)};
}

DocumentState Held(const std::string& clock = R"({"c":2,"d":1})") {
  return {true, R"({"a": 0, "b": 9007199254740993})", 4, false, VectorClock::FromJson(clock), 5,
          false};
}

TEST(Merge, NewDocumentIsAsGiven) {
  for (const char* type : {"insert", "update"}) {
    DocumentState document;
    EXPECT_TRUE(Apply(Make(type, R"({"c":1})"), document)) << type;
    EXPECT_EQ(document, (DocumentState{true, R"({"a":1})", 1, false,
                                       VectorClock::FromJson(R"({"c":1})"), 7, true}));
  }
}

TEST(Merge, DeleteOfWhatIsNotThereLeavesATombstone) {
  DocumentState document;
  EXPECT_TRUE(Apply(Make("delete", R"({"c":1})"), document));
  EXPECT_EQ(document.data, "{}");
  EXPECT_EQ(document.rev, 1);
  EXPECT_TRUE(document.deleted);
}

TEST(Merge, EveryRelationOfTheClocks) {
  for (const char* after : {R"({"c":2,"d":1})", R"({"c":3,"d":1})", R"({"c":2,"d":1,"e":1})"}) {
    DocumentState document = Held();
    EXPECT_TRUE(Apply(Make("update", after), document)) << after;
  }
  for (const char* other : {R"({"c":2})", R"({})", R"({"c":1,"d":1})", R"({"c":3})",
                            R"({"c":1,"d":2})", R"({"c":2,"e":1})"}) {
    DocumentState document = Held();
    EXPECT_FALSE(Apply(Make("update", other), document)) << other;
    EXPECT_EQ(document, Held()) << "a conflict changes nothing";
  }
}

TEST(Merge, EachTypeOnAnExistingDocument) {
  struct Case {
    const char* type;
    const char* data;
    int64_t rev;
    bool deleted;
  } cases[] = {{"insert", R"({"a":1})", 5, false},
               {"update", R"({"b":9007199254740993,"a":1})", 5, false},
               {"delete", R"({"a": 0, "b": 9007199254740993})", 4, true}};
  for (const Case& expected : cases) {
    DocumentState document = Held();
    document.deleted = true;
    EXPECT_TRUE(Apply(Make(expected.type, R"({"c":3,"d":1})"), document));
    EXPECT_EQ(document.data, expected.data) << expected.type;
    EXPECT_EQ(document.rev, expected.rev) << expected.type;
    EXPECT_EQ(document.deleted, expected.deleted) << expected.type;
    EXPECT_EQ(document.updated_at, 7);
  }
}

TEST(Merge, BatchLeavesDocumentsAlone) {
  DocumentState document = Held();
  EXPECT_TRUE(Apply(Make("batch", R"({"c":3,"d":1})"), document));
  EXPECT_EQ(document, Held());
}

TEST(Merge, NoDataChangesNoMember) {
  for (std::optional<std::string> none :
       {std::optional<std::string>(), std::optional<std::string>("null")}) {
    DocumentState document = Held();
    EXPECT_TRUE(Apply(Make("update", R"({"c":3,"d":1})", none), document));
    EXPECT_EQ(document.data, R"({"a":0,"b":9007199254740993})");
    EXPECT_EQ(document.rev, 5);
  }
}

TEST(RawJson, MembersAreFoundWhateverSurroundsThem) {
  EXPECT_EQ(MergeRawObjects(R"( { "a" : [1, {"b": "}"}] , "\u0062" : "\"," } )", R"({"b":2.50})"),
            R"({"a":[1, {"b": "}"}],"b":2.50})");
  EXPECT_EQ(MergeRawObjects("{}", "{}"), "{}");
  EXPECT_EQ(MergeRawObjects(R"({"x":1,"x":2})", R"({"y":1,"y":2})"),
            R"({"x":1,"x":2,"y":1,"y":2})");
}

TEST(RawJson, ElementsAreFoundWhateverSurroundsThem) {
  EXPECT_EQ(RawElements(R"( [ 1 ,"]", {"a":[2]} , [ ] ,null] )"),
            (std::vector<std::string_view>{"1", R"("]")", R"({"a":[2]})", "[ ]", "null"}));
  EXPECT_TRUE(RawElements("[ ]").empty());
  EXPECT_TRUE(RawElements("{}").empty());
}

}  // namespace
}  // namespace syncflow::adapter
