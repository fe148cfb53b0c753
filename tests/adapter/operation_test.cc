#include "adapter/operation.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>
#include <random>
#include <stdexcept>

namespace syncflow::adapter {
namespace {

using ::testing::HasSubstr;

constexpr const char* kWhole =
    R"({"id":"o1","type":"update","collection":"todos","docId":"d1","data":{"t":1},)"
    R"("timestamp":1700000000000,"clientId":"c1","synced":false,"vectorClock":{"c1":2}})";

std::string Quoted(std::string_view text) {
  std::string out;
  AppendJsonString(out, text);
  return out;
}

std::string WithData(const std::string& data) {
  std::string json = kWhole;
  return json.replace(json.find("{\"t\":1}"), 7, data);
}

std::string Complaint(const std::string& json) {
  try {
    Operation::FromJson(json);
  } catch (const std::invalid_argument& error) {
    return error.what();
  }
  return "";
}

TEST(JsonString, EscapesAsPostgreSqlDoes) {
  EXPECT_EQ(Quoted("plain é 日 \x7f /"), "\"plain é 日 \x7f /\"");
  EXPECT_EQ(Quoted("\"\\\b\f\n\r\t"), R"("\"\\\b\f\n\r\t")");
  EXPECT_EQ(Quoted(std::string_view("\0\x01\x1f", 3)), R"("\u0000\u0001\u001f")");
  EXPECT_EQ(Quoted(""), "\"\"");
}

TEST(JsonString, OfAnyBytesReadsBackTheSame) {
  std::mt19937 random(11);
  for (int round = 0; round < 2000; ++round) {
    std::string text(random() % 40, ' ');
    for (char& c : text) c = static_cast<char>(random() % 0x60);
    EXPECT_EQ(nlohmann::json::parse(Quoted(text)).get<std::string>(), text);
  }
}

TEST(Operation, ReadsBackTheSame) {
  EXPECT_EQ(Operation::FromJson(kWhole).ToJson(), kWhole);
}

TEST(Operation, WithoutDataHasNoSuchKey) {
  Operation operation = Operation::FromJson(kWhole);
  operation.data.reset();
  EXPECT_EQ(operation.ToJson().find("\"data\""), std::string::npos);
  EXPECT_EQ(Operation::FromJson(operation.ToJson()), operation);
}

TEST(Operation, IsReadWhateverTheOrderAndTheUnknownKeys) {
  Operation operation = Operation::FromJson(
      R"( { "extra" : {"data":[1,{"id":"no"}]}, "vectorClock":{}, "synced":true, "clientId":"c",
      "timestamp":-5, "docId":"", "collection":"x\u00e9", "type":"whatever", "id":"\"" } )");
  EXPECT_EQ(operation.id, "\"");
  EXPECT_EQ(operation.collection, "xé");
  EXPECT_EQ(operation.timestamp, -5);
  EXPECT_TRUE(operation.synced);
  EXPECT_EQ(operation.data, std::nullopt);
}

TEST(Operation, KeepsTheDigitsOfItsData) {
  for (const char* data :
       {"12345678901234567890.12345678901234567890", "-1.50E+10", "9223372036854775809", "null",
        "\"a \\u00e9 b\"", "[]", "[1,[2,{\"b\":\" x \",\"a\":[]}]]", "{\"z\":1,\"a\":2}", "\"}\"",
        "\"\\\\\"", "{\"k\\\"}\":\"]\"}", "true"})
    EXPECT_EQ(Operation::FromJson(WithData(data)).data, data);
}

TEST(Operation, BringsItsDataOnOneLine) {
  EXPECT_EQ(Operation::FromJson(WithData("\n{ \"a b\" :\t[ 1 ,\r\n 2 ] }\n")).data,
            R"({"a b":[1,2]})");
  EXPECT_EQ(Operation::FromJson(WithData("  7  ")).data, "7");
}

TEST(Operation, TakesTheLastOfRepeatedKeys) {
  EXPECT_EQ(Operation::FromJson(WithData(R"(1,"data":2,"d\u0061ta":3)")).data, "3");
}

TEST(Operation, KeepsWhole64BitTimestamps) {
  std::string json = kWhole;
  json.replace(json.find("1700000000000"), 13, "9223372036854775807");
  EXPECT_EQ(Operation::FromJson(json).timestamp, INT64_MAX);
  json.replace(json.find("9223372036854775807"), 19, "9223372036854775808");
  EXPECT_THAT(Complaint(json), HasSubstr("timestamp"));
}

TEST(Operation, ComplaintNamesTheKey) {
  auto whole = nlohmann::json::parse(kWhole);
  for (const char* key :
       {"id", "type", "collection", "docId", "timestamp", "clientId", "synced", "vectorClock"}) {
    auto missing = whole;
    missing.erase(key);
    EXPECT_THAT(Complaint(missing.dump()), HasSubstr(key));
    auto mistyped = whole;
    mistyped[key] = {1, 2};
    EXPECT_THAT(Complaint(mistyped.dump()), HasSubstr(key));
  }
}

TEST(Operation, CutShortIsRefused) {
  std::string whole = kWhole;
  for (size_t length = 0; length < whole.size(); ++length)
    EXPECT_NE(Complaint(whole.substr(0, length)), "") << length;
}

TEST(Operation, WithAnyByteChangedIsReadOrRefused) {
  std::string whole = kWhole;
  for (size_t at = 0; at < whole.size(); ++at) {
    for (int byte = 0; byte < 256; ++byte) {
      std::string changed = whole;
      changed[at] = static_cast<char>(byte);
      bool readable = Complaint(changed).empty();
      EXPECT_TRUE(!readable || nlohmann::json::accept(Operation::FromJson(changed).ToJson()))
          << changed;
    }
  }
}

TEST(Operation, NestedDeeplyIsReadWithoutHarm) {
  std::string deep = std::string(100'000, '[') + std::string(100'000, ']');
  EXPECT_EQ(Operation::FromJson(WithData(deep)).data, deep);
}

TEST(Operation, NestingWithoutEndIsRefusedOrKeptAsItIs) {
  const std::string deep = std::string(2'000'000, '[') + std::string(2'000'000, ']');
  auto with = [](const std::string& data, const std::string& clock) {
    return R"({"id":"a","type":"insert","collection":"c","docId":"d","timestamp":1,"clientId":"x",)"
           R"("synced":false,"data":)" +
           data + ",\"vectorClock\":" + clock + "}";
  };
  EXPECT_EQ(Operation::FromJson(with(deep, "{}")).data, deep);
  EXPECT_THROW(Operation::FromJson(with("{}", deep)), std::invalid_argument);
  EXPECT_THROW(Operation::FromJson(with("{}", "{\"x\":" + deep + "}")), std::invalid_argument);
}

}  // namespace
}  // namespace syncflow::adapter
