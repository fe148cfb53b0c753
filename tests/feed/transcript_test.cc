// The conversations shown in the room's PROTOCOL.md, held with a real feed, one test for each.
#include <fstream>
#include <map>
#include <optional>

#include "tests/feed/rig.h"

namespace syncflow::feed {
namespace {

constexpr int kBeatsMax = 100;

struct Transcript {
  std::string title;
  std::vector<std::string> lines;
};

// Every block of text on the page, with the heading above it.
std::vector<Transcript> Transcripts() {
  std::ifstream page(SYNCFLOW_SOURCE_DIR "/sidecar/feed/PROTOCOL.md");
  std::vector<Transcript> all;
  std::string title;
  bool inside = false;
  for (std::string line; std::getline(page, line);) {
    if (!inside && line.starts_with("### ")) title = line.substr(4);
    if (inside && line != "```") all.back().lines.push_back(line);
    if (inside && line == "```") inside = false;
    if (line != "```text") continue;
    inside = true;
    all.push_back({title, {}});
  }
  return all;
}

// "…" stands for anything.
bool Matches(std::string_view shown, std::string_view said) {
  constexpr std::string_view kAnything = "…";
  size_t gap = shown.find(kAnything);
  if (gap == std::string_view::npos) return shown == said;
  if (!said.starts_with(shown.substr(0, gap))) return false;
  std::string_view rest = shown.substr(gap + kAnything.size());
  if (rest.empty()) return true;
  for (size_t at = gap; at <= said.size(); ++at) {
    if (Matches(rest, said.substr(at))) return true;
  }
  return false;
}

// What `line` says between `before` and the next quotation mark.
std::string Between(const std::string& line, const std::string& before) {
  size_t begin = line.find(before);
  if (begin == line.npos) return "";
  begin += before.size();
  return line.substr(begin, line.find('"', begin) - begin);
}

class TranscriptTest : public FeedRig, public ::testing::WithParamInterface<Transcript> {
 protected:
  TranscriptTest() {
    options_.heartbeat = std::chrono::seconds(300);
    options_.read_documents = [](DocumentSink& sink, int) {
      sink.Begin(replication::Lsn(0x2008));
      sink.Add({"todos", "doc-1", R"({"title": "x"})", 1, false, R"({"c1": 1})", 1700001000});
      sink.Add({"notes", "doc-2", R"({"title": "y"})", 1, false, R"({"c1": 1})", 1700001000});
    };
    journal_options_.segment_bytes = 1000;
    journal_options_.retain_bytes = 3000;
  }
  ~TranscriptTest() override { feed_.reset(); }

  void Replay(const std::string& line) {
    size_t mark = line.find_first_of("<>#");
    ASSERT_LE(mark, 1u) << "neither said, heard nor done: " << line;
    std::string words = line.substr(mark + 2);
    size_t who = mark == 0 ? 0 : 1;
    if (line[mark] == '#') return Do(words);
    if (line[mark] == '>') return Connection(who).Say(Meant(words) + "\n");
    Hear(who, words);
  }

  Consumer& Connection(size_t who) {
    last_ = who;
    if (!consumers_[who]) consumers_[who].emplace(feed_->port());
    return *consumers_[who];
  }

  void Hear(size_t who, const std::string& shown) {
    std::string said = Connection(who).Line();
    for (int beats = 0; beats < kBeatsMax && IsStrayBeat(shown, said); ++beats)
      said = Connection(who).Line();
    if (shown.starts_with(R"({"type":"snapshot_begin")"))
      meant_[Between(shown, "\"snapshot\":\"")] = Between(said, "\"snapshot\":\"");
    ASSERT_TRUE(Matches(Meant(shown) + "\n", said)) << "shown: " << shown << "\nsaid:  " << said;
  }
  // On a slow machine they come where the page shows none, or sooner than what they tell of.
  static bool IsStrayBeat(const std::string& shown, const std::string& said) {
    return said.starts_with(R"({"type":"heartbeat")") && !Matches(shown + "\n", said);
  }

  // The names of snapshots are never the same: those that the page shows stand for them.
  std::string Meant(std::string text) const {
    for (const auto& [shown, real] : meant_) {
      for (size_t at; !shown.empty() && (at = text.find(shown)) != text.npos;)
        text.replace(at, shown.size(), real);
    }
    return text;
  }

  void Do(const std::string& what) {
    if (what == "somebody commits two operations") return CommitTwo();
    if (what == "250 ms pass") return Connection(0).Say("");
    if (what == "a second passes") return;  // what is heard next waits for it
    if (what == "the client closes its sending side") return Connection(0).EndInput();
    if (what == "the connection breaks") return consumers_[last_].reset();
    if (what == "the connection ends") return ExpectTheEnd();
    if (what == "PostgreSQL goes away") return feed_->UpstreamDown("connection refused");
    if (what == "the sidecar stops") return feed_->Stop(std::chrono::milliseconds(kPatienceMs));
    if (what == "much more is committed, and retention removes the oldest") return CommitMuch();
    ASSERT_TRUE(what.starts_with("the feed has a tokens file")) << "nobody knows how to: " << what;
  }

  void ExpectTheEnd() {
    EXPECT_EQ(consumers_[last_]->Line(), "");
    consumers_[last_].reset();
  }

  // A transaction of two changes, as the page shows it.
  void CommitTwo() {
    Encoder encoder(epoch_, options_.line_bytes_max);
    for (uint64_t index : {0, 1}) {
      replication::Change change;
      bool first = index == 0;
      change.operation = {first ? "op-1" : "op-2",
                          "insert",
                          first ? "todos" : "notes",
                          first ? "doc-1" : "doc-2",
                          R"({"title": "x"})",
                          1700001000,
                          "c1",
                          false,
                          R"({"c1": 1})"};
      change.commit_lsn = replication::Lsn(next_commit_);
      change.index = index;
      change.xid = 741;
      change.commit_time = 1795425260567891;
      encoder.Encode(change);
      journal_->Append({change.commit_lsn, index}, encoder.Finish(index == 1));
    }
    journal_->Flush(replication::Lsn(next_commit_ + 8));
    next_commit_ += 0x1000;
  }

  void CommitMuch() {
    for (uint64_t commit = 0x4000; commit < 0x4100; commit += 8) {
      Commit(commit, 500);
      WaitDurable();
    }
  }

  void WriteTokensFile() {
    options_.tokens_file = journal_options_.directory / "tokens";
    std::ofstream(options_.tokens_file)
        << "reader 2bb80d537b1da3e38bd30361aa855686bde0eacd7162fef6a25fe97bf527a25b todos\n";
  }

  uint64_t next_commit_ = 0x2000;
  std::optional<Consumer> consumers_[2];
  size_t last_ = 0;
  std::map<std::string, std::string> meant_;
};

TEST_P(TranscriptTest, IsTrue) {
  const std::vector<std::string>& lines = GetParam().lines;
  ASSERT_GT(lines.size(), 4u);
  if (lines[0].starts_with("# the feed has a tokens file")) WriteTokensFile();
  Start();
  for (const std::string& line : lines) {
    Replay(line);
    if (HasFatalFailure()) return;
  }
}

INSTANTIATE_TEST_SUITE_P(Protocol, TranscriptTest, ::testing::ValuesIn(Transcripts()),
                         [](const auto& transcript) {
                           std::string name;
                           for (char c : transcript.param.title) {
                             if (isalpha(static_cast<unsigned char>(c)) != 0) name += c;
                           }
                           return name;
                         });

TEST(Transcripts, AreOnThePage) {
  EXPECT_GE(Transcripts().size(), 11u);
}

}  // namespace
}  // namespace syncflow::feed
