// Random operations against the simplest journal there is: a list of lines in memory.
#include <random>

#include "tests/journal/rig.h"

namespace syncflow::journal {
namespace {

class PropertyTest : public JournalRig, public ::testing::WithParamInterface<uint32_t> {
 protected:
  struct Line {
    Position position;
    uint64_t end;  // offset in written_
  };

  uint64_t Random(uint64_t below) { return random_() % below; }

  void AppendSome() {
    for (uint64_t count = Random(6); count > 0; --count) {
      bool same_transaction = !lines_.empty() && Random(3) > 0;
      next_ = same_transaction ? Position{next_.commit_lsn, next_.index + 1 + Random(3)}
                               : Position{Lsn(next_.commit_lsn.bytes() + 8 + Random(50)), 0};
      uint64_t size = Random(50) == 0 ? Random(400'000) : 80 + Random(3000);
      std::string line = LineAt(next_, size);
      journal_->Append(next_, line);
      written_ += line;
      lines_.push_back({next_, written_.size()});
    }
  }

  void Flush() {
    journal_->Flush(std::max(journal_->recorded(), Lsn(next_.commit_lsn.bytes() + Random(2))));
    EXPECT_EQ(Announced(), written_.size());
  }

  // All that was announced is there again, after an orderly end as after a killed process.
  void EndAndReopen() {
    Lsn durable = journal_->durable();
    uint64_t announced = Announced();
    Random(2) == 0 ? Crash() : Close();
    // What was not announced PostgreSQL sends again; here it is forgotten.
    written_.resize(announced);
    while (!lines_.empty() && lines_.back().end > announced) lines_.pop_back();
    Open();
    // Retention may have worked at both ends, so the journal is asked where it begins.
    Earliest earliest = journal_->earliest();
    zero_ = OffsetAfter(earliest.base) - earliest.offset;
    EXPECT_EQ(Announced(), announced);
    EXPECT_GE(journal_->durable(), durable);
    EXPECT_EQ(journal_->appended(), lines_.empty() ? earliest.base : lines_.back().position);
  }

  // Offset in written_ of the first line after `position`.
  uint64_t OffsetAfter(Position position) const {
    auto after =
        std::upper_bound(lines_.begin(), lines_.end(), position,
                         [](const Position& at, const Line& line) { return at < line.position; });
    return after == lines_.begin() ? 0 : std::prev(after)->end;
  }

  // Offset in written_ of the journal's head.
  uint64_t Announced() const { return zero_ + journal_->head().offset; }

  void Compare() {
    uint64_t head = journal_->head().offset;
    Earliest earliest = journal_->earliest();
    ASSERT_EQ(OffsetAfter(earliest.base), zero_ + earliest.offset);
    uint64_t from = OffsetAfter(SomePosition());
    if (from < zero_ + earliest.offset) return;
    uint64_t offset = std::min(from - zero_, head);
    uint64_t piece = 1 + Random(Random(2) == 0 ? 4000 : 1'000'000);
    std::string_view rest = std::string_view(written_).substr(zero_ + offset, head - offset);
    std::string read = ReadFiles(offset, piece);
    ASSERT_EQ(read, rest.substr(0, read.size()));
    // Only retention, which works beside this thread, may come before the end.
    ASSERT_TRUE(read.size() == rest.size() || journal_->earliest().offset > offset + read.size());
    if (auto view = journal_->Tail(offset, piece)) {
      ASSERT_EQ(view->bytes, rest.substr(0, view->bytes.size()));
      ASSERT_EQ(view->bytes.empty(), rest.empty());
    }
  }

  void FindSome() {
    Position position = SomePosition();
    auto found = journal_->Find(position);
    if (position > journal_->head().position) {
      ASSERT_EQ(std::get<Miss>(found), Miss::kAhead);
    } else if (std::holds_alternative<Miss>(found)) {
      ASSERT_EQ(std::get<Miss>(found), Miss::kLost);
      ASSERT_LT(position, journal_->earliest().base);
    } else {
      ASSERT_EQ(zero_ + std::get<uint64_t>(found), OffsetAfter(position));
    }
  }

  // That of a line, or one beside it.
  Position SomePosition() {
    if (lines_.empty()) return Position::Before(Lsn(kStart));
    Position position = lines_[Random(lines_.size())].position;
    return {position.commit_lsn, position.index + Random(2)};
  }

  void Step() {
    uint64_t choice = Random(100);
    if (choice < 50) return AppendSome();
    if (choice < 70) return Flush();
    if (choice < 82) return Compare();
    if (choice < 94) return FindSome();
    if (choice < 98) return journal_->SyncSoon();
    Compare();
    EndAndReopen();
  }

  std::minstd_rand random_;
  Position next_{Lsn(0x2000), 0};
  std::vector<Line> lines_;
  uint64_t zero_ = 0;  // where the journal's offset 0 is in written_
};

TEST_P(PropertyTest, RandomOperationsAgreeWithAListOfLines) {
  random_.seed(GetParam());
  options_.segment_bytes = 1000 + Random(200'000);
  options_.retain_bytes = 10 * options_.segment_bytes;
  options_.tail_bytes = Random(2'000'000);
  Open();
  for (int step = 0; step < 600 && !HasFatalFailure(); ++step) Step();
}

INSTANTIATE_TEST_SUITE_P(Seeds, PropertyTest, ::testing::Range(1u, 21u));

}  // namespace
}  // namespace syncflow::journal
