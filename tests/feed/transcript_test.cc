// The conversation shown in the room's README, held with a real feed.
#include <fstream>
#include <sstream>

#include "tests/feed/rig.h"

namespace syncflow::feed {
namespace {

// Lines "> …" are said, "< …" are heard, "# commit" is a transaction.
std::vector<std::string> Transcript() {
  std::ifstream page(SYNCFLOW_SOURCE_DIR "/sidecar/feed/README.md");
  std::stringstream text;
  text << page.rdbuf();
  std::string all = text.str();
  size_t begin = all.find("```text\n");
  std::vector<std::string> lines;
  if (begin == std::string::npos) return lines;
  std::istringstream block(all.substr(begin + 8, all.find("```", begin + 8) - begin - 8));
  for (std::string line; std::getline(block, line);) lines.push_back(line);
  return lines;
}

// "…" stands for anything.
bool Matches(std::string_view shown, std::string_view said) {
  constexpr std::string_view kAnything = "…";
  size_t gap = shown.find(kAnything);
  if (gap == std::string_view::npos) return shown == said;
  if (!said.starts_with(shown.substr(0, gap))) return false;
  std::string_view rest = shown.substr(gap + kAnything.size());
  for (size_t at = gap; at <= said.size(); ++at) {
    if (Matches(rest, said.substr(at))) return true;
  }
  return false;
}

class TranscriptTest : public FeedRig {
 protected:
  // A transaction of two changes, as the page shows it.
  void CommitTwo() {
    Encoder encoder(epoch_, options_.line_bytes_max);
    for (uint64_t index : {0, 1}) {
      replication::Change change;
      change.operation = {index == 0 ? "op-1" : "op-2",
                          "insert",
                          "todos",
                          index == 0 ? "doc-1" : "doc-2",
                          R"({"title": "x"})",
                          1700001000,
                          "c1",
                          false,
                          R"({"c1": 1})"};
      change.commit_lsn = replication::Lsn(0x2000);
      change.index = index;
      change.xid = 741;
      change.commit_time = 1795425260567891;
      encoder.Encode(change);
      journal_->Append({change.commit_lsn, index}, encoder.Finish(index == 1));
    }
    journal_->Flush(replication::Lsn(0x2008));
  }
};

TEST_F(TranscriptTest, OfTheReadmeIsTrue) {
  Start();
  Consumer consumer(feed_->port());
  std::vector<std::string> lines = Transcript();
  ASSERT_GT(lines.size(), 6u) << "the page shows no conversation";
  for (const std::string& line : lines) {
    ASSERT_GT(line.size(), 2u);
    std::string words = line.substr(2);
    if (line.starts_with("# ")) CommitTwo();
    if (line.starts_with("> ")) consumer.Say(words + "\n");
    if (!line.starts_with("< ")) continue;
    std::string said = consumer.Line();
    ASSERT_TRUE(Matches(words + "\n", said)) << "shown: " << words << "\nsaid:  " << said;
  }
}

}  // namespace
}  // namespace syncflow::feed
