#include "sidecar/feed/filter.h"

#include <random>

#include "tests/feed/rig.h"

namespace syncflow::feed {
namespace {

using replication::Lsn;
using ::testing::HasSubstr;

std::string LineOf(const std::string& collection, uint64_t commit, const std::string& id = "op",
                   uint64_t line_bytes_max = 1 << 20, size_t pad = 10) {
  std::string data = R"({"collection":"other","x":")" + std::string(pad, 'x') + "\"}";
  replication::Change change;
  change.operation = {id, "insert", collection, "doc", data, 1, "c", false, "{}"};
  change.commit_lsn = Lsn(commit);
  Encoder encoder(journal::Epoch{1}, line_bytes_max);
  encoder.Encode(change);
  return std::string(encoder.Finish(true));
}

TEST(Filter, WithoutCollectionsPassesEverything) {
  EXPECT_TRUE(Filter({}).Passes(LineOf("todos", 8)));
}

TEST(Filter, KnowsCollectionsByTheirExactName) {
  const std::vector<std::string> names = {"todos",  "todo", "Todos", "a\"b", "a\\",
                                          "\u00fc", "\x01", "x,\"y", " "};
  for (const std::string& wanted : names) {
    Filter filter({wanted, "another"});
    for (const std::string& name : names)
      EXPECT_EQ(filter.Passes(LineOf(name, 8)), name == wanted) << name << " by " << wanted;
  }
}

TEST(Filter, IsNotMisledByWhatStandsInOtherFields) {
  Filter filter({"todos"});
  for (const char* id : {R"(","collection":"todos")", R"(\",\"op\":{)",
                         R"(,"op":{"id":"x","type":"t","collection":"todos")", "\\"}) {
    EXPECT_FALSE(filter.Passes(LineOf("users", 8, id))) << id;
    EXPECT_TRUE(filter.Passes(LineOf("todos", 8, id))) << id;
  }
}

TEST(Filter, PassesGapsAndWhatMightBeAnybodys) {
  Filter filter({"todos"});
  EXPECT_TRUE(filter.Passes(
      R"({"type":"gap","cursor":"00000001.0000000000000008.0","code":"history_recovered"})"
      "\n"));
  std::string lost = LineOf(std::string(2000, 'c'), 8, "op", 1000);
  ASSERT_THAT(lost, HasSubstr("\"collection\":2000"));
  EXPECT_TRUE(filter.Passes(lost));
  EXPECT_FALSE(filter.Passes(LineOf("", 8)));
  EXPECT_FALSE(Filter({"todos"}, true).Passes(lost)) << "of one who may not read everything";
}

TEST(Filter, TakesNoDataForWhatWasLeftOut) {
  replication::Change change;
  change.operation = {"op", "insert", "",    "doc", R"({"a":1,"omitted":{"collection":1}})",
                      1,    "c",      false, "{}"};
  Encoder encoder(journal::Epoch{1}, 1 << 20);
  encoder.Encode(change);
  EXPECT_FALSE(Filter({"todos"}).Passes(encoder.Finish(true)));
}

TEST(Page, HoldsWhatPassesAndWhereItStood) {
  std::string first = LineOf("a", 8), second = LineOf("b", 16), third = LineOf("a", 24),
              fourth = LineOf("b", 32);
  std::string all = first + second + third + fourth;
  Page page(Filter({"a"}), 1000, all);
  EXPECT_EQ(page.bytes, first + third);
  EXPECT_EQ(page.end, 1000 + all.size());
  EXPECT_EQ(page.last, (journal::Position{Lsn(32), 0})) << "also where the last line does not pass";
  ASSERT_EQ(page.lines.size(), 2u);
  EXPECT_EQ(page.lines[1].end, page.bytes.size());
  EXPECT_EQ(page.lines[1].offset_end, 1000 + all.size() - fourth.size());
}

TEST(Filters, AreSharedWhateverTheirOrderAndForgottenWithTheirLastUser) {
  Filters filters;
  EXPECT_EQ(filters.Get({}), nullptr);
  auto filter = filters.Get({"a", "b"});
  EXPECT_EQ(filters.Get({"b", "a", "b"}), filter);
  EXPECT_NE(filters.Get({"a", "b"}, true), filter);
  for (int i = 0; i < 1000; ++i) filters.Get({std::to_string(i)});
  EXPECT_EQ(filters.Get({"b", "a"}), filter);
}

class FilteredFeed : public FeedRig {
 protected:
  void CommitTo(const std::string& collection, uint64_t commit, size_t pad = 10) {
    Encoder encoder(epoch_, 32 << 20);
    std::string data = "\"" + std::string(pad, 'x') + "\"";
    replication::Change change;
    change.operation = {"id", "insert", collection, "doc", data, 1, "c", false, "{}"};
    change.commit_lsn = Lsn(commit);
    encoder.Encode(change);
    std::string_view line = encoder.Finish(true);
    written_[collection] += line;
    journal_->Append({change.commit_lsn, 0}, line);
    journal_->Flush(Lsn(commit + 8));
  }
  void ExpectAll(Consumer& consumer, const std::string& collection) {
    const std::string& expected = written_[collection];
    for (size_t at = 0; at < expected.size();) {
      std::string line = consumer.LineOf("change");
      ASSERT_EQ(line, expected.substr(at, line.size())) << at;
      at += line.size();
    }
  }
  static std::string Wants(const std::string& collection, const std::string& from = "earliest") {
    return R"(,"from":")" + from + R"(","collections":[")" + collection + "\"]";
  }

  std::map<std::string, std::string> written_;
};

TEST_F(FilteredFeed, SlowReaderGetsItsLinesWholeFromMemoryAndFromFiles) {
  journal_options_.tail_bytes = 1 << 20;
  journal_options_.segment_bytes = 8 << 20;
  Start();
  Consumer slow(feed_->port(), 16 << 10);
  slow.Hello(Wants("a"));
  slow.LineOf("live");
  std::minstd_rand random(7);
  const size_t pads[] = {10, 300, 5'000, 31'000, 33'000, 400'000};
  for (uint64_t commit = 0x2000; journal_->head().offset < (40 << 20); commit += 8)
    CommitTo(random() % 2 == 0 ? "a" : "b", commit, pads[random() % std::size(pads)]);
  ExpectAll(slow, "a");
  CommitTo("b", 0x100000);
  CommitTo("a", 0x100008);
  EXPECT_THAT(slow.LineOf("change"), HasSubstr("0000000000100008.0"));
}

TEST_F(FilteredFeed, IdleConsumerAdvancesWithItsHeartbeats) {
  Start();
  Consumer consumer(feed_->port());
  consumer.Hello(Wants("nothing") + R"(,"heartbeat":1)");
  consumer.LineOf("live");
  CommitTo("a", 0x2000);
  CommitTo("b", 0x3000);
  std::string cursor;
  while (cursor != CursorText(0x3000)) cursor = CursorOf(consumer.LineOf("heartbeat"));
  Consumer resumed(feed_->port());
  resumed.Hello(Wants("a", cursor));
  CommitTo("a", 0x4000);
  EXPECT_EQ(CursorOf(resumed.LineOf("change")), CursorText(0x4000));
}

TEST_F(FilteredFeed, LiveComesWhereNothingPasses) {
  Start();
  CommitTo("a", 0x2000);
  Consumer consumer(feed_->port());
  consumer.Hello(Wants("b"));
  EXPECT_EQ(CursorOf(consumer.LineOf("live")), CursorText(0x2000));
}

TEST_F(FilteredFeed, AnotherHelloChoosesAnew) {
  Start();
  CommitTo("a", 0x2000);
  CommitTo("b", 0x3000);
  Consumer consumer(feed_->port());
  consumer.Hello(Wants("a"));
  EXPECT_EQ(CursorOf(consumer.LineOf("change")), CursorText(0x2000));
  consumer.Hello(Wants("b"));
  EXPECT_EQ(CursorOf(consumer.LineOf("change")), CursorText(0x3000));
  consumer.Hello(R"(,"from":"earliest")");
  EXPECT_EQ(CursorOf(consumer.LineOf("change")), CursorText(0x2000));
  EXPECT_EQ(CursorOf(consumer.LineOf("change")), CursorText(0x3000));
}

// A hundred consumers with one filter cost as many pages as one.
TEST_F(FilteredFeed, ChoosesOnceForAllThatWantTheSame) {
  Start();
  std::vector<std::unique_ptr<Consumer>> consumers;
  for (int i = 0; i < 100; ++i) {
    consumers.push_back(std::make_unique<Consumer>(feed_->port()));
    consumers.back()->Hello(Wants("a"));
    consumers.back()->LineOf("live");
  }
  for (uint64_t commit = 0x2000; commit < 0x2100; commit += 8) {
    CommitTo("a", commit);
    for (auto& consumer : consumers)
      ASSERT_EQ(CursorOf(consumer->LineOf("change")), CursorText(commit));
  }
  EXPECT_LE(feed_->probe().pages, 64u) << "32 commits, each announced once or twice";
}

TEST_F(FilteredFeed, RandomFiltersSeeExactlyTheirs) {
  journal_options_.tail_bytes = 1 << 20;
  Start();
  std::minstd_rand random(11);
  uint64_t commit = 0x2000;
  const std::vector<std::string> names = {"a", "b", "c"};
  auto some = [&](int count) {
    for (; count > 0; --count, commit += 8) CommitTo(names[random() % 3], commit, random() % 3000);
  };
  some(2000);
  std::vector<std::pair<std::string, std::unique_ptr<Consumer>>> consumers;
  for (int i = 0; i < 12; ++i) {
    const std::string& name = names[random() % 3];
    consumers.emplace_back(name,
                           std::make_unique<Consumer>(feed_->port(), i % 2 == 0 ? 8 << 10 : 0));
    consumers.back().second->Hello(Wants(name));
    some(100);
  }
  for (auto& [name, consumer] : consumers) ExpectAll(*consumer, name);
}

}  // namespace
}  // namespace syncflow::feed
