// The documents first, then every change behind them: none missing, none twice.
#include "sidecar/feed/snapshot.h"

#include <fcntl.h>

#include <algorithm>
#include <atomic>
#include <condition_variable>
#include <deque>
#include <mutex>

#include "sidecar/feed/close_reason.h"
#include "tests/feed/rig.h"

namespace syncflow::feed {
namespace {

using nlohmann::json;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;
using ::testing::StartsWith;

struct Row {
  std::string collection;
  std::string id;
  std::string data = "1";
};

// A table that is read as slowly as a test wants.
class Table {
 public:
  void Read(DocumentSink& sink, int stop_fd) {
    ++reads;
    if (fails) throw std::runtime_error("no snapshot for you");
    Pass(stop_fd);
    sink.Begin(replication::Lsn(as_of));
    for (const Row& row : rows) {
      if (row.id == "wait") {
        Pass(stop_fd);
      } else {
        sink.Add({row.collection, row.id, row.data, 3, row.id == "gone", R"({"c": 1})", 1700});
      }
    }
  }
  void Open() {
    std::lock_guard lock(mutex_);
    open_ = true;
    opened_.notify_all();
  }
  void Shut() { open_ = false; }

  uint64_t as_of = 0x1000;  // where the rig's journal begins
  std::vector<Row> rows = {{"todos", "a"}, {"notes", "gone"}, {"todos", "c"}};
  std::atomic<int> reads{0};
  std::atomic<bool> fails{false};
  bool opens_once = false;  // shut again by the first who passes

 private:
  void Pass(int stop_fd) {
    std::unique_lock lock(mutex_);
    for (pollfd stop{stop_fd, POLLIN, 0}; !open_;) {
      opened_.wait_for(lock, std::chrono::milliseconds(5));
      if (fails || poll(&stop, 1, 0) > 0) throw std::runtime_error("stopped");
    }
    if (opens_once) open_ = false;
  }

  std::mutex mutex_;
  std::condition_variable opened_;
  bool open_ = true;
};

class FromSnapshot : public FeedRig {
 protected:
  FromSnapshot() {
    options_.read_documents = [this](DocumentSink& sink, int stop) { table_.Read(sink, stop); };
  }
  ~FromSnapshot() override { feed_.reset(); }  // it reads table_
  void Ask(const Consumer& consumer, const std::string& more = "") const {
    consumer.Hello(R"(,"from":"snapshot")" + more);
  }
  static std::string Field(const std::string& line, const char* key) {
    json parsed = json::parse(line, nullptr, false);
    return parsed.is_object() && parsed.contains(key) ? parsed[key].get<std::string>() : "none";
  }
  // The ids up to the end, which is returned.
  static std::string Documents(Consumer& consumer, std::vector<std::string>& ids) {
    for (;;) {
      std::string line = consumer.Line();
      if (line.empty() || line.starts_with(R"({"type":"snapshot_end")")) return line;
      if (line.starts_with(R"({"type":"document")"))
        ids.push_back(json::parse(line)["document"]["id"]);
    }
  }
  static std::vector<std::string> IdsOf(Consumer& consumer) {
    std::vector<std::string> ids;
    EXPECT_THAT(Documents(consumer, ids), Not(IsEmpty()));
    return ids;
  }
  std::string BeforeText(uint64_t lsn) const {
    return journal::Cursor{epoch_, journal::Position::Before(replication::Lsn(lsn))}.ToString();
  }
  void FillTable(size_t count, size_t bytes) {
    table_.rows.clear();
    for (size_t i = 0; i < count; ++i)
      table_.rows.push_back(
          {i % 2 == 0 ? "even" : "odd", std::to_string(i), "\"" + std::string(bytes, 'x') + "\""});
  }

  Table table_;
};

TEST_F(FromSnapshot, DocumentsThenEveryChangeBehindThem) {
  table_.as_of = 0x2010;
  Start();
  for (uint64_t commit : {0x2000, 0x2008, 0x2010, 0x2018}) Commit(commit);
  Consumer consumer(feed_->port());
  Ask(consumer);
  std::string hello = consumer.Line();
  EXPECT_THAT(hello, StartsWith(R"({"type":"hello")"));
  EXPECT_THAT(hello, Not(HasSubstr("\"start\""))) << "whoever stores it would miss the documents";
  std::string begin = consumer.Line();
  EXPECT_EQ(Field(begin, "type"), "snapshot_begin");
  EXPECT_EQ(Field(begin, "as_of"), BeforeText(0x2010));
  std::string id = Field(begin, "snapshot");
  EXPECT_EQ(consumer.Line(),
            R"({"type":"document","snapshot":")" + id +
                R"(","number":0,"document":{"collection":"todos","id":"a","data":1,"rev":3,)" +
                R"("deleted":false,"vectorClock":{"c": 1},"updatedAt":1700}})" + "\n");
  EXPECT_THAT(consumer.Line(),
              HasSubstr(R"("number":1,"document":{"collection":"notes","id":"gone",)"
                        R"("data":1,"rev":3,"deleted":true)"));
  EXPECT_THAT(consumer.Line(), HasSubstr(R"("number":2)"));
  EXPECT_EQ(consumer.Line(), R"({"type":"snapshot_end","snapshot":")" + id + R"(","cursor":")" +
                                 BeforeText(0x2010) + R"(","documents":3})" + "\n");
  EXPECT_EQ(CursorOf(consumer.Line()), CursorText(0x2010));
  EXPECT_EQ(CursorOf(consumer.Line()), CursorText(0x2018));
  EXPECT_EQ(consumer.Line(), R"({"type":"live","cursor":")" + CursorText(0x2018) + "\"}\n");
  Commit(0x2020);
  EXPECT_EQ(CursorOf(consumer.Line()), CursorText(0x2020));
}

// The slot of the snapshot may know commits that the stream has not brought yet, and that a
// failover could still take back.
TEST_F(FromSnapshot, EndIsToldWhenTheJournalHasWhatTheDocumentsShow) {
  table_.as_of = 0x3000;
  Start();
  Commit(0x2000);
  Consumer consumer(feed_->port());
  Ask(consumer, R"(,"heartbeat":1)");
  consumer.LineOf("document");
  Commit(0x2008);
  EXPECT_THAT(consumer.LineOf("heartbeat"), Not(HasSubstr("\"cursor\"")));
  EXPECT_THAT(consumer.Line(), StartsWith(R"({"type":"heartbeat")"));
  Commit(0x2ff8);
  EXPECT_EQ(CursorOf(consumer.LineOf("snapshot_end")), BeforeText(0x3000));
  EXPECT_EQ(CursorOf(consumer.Line()), BeforeText(0x3000)) << "live";
  EXPECT_EQ(CursorOf(consumer.LineOf("heartbeat")), BeforeText(0x3000));
  Commit(0x3000);
  EXPECT_EQ(CursorOf(consumer.LineOf("change")), CursorText(0x3000));
  Commit(0x3008);
  EXPECT_EQ(CursorOf(consumer.Line()), CursorText(0x3008));
}

// No line stands where the documents end, and none may come for hours.
TEST_F(FromSnapshot, ItsCursorIsOfUseBeforeAnythingFollows) {
  table_.as_of = 0x3000;
  Start();
  Commit(0x2000);
  journal_->Flush(replication::Lsn(0x3000));
  Consumer consumer(feed_->port());
  Ask(consumer);
  std::string cursor = CursorOf(consumer.LineOf("snapshot_end"));
  Consumer again(feed_->port());
  again.Hello(R"(,"from":")" + cursor + "\"");
  EXPECT_EQ(CursorOf(again.Line(), "start"), cursor);
  EXPECT_EQ(CursorOf(again.Line()), cursor) << "live";
  Commit(0x3000);
  EXPECT_EQ(CursorOf(again.Line()), CursorText(0x3000));
  Consumer ahead(feed_->port());
  ahead.Hello(R"(,"from":")" + BeforeText(0x9000) + "\"");
  EXPECT_THAT(ahead.Line(), HasSubstr("cursor_ahead"));
}

TEST_F(FromSnapshot, OnlyTheCollectionsThatAreWanted) {
  table_.rows = {{"todos", "a"}, {"no\"tes", "b"}, {"todos\"", "c"}, {"no\"tes", "d"}, {"", "e"}};
  Start();
  Consumer consumer(feed_->port());
  Ask(consumer, R"(,"collections":["no\"tes","none"])");
  EXPECT_THAT(consumer.LineOf("snapshot_begin"), HasSubstr(R"("collections":["no\"tes","none"])"));
  EXPECT_THAT(consumer.Line(), HasSubstr(R"("number":1,)"));
  EXPECT_THAT(consumer.Line(), HasSubstr(R"("number":3,)"));
  EXPECT_THAT(consumer.Line(), HasSubstr(R"("documents":2)"));
}

TEST_F(FromSnapshot, HundredJoinersReadTheTableOnce) {
  FillTable(1000, 300);
  table_.Shut();
  Start();
  std::deque<Consumer> consumers;
  for (int i = 0; i < 100; ++i) Ask(consumers.emplace_back(feed_->port()));
  for (Consumer& consumer : consumers) consumer.LineOf("hello");
  table_.Open();
  for (Consumer& consumer : consumers) EXPECT_EQ(IdsOf(consumer).size(), 1000u);
  Consumer late(feed_->port());
  Ask(late);
  EXPECT_EQ(IdsOf(late).size(), 1000u);
  EXPECT_EQ(table_.reads, 1);
}

TEST_F(FromSnapshot, DownloadThatBrokeGoesOn) {
  FillTable(5000, 200);
  Start();
  std::string id;
  {
    Consumer consumer(feed_->port(), 4096);
    Ask(consumer);
    id = Field(consumer.LineOf("snapshot_begin"), "snapshot");
    for (int i = 0; i < 1234; ++i) consumer.Line();
  }
  Consumer again(feed_->port());
  Ask(again, R"(,"snapshot":")" + id + R"(","number":1234)");
  EXPECT_EQ(Field(again.LineOf("snapshot_begin"), "snapshot"), id);
  std::vector<std::string> ids;
  EXPECT_THAT(Documents(again, ids), HasSubstr("\"documents\":5000"));
  EXPECT_EQ(ids.size(), 5000u - 1234);
  EXPECT_EQ(ids.front(), "1234");
  Consumer filtered(feed_->port());
  Ask(filtered, R"(,"collections":["odd"],"number":4001,"snapshot":")" + id + "\"");
  ids.clear();
  EXPECT_THAT(Documents(filtered, ids), HasSubstr("\"documents\":2500"));
  EXPECT_EQ(ids.size(), 500u);
  Consumer unknown(feed_->port());
  Ask(unknown, R"(,"snapshot":"s-of-yesterday","number":4999)");
  EXPECT_EQ(IdsOf(unknown).size(), 5000u) << "another snapshot begins at its beginning";
  Consumer beyond(feed_->port());
  Ask(beyond, R"(,"snapshot":")" + id + R"(","number":99999999999)");
  EXPECT_EQ(IdsOf(beyond).size(), 0u);
  EXPECT_EQ(table_.reads, 1);
}

TEST_F(FromSnapshot, FailureIsToldAndTheNextAttemptIsNew) {
  table_.fails = true;
  Start();
  Consumer consumer(feed_->port());
  Ask(consumer);
  consumer.LineOf("hello");
  EXPECT_THAT(consumer.Line(),
              StartsWith(R"({"type":"error","code":"snapshot_failed","fatal":true,"retry":true)"));
  EXPECT_EQ(consumer.Line(), "");
  table_.fails = false;
  // Not at once: who is refused comes back soon, and each attempt makes a slot.
  Wait([this] {
    Consumer again(feed_->port());
    Ask(again);
    std::vector<std::string> ids;
    return !Documents(again, ids).empty() && ids.size() == 3;
  });
  EXPECT_EQ(table_.reads, 2);
}

TEST_F(FromSnapshot, FailureInTheMiddleIsTold) {
  FillTable(3000, 200);
  table_.rows.push_back({"", "wait"});
  table_.opens_once = true;
  Start();
  Consumer consumer(feed_->port());
  Ask(consumer);
  consumer.LineOf("document");
  table_.fails = true;
  EXPECT_THAT(consumer.LineOf("error"), HasSubstr("snapshot_failed"));
  EXPECT_EQ(consumer.Line(), "");
}

TEST_F(FromSnapshot, IsRefusedWhereNobodyReadsDocuments) {
  options_.read_documents = nullptr;
  Start();
  Consumer consumer(feed_->port());
  Ask(consumer);
  EXPECT_THAT(consumer.LineOf("error"),
              StartsWith(R"({"type":"error","code":"snapshot_failed","fatal":true,"retry":false)"));
}

// Otherwise it would go on behind documents that it has never seen; also where the journal begins
// at the beginning of time.
TEST_F(FromSnapshot, NameHasNoPositionBeforeItAcknowledgesTheSnapshot) {
  table_.as_of = 0x2010;
  StartUnbound();
  Bind(2);
  Commit(0x2000);
  journal_->Flush(replication::Lsn(0x2010));
  const std::string name = R"(,"name":"billing")";
  {
    Consumer consumer(feed_->port());
    Ask(consumer, name);
    consumer.LineOf("snapshot_end");
  }
  {
    Consumer consumer(feed_->port());
    consumer.Hello(name);
    EXPECT_THAT(consumer.Line(), HasSubstr("\"history_lost\""));
  }
  {
    Consumer consumer(feed_->port());
    Ask(consumer, name);
    std::string end = consumer.LineOf("snapshot_end");
    consumer.Say(R"({"type":"ack","cursor":")" + CursorOf(end) + "\"}\n");
    EXPECT_EQ(CursorOf(consumer.LineOf("acked")), CursorOf(end));
  }
  Commit(0x2010);
  Consumer consumer(feed_->port());
  consumer.Hello(name);
  EXPECT_EQ(CursorOf(consumer.Line(), "start"), BeforeText(0x2010));
  EXPECT_EQ(CursorOf(consumer.Line()), CursorText(0x2010));
}

TEST_F(FromSnapshot, IsNotSilentWhileItWaits) {
  table_.Shut();
  Start();
  Consumer consumer(feed_->port());
  Ask(consumer, R"(,"heartbeat":1)");
  consumer.LineOf("hello");
  std::string beat = consumer.LineOf("heartbeat");
  EXPECT_THAT(beat, HasSubstr("\"head\""));
  EXPECT_THAT(beat, Not(HasSubstr("\"cursor\"")));
  consumer.Say("{\"type\":\"ping\",\"id\":\"1\"}\n");
  EXPECT_EQ(consumer.LineOf("pong"), "{\"type\":\"pong\",\"id\":\"1\"}\n");
  consumer.Say("{\"type\":\"ack\",\"cursor\":\"" + CursorText(0x1000) + "\"}\n");
  EXPECT_THAT(consumer.LineOf("error"), HasSubstr("bad_ack"));
  consumer.Hello(R"(,"request":"other")");
  EXPECT_THAT(consumer.LineOf("hello"), HasSubstr("other"));
  Commit(0x2000);
  EXPECT_EQ(CursorOf(consumer.LineOf("change")), CursorText(0x2000));
}

TEST_F(FromSnapshot, HelloInTheMiddleEndsIt) {
  FillTable(20'000, 1000);
  Start();
  Consumer consumer(feed_->port(), 4096);
  Ask(consumer);
  consumer.LineOf("document");
  consumer.Hello(R"(,"request":"other")");
  EXPECT_THAT(consumer.LineOf("hello"), HasSubstr("other"));
  EXPECT_THAT(consumer.Line(), StartsWith(R"({"type":"live")"));
}

TEST_F(FromSnapshot, LongDocumentsArriveWholeOrSayWhatIsLeftOut) {
  options_.line_bytes_max = 1 << 20;
  table_.rows = {{"todos", "a", "\"" + std::string(900'000, 'x') + "\""},
                 {"todos", "b", "\"" + std::string(1 << 20, 'y') + "\""},
                 {"notes", "c", "\"" + std::string(900'000, 'z') + "\""}};
  Start();
  Consumer all(feed_->port());
  Ask(all);
  json first = json::parse(all.LineOf("document"));
  EXPECT_EQ(first["document"]["data"].get<std::string>().size(), 900'000u);
  json second = json::parse(all.Line());
  EXPECT_EQ(second["document"]["data"], nullptr);
  EXPECT_EQ(second["omitted"]["data"], (1 << 20) + 2);
  EXPECT_EQ(json::parse(all.Line())["document"]["id"], "c");
  Consumer notes(feed_->port());
  Ask(notes, R"(,"collections":["notes"])");
  EXPECT_THAT(IdsOf(notes), ElementsAre("c"));
}

TEST_F(FromSnapshot, NoDocumentIsTooLongForALine) {
  options_.line_bytes_max = 4096;
  std::string large(5000, 'x');
  std::string quoted = '"' + large + '"';
  table_.rows = {{"todos", large}, {large, large, quoted}, {"todos", "c"}};
  Start();
  Consumer all(feed_->port());
  Ask(all);
  std::string without_id = all.LineOf("document");
  EXPECT_EQ(json::parse(without_id)["omitted"], json::parse(R"({"id":5000})"));
  EXPECT_EQ(json::parse(without_id)["document"]["id"], "");
  std::string without_anything = all.Line();
  EXPECT_LE(without_anything.size(), 4096u);
  EXPECT_EQ(json::parse(without_anything)["omitted"],
            json::parse(R"({"data":5002,"id":5000,"collection":5000})"));
  EXPECT_EQ(json::parse(all.Line())["document"]["id"], "c");
  Consumer todos(feed_->port());
  Ask(todos, R"(,"collections":["todos"])");
  EXPECT_THAT(IdsOf(todos), ElementsAre("", "c"));
}

TEST_F(FromSnapshot, FeedStopsWhileTheTableIsRead) {
  table_.Shut();
  Start();
  Consumer consumer(feed_->port());
  Ask(consumer);
  consumer.LineOf("hello");
  feed_->Stop(std::chrono::seconds(2));
  EXPECT_THAT(consumer.Line(), StartsWith(R"({"type":"bye")"));
}

TEST_F(FromSnapshot, AskedBeforeThereIsAHistory) {
  StartUnbound();
  Consumer consumer(feed_->port());
  Ask(consumer);
  EXPECT_THAT(consumer.Line(), HasSubstr("upstream_down"));
  Bind();
  feed_->Announce();
  EXPECT_THAT(IdsOf(consumer), ElementsAre("a", "gone", "c"));
}

// Where the page cache ends in the middle of a line, the filter has not seen enough to judge.
TEST_F(FromSnapshot, NothingIsLostWhereThePageCacheEnds) {
  Spool spool(journal_options_.directory, 1 << 20, [] {});
  spool.Begin(replication::Lsn(0x1000));
  std::string data = "\"" + std::string(300, 'x') + "\"";
  for (int i = 0; i < 4000; ++i)
    spool.Add({i % 2 == 0 ? "even" : "odd", std::to_string(i), data, 1, false, "{}", 0});
  spool.End();
  auto shared = std::shared_ptr<const Spool>(&spool, [](const Spool*) {});
  auto filter = std::make_shared<const Filter>(std::vector<std::string>{"odd"});
  int ends[2];
  ASSERT_EQ(socketpair(AF_UNIX, SOCK_STREAM, 0, ends), 0);
  Wire wire(ends[0]);
  Download download(shared, filter, 0);
  int cold = 0;
  size_t lines = 0;
  std::string scratch(1 << 20, '\0');
  for (auto result = Download::Result::kSent; result != Download::Result::kEnded;) {
    // All but the page where the next piece begins has gone from the cache.
    fdatasync(spool.fd());
    posix_fadvise(spool.fd(), 0, 0, POSIX_FADV_DONTNEED);
    posix_fadvise(spool.fd(), 0, 0, POSIX_FADV_RANDOM);
    char byte = 0;
    ASSERT_GE(pread(spool.fd(), &byte, 1, static_cast<off_t>(download.offset())), 0);
    uint64_t budget = 1 << 20;
    size_t sent = 0;
    result = download.Send(wire, budget, sent);
    ASSERT_NE(result, Download::Result::kFailed);
    if (result == Download::Result::kCold && ++cold > 0) {
      uint64_t begin = download.offset();
      download.Warmed(begin, download.Warm()());
    }
    ssize_t got = recv(ends[1], scratch.data(), scratch.size(), MSG_DONTWAIT);
    if (got > 0)
      lines += static_cast<size_t>(std::count(scratch.begin(), scratch.begin() + got, '\n'));
  }
  EXPECT_EQ(lines, 2000u);
  EXPECT_GT(cold, 0) << "this file system keeps everything cached: nothing was tested";
  close(ends[0]);
  close(ends[1]);
}

TEST_F(FromSnapshot, LeavesNoFile) {
  Start();
  Consumer consumer(feed_->port());
  Ask(consumer);
  consumer.LineOf("live");
  for (const auto& entry : std::filesystem::directory_iterator(journal_options_.directory))
    EXPECT_THAT(entry.path().filename().string(), Not(HasSubstr("snapshot")));
}

}  // namespace
}  // namespace syncflow::feed
