// One mistake each, with the place that is reported and a word of the sentence.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/config/rig.h"

namespace syncflow::config {
namespace {

using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::StartsWith;

struct Mistake {
  std::string text;   // of the file
  std::string place;  // line:column
  std::string word;
};

std::string Nested(size_t depth) {
  return "feed: " + std::string(depth, '[') + std::string(depth, ']') + "\n";
}

// Whole files.
const std::vector<Mistake> kFiles = {
    {"hello\n", "1:1", "map of sections"},
    {"- version: 1\n", "1:1", "map of sections"},
    {"[]", "1:1", "map of sections"},
    {"version: 1\n", "1:1", "postgres.url is missing"},
    {"version: 1\npostgres:\n  schema: x\n", "2:1", "postgres.url is missing"},
    {"version: 1\npostgres:\n", "2:1", "postgres.url is missing"},
    {"# c\npostgres:\n  url: x\n", "2:1", "'version: 1' is missing"},
    {"version: 2\npostgres: {url: x}\n", "1:10", "version must be 1"},
    {"version: 01\npostgres: {url: x}\n", "1:10", "version must be 1"},
    {"version:\npostgres: {url: x}\n", "1:1", "version must be 1"},
    {"version: [1]\npostgres: {url: x}\n", "1:10", "version must be 1"},
    {"version: ${V}\npostgres: {url: x}\n", "1:10", "V is not set"},
    {"version: 1\npostgres:\n  url: \"\"\n", "3:8", "postgres.url is missing"},
    {"version: 1\npostgres:\n  url:\n", "3:3", "has no value"},
    {"version: 1\npostgres:\n  url: ~\n  schema: x\n", "3:3", "has no value"},
    {"version: 1\npostgres:\n  url: [x]\n", "3:8", "single value"},
    {"version: 1\npostgres:\n  url: {host: x}\n", "3:8", "single value"},
    {"version: 1\npostgres:\n  url: |\n    x\n", "3:8", "one line"},
    {"version: 1\npostgres:\n  url: \"x\\0y\"\n", "3:8", "control characters"},
    {"version: 1\npostgres: postgresql://x\n", "2:11", "must be a map"},
    {"version: 1\npostgres: [url]\n", "2:11", "must be a map"},
    {"version: 1\npostgres: {url: x\n", "3:1", "not YAML"},
    {"version: 1\npostgres:\n  url: \"x\n", "3:8", "never closed"},
    {"version: 1\npostgres:\n  url: 'x''\n", "3:8", "never closed"},
    {"version: 1\npostgres:\n  url: x: y\n", "3:9", "indentation"},
    {"version: 1\npostgres:\n  url: @x\n", "3:8", "not YAML"},
    {"version: 1\n}\n", "2:1", "not YAML"},
    {"%YAML 3.0\n---\nversion: 1\n", "1:1", "not YAML"},
};

// Each after kGood, that is from line 4 on.
const std::vector<Mistake> kMore = {
    {"---\nversion: 1\n", "4:1", "second document"},
    {"version: 1\n", "4:1", "second time, after line 1"},
    {"postgres: {schema: x}\n", "4:1", "'postgres' stands here a second time"},
    {"feed: {listen: 127.0.0.1:1, listen: 127.0.0.1:2}\n", "4:29", "'listen' stands here a second"},
    {"feeed: {}\n", "4:1", "unknown section 'feeed' (did you mean 'feed'?)"},
    {"tail_memory: 1MiB\n", "4:1", "did you mean 'feed.tail_memory'?"},
    {"kubernetes: {}\n", "4:1", "unknown section 'kubernetes'"},
    {"journal:\n  retain_sise: 1GiB\n", "5:3", "'journal.retain_sise' (did you mean 'retain_size'"},
    {"journal:\n  heartbeat: 1s\n", "5:3", "did you mean 'feed.heartbeat'?"},
    {"journal:\n    ? [a]\n    : b\n", "5:7", "a key must be a word"},
    {"? {a: b}\n: c\n", "4:3", "a key must be a word"},
    {"~: x\n", "4:1", "a key must be a word"},
    {"<<: {feed: {}}\n", "4:1", "merge keys"},
    {"feed:\n  <<: {}\n", "5:3", "merge keys"},
    {"feed: &f {}\n", "4:7", "anchors"},
    {"feed: {}\njournal: &j\n  retain_age: 7d\n", "5:10", "anchors"},
    {"feed:\n  listen: &l 127.0.0.1:1\n", "5:11", "anchors"},
    {"feed:\n  listen: *l\n", "5:11", "anchor"},
    {"feed:\n  heartbeat: !!str 1s\n", "5:14", "tags"},
    {"feed: !map {}\n", "4:7", "tags"},
    {Nested(100), "4:7", "must be a map"},
    {"log: [level]\n", "4:6", "'log' must be a map"},
    {"http: []\n", "4:7", "'http' must be a map"},

    {"postgres2: x\n", "4:1", "unknown section"},
    {"replication:\n  slot: \"\"\n", "5:9", "must be a slot name"},
    {"replication:\n  slot: Upper\n", "5:9", "must be a slot name"},
    {"replication:\n  slot: with-dash\n", "5:9", "must be a slot name"},
    {"replication:\n  slot: " + std::string(64, 'a') + "\n", "5:9", "must be a slot name"},
    {"replication:\n  plugin: test_decoding\n", "5:11", "must be one of: auto, wal2json, pgoutput"},
    {"journal:\n  directory: ''\n", "5:14", "path of a folder"},
    {"journal:\n  segment_size: many\n", "5:17", "a size like 64MiB"},
    {"journal:\n  segment_size: -1\n", "5:17", "from 1MiB to 1GiB, not '-1'"},
    {"journal:\n  segment_size: 512KiB\n", "5:17", "from 1MiB to 1GiB"},
    {"journal:\n  segment_size: 2GiB\n", "5:17", "from 1MiB to 1GiB"},
    {"journal:\n  segment_size: 64 MiB\n", "5:17", "not '64 MiB'"},
    {"journal:\n  segment_size: 64Mi\n", "5:17", "a size like"},
    {"journal:\n  segment_size: 0777777777\n", "5:17", "a size like"},
    {"journal:\n  segment_size: 99999999999999999999999GiB\n", "5:17", "a size like"},
    {"journal:\n  segment_size: 18014398509481985KiB\n", "5:17", "a size like"},
    {"journal:\n  retain_size: 1MiB\n", "5:16", "from 2MiB to 8192GiB"},
    {"journal:\n  retain_size: 64MiB\n", "5:16", "2 to 8192 times journal.segment_size"},
    {"journal:\n  retain_size: 1024GiB\n", "5:16", "2 to 8192 times journal.segment_size"},
    {"journal:\n  segment_size: 1GiB\n  retain_size: 1GiB\n", "6:16", "which is 1GiB"},
    {"journal:\n  retain_age: 7\n", "5:15", "a duration like 30s"},
    {"journal:\n  retain_age: 59s\n", "5:15", "from 1m to 3650d"},
    {"journal:\n  retain_age: 90500ms\n", "5:15", "whole seconds"},
    {"feed:\n  listen: 7433\n", "5:11", "an address like"},
    {"feed:\n  listen: \"\"\n", "5:11", "an address like"},
    {"feed:\n  listen: example.org:7433\n", "5:11", "an address like"},
    {"feed:\n  listen: 0.0.0.0:7433\n", "5:11", "allow_anonymous: true"},
    {"feed:\n  listen: '[::]:7433'\n  allow_anonymous: false\n", "5:11", "give feed.tokens_file"},
    {"feed:\n  tls:\n    certificate: c\n", "6:18", "feed.tls.key is missing"},
    {"feed:\n  tls:\n    key: k\n", "6:10", "feed.tls.certificate is missing"},
    {"feed:\n  tls:\n    client_ca: a\n", "6:16", "which needs TLS"},
    {"feed:\n  tls:\n    cert: c\n", "6:5", "unknown key 'feed.tls.cert'"},
    {"feed:\n  tsl: {}\n", "5:3", "did you mean 'tls'?"},
    {"feed:\n  tls: c\n", "5:8", "'feed.tls' must be a map of settings"},
    {"feed.tls:\n  key: k\n", "4:1", "unknown section"},
    {"tls:\n  key: k\n", "4:1", "unknown section 'tls'"},
    {"sync_api:\n  listen: 0.0.0.0:3000\n", "5:11", "sync_api.allow_anonymous: true"},
    {"sync_api:\n  listen: 3000\n", "5:11", "or empty"},
    {"feed:\n  hello_timeout: 9ms\n", "5:18", "from 10ms to 1m"},
    {"feed:\n  hello_timeout: 0.25s\n", "5:18", "a duration like"},
    {"feed:\n  heartbeat: 0s\n", "5:14", "from 1s to 5m"},
    {"feed:\n  heartbeat: 301s\n", "5:14", "from 1s to 5m"},
    {"feed:\n  heartbeat: 1500ms\n", "5:14", "whole seconds"},
    {"feed:\n  heartbeat: -15s\n", "5:14", "a duration like"},
    {"feed:\n  heartbeat: 99999999999999999999d\n", "5:14", "a duration like"},
    {"feed:\n  tail_memory: 1023KiB\n", "5:16", "from 1MiB"},
    {"feed:\n  connections_max: 0\n", "5:20", "from 1 to 1000000"},
    {"feed:\n  connections_max: 1000001\n", "5:20", "from 1 to 1000000"},
    {"feed:\n  connections_max: 020\n", "5:20", "whole number"},
    {"feed:\n  connections_max: 0x10\n", "5:20", "whole number"},
    {"feed:\n  connections_max: 1e3\n", "5:20", "whole number"},
    {"feed:\n  connections_max: 4294967297\n", "5:20", "whole number"},
    {"feed:\n  connections_max: many\n", "5:20", "not 'many'"},
    {"feed:\n  line_max: 4095\n", "5:13", "from 4KiB to 1GiB"},
    {"feed:\n  allow_anonymous: yes\n", "5:20", "must be true or false, not 'yes'"},
    {"feed:\n  allow_anonymous: True\n", "5:20", "must be true or false"},
    {"feed:\n  allow_anonymous: 1\n", "5:20", "must be true or false"},
    {"http:\n  listen: 127.0.0.1\n", "5:11", "an address like"},
    {"http:\n  listen:\n", "5:3", "has no value"},
    {"notify:\n  mode: on\n", "5:9", "must be one of: trigger, off"},
    {"notify:\n  watch: off\n", "5:10", "must be true or false"},
    {"log:\n  level: INFO\n", "5:10", "must be one of: debug, info, warning, error"},
    {"log:\n  format: logfmt\n", "5:11", "must be one of: text, json"},
    {"log: {level: '${LEVEL}'}\n", "4:14", "log.level: the environment variable LEVEL is not set"},
    {"log: {level: '${LEVEL:?say how loud}'}\n", "4:14", "LEVEL is not set: say how loud"},
    {"log: {level: '${LEVEL'}\n", "4:14", "never closed"},
    {"log: {level: '${LE VEL}'}\n", "4:14", "${NAME:-default}"},
    {"log:\n  level: ${X:-loud}\n", "5:10", "one of"},
};

void ExpectOne(const std::string& text, const Mistake& mistake) {
  SCOPED_TRACE(text);
  EXPECT_THAT(ViolationsOf(text), ElementsAre(AllOf(StartsWith("f.yaml:" + mistake.place + ": "),
                                                    HasSubstr(mistake.word))));
}

TEST(Violation, IsOneSentenceAtItsPlace) {
  for (const Mistake& mistake : kFiles) ExpectOne(mistake.text, mistake);
}

TEST(Violation, IsFoundBelowGoodLines) {
  ASSERT_THAT(LoadGood().violations, ElementsAre());
  for (const Mistake& mistake : kMore) ExpectOne(kGood + mistake.text, mistake);
}

TEST(Violation, IsFoundWithWindowsLineEndsAndByteOrderMark) {
  for (const Mistake& mistake : kMore) {
    std::string text = "\xEF\xBB\xBF";
    for (char c : kGood + mistake.text) text += c == '\n' ? std::string("\r\n") : std::string(1, c);
    ExpectOne(text, mistake);
  }
}

TEST(Violation, BytesThatAreNoTextAreFoundBeforeAnythingElse) {
  ExpectOne(kGood + "log:\n  level: \xff\xfe\n", {"", "5:10", "not UTF-8"});
  ExpectOne(kGood + std::string("lo\0g: {}\n", 9), {"", "4:3", "control character"});
  ExpectOne(kGood + "log:\n  level: info\x04\nunknown: x\n", {"", "5:14", "control character"});
  ExpectOne(std::string("\xff\xfev\0e\0r\0", 8), {"", "1:1", "not UTF-8"});
}

TEST(Violations, AreAllReportedAtOnceInTheOrderOfTheFile) {
  EXPECT_THAT(
      ViolationsOf("version: 3\n"
                   "feeed:\n"
                   "  listen: x\n"
                   "journal:\n"
                   "  segment_size: many\n"
                   "  segment_size: 1MiB\n"
                   "  retain_age: &a 1s\n"
                   "http: []\n"
                   "feed:\n"
                   "  listen: 0.0.0.0:1\n"
                   "  heartbeat: ${UNSET}\n"),
      ElementsAre(
          StartsWith("f.yaml:1:1: postgres.url is missing"), StartsWith("f.yaml:1:10: version"),
          StartsWith("f.yaml:2:1: unknown"), StartsWith("f.yaml:5:17: journal.segment_size must"),
          StartsWith("f.yaml:6:3: the key 'segment_size'"), StartsWith("f.yaml:7:15: anchors"),
          StartsWith("f.yaml:7:15: journal.retain_age must"), StartsWith("f.yaml:8:7: 'http' must"),
          StartsWith("f.yaml:10:11: feed.listen 0.0.0.0:1 can be reached"),
          StartsWith("f.yaml:11:14: feed.heartbeat: the environment")));
}

TEST(Violations, BeforeASyntaxErrorAreReportedWithItAndNothingIsCalledMissing) {
  EXPECT_THAT(
      ViolationsOf("log:\n  level: loud\n  format: @\n"),
      ElementsAre(StartsWith("f.yaml:2:10: log.level"), StartsWith("f.yaml:3:11: this is")));
}

TEST(Violations, BrokenSettingsAreNotComparedWithOthers) {
  EXPECT_THAT(LoadGood("journal:\n  segment_size: 1GiB\n  retain_size: x\n").violations,
              ElementsAre(StartsWith("f.yaml:6:16: journal.retain_size must be a size")));
}

TEST(Violations, OfAnEmptyFileSayWhatItNeeds) {
  for (const char* text : {"", "\n\n", "# only a comment\n", "---\n", "~\n", "\xEF\xBB\xBF"}) {
    EXPECT_THAT(ViolationsOf(text), ElementsAre(HasSubstr("f.yaml:1:1: the file is empty"),
                                                HasSubstr("f.yaml:1:1: postgres.url is missing")))
        << text;
  }
}

TEST(Violations, TellOfTabs) {
  EXPECT_THAT(ViolationsOf("version: 1\npostgres:\n\turl: x\n"),
              testing::Contains(AllOf(StartsWith("f.yaml:3:"), HasSubstr("use spaces"))));
  EXPECT_THAT(ViolationsOf("version: 1\npostgres:\n  url: x\n \tschema: x\n"),
              testing::Contains(AllOf(StartsWith("f.yaml:4:"), HasSubstr("use spaces"))));
}

TEST(Violations, NestingWithoutEndIsRefused) {
  EXPECT_THAT(ViolationsOf(kGood + Nested(100'000)),
              testing::UnorderedElementsAre(HasSubstr("'feed' must be a map"),
                                            HasSubstr("nested too deeply")));
}

TEST(Violations, AreCountedBeyondAHundred) {
  std::string text = kGood;
  for (int i = 0; i < 1000; ++i) text += "k" + std::string(static_cast<size_t>(i), 'k') + ": 1\n";
  auto violations = ViolationsOf(text);
  EXPECT_EQ(violations.size(), 101u);
  EXPECT_THAT(violations.back(), HasSubstr("and 900 more"));
}

TEST(Conflict, IsReportedAtTheSettingThatWasSet) {
  EXPECT_THAT(LoadGood("journal:\n  segment_size: 1GiB\n  retain_age: 1d\n").violations,
              ElementsAre());
  EXPECT_THAT(LoadGood("journal:\n  segment_size: 1MiB\n  retain_size: 8193MiB\n").violations,
              ElementsAre(StartsWith("f.yaml:6:16: journal.retain_size is 8193MiB")));
  EXPECT_THAT(LoadGood("journal: {retain_size: 100MiB}\n").violations,
              ElementsAre(StartsWith("f.yaml:4:24: journal.retain_size")));
}

TEST(Limits, OfValuesAreIncluded) {
  for (const char* text :
       {"journal: {segment_size: 1MiB, retain_size: 2MiB, retain_age: 1m}",
        "journal: {segment_size: 1GiB, retain_size: 8192GiB}",
        "feed: {hello_timeout: 10ms, heartbeat: 1s, tail_memory: 1MiB, line_max: 4KiB}",
        "feed: {hello_timeout: 1m, heartbeat: 300s, connections_max: 1000000, line_max: 1GiB}",
        "replication: {slot: a}", "replication: {slot: 0_z}", "http: {listen: ''}", "http: {}",
        "http:", "feed: {listen: '0.0.0.0:1', allow_anonymous: true}",
        "feed: {listen: '0.0.0.0:1', tokens_file: t}",
        "feed: {listen: '0.0.0.0:1', tls: {certificate: c, key: k, client_ca: a}}", "feed: {tls: }",
        "notify: {mode: off}"})
    EXPECT_EQ(Joined(LoadGood(text).violations), "") << text;
}

}  // namespace
}  // namespace syncflow::config
