#include "sidecar/log/log.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>
#include <sstream>
#include <thread>
#include <vector>

namespace syncflow::log {
namespace {

using testing::MatchesRegex;
using Lines = std::vector<std::string>;

constexpr const char* kTime = "[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9:]{8}[.][0-9]{3}Z";

class Log : public testing::Test {
 protected:
  ~Log() override { Configure(Level::kInfo, Format::kText); }

  // What `write` wrote to stderr.
  template <typename Write>
  Lines Heard(Write write) {
    testing::internal::CaptureStderr();
    write();
    std::istringstream text(testing::internal::GetCapturedStderr());
    Lines lines;
    for (std::string line; std::getline(text, line);) lines.push_back(line);
    return lines;
  }
};

TEST_F(Log, TextSaysTimeLevelRoomSentenceAndValues) {
  Configure(Level::kInfo, Format::kText);
  Lines lines = Heard([] {
    Info("pipeline", "streaming",
         {{"slot", "syncflow_sidecar"}, {"lag", 17}, {"why", "two words"}});
  });
  ASSERT_EQ(lines.size(), 1u);
  EXPECT_THAT(lines[0], MatchesRegex(std::string(kTime) +
                                     " info pipeline: streaming slot=syncflow_sidecar lag=17 "
                                     "why=\"two words\""));
}

TEST_F(Log, JsonHasTheSameMembers) {
  Configure(Level::kInfo, Format::kJson);
  Lines lines = Heard([] {
    Error("journal", "a \"sentence\"\n%v {} \\", {{"bytes", -1}, {"text", "\xff\n\""}});
  });
  ASSERT_EQ(lines.size(), 1u);
  auto line = nlohmann::ordered_json::parse(lines[0]);
  EXPECT_THAT(line["time"].get<std::string>(), MatchesRegex(kTime));
  line.erase("time");
  EXPECT_EQ(line, nlohmann::ordered_json::parse(
                      R"({"level":"error","room":"journal","message":"a \"sentence\"\n%v {} \\",)"
                      R"("bytes":"-1","text":"\ufffd\n\""})"));
}

TEST_F(Log, NoValueForgesALine) {
  for (Format format : {Format::kText, Format::kJson}) {
    Configure(Level::kInfo, format);
    Lines lines = Heard([] {
      Info("feed", "hello\n2026 error", {{"name", "x\n2026 error"}, {"other", "x\r\x1b[2K"}});
    });
    EXPECT_EQ(lines.size(), 1u);
    EXPECT_EQ(lines[0].find_first_of("\r\x1b"), std::string::npos);
  }
}

TEST_F(Log, LowerLevelsAreLeftOutAndNotCounted) {
  Configure(Level::kWarning, Format::kText);
  uint64_t infos = Written(Level::kInfo);
  uint64_t warnings = Written(Level::kWarning);
  Lines lines = Heard([] {
    Debug("x", "1");
    Info("x", "2");
    Warning("x", "3");
    Error("x", "4");
  });
  EXPECT_THAT(lines, testing::ElementsAre(testing::EndsWith("warning x: 3"),
                                          testing::EndsWith("error x: 4")));
  EXPECT_EQ(Written(Level::kInfo), infos);
  EXPECT_EQ(Written(Level::kWarning), warnings + 1);
}

TEST_F(Log, LinesOfManyThreadsStayWhole) {
  Configure(Level::kInfo, Format::kJson);
  constexpr int kThreads = 4;
  constexpr int kLines = 250;
  uint64_t before = Written(Level::kInfo);
  Lines lines = Heard([] {
    std::vector<std::jthread> threads;
    for (int i = 0; i < kThreads; ++i) {
      threads.emplace_back([i] {
        for (int n = 0; n < kLines; ++n) Info("room", std::string(200, 'x'), {{"thread", i}});
      });
    }
  });
  EXPECT_EQ(lines.size(), size_t{kThreads * kLines});
  for (const std::string& line : lines) EXPECT_TRUE(nlohmann::json::accept(line)) << line;
  EXPECT_EQ(Written(Level::kInfo), before + kThreads * kLines);
}

}  // namespace
}  // namespace syncflow::log
