// What survives a torn end, wherever it was torn: always a beginning, and never a promise beyond
// it.
#include <gmock/gmock.h>

#include "sidecar/journal/entry.h"
#include "tests/journal/rig.h"

namespace syncflow::journal {
namespace {

using std::filesystem::path;

class RecoveryTest : public JournalRig {
 protected:
  // A small journal of three transactions, closed.
  void Write() {
    Open();
    for (uint64_t commit : {0x2000u, 0x3000u, 0x4000u}) Append(commit, 3, 120);
    Close();
    data_ = Files(".ndjson").back();
    index_ = Files(".idx").back();
    data_bytes_ = Content(data_);
    index_bytes_ = Content(index_);
  }

  void Restore() {
    Put(data_, data_bytes_);
    Put(index_, index_bytes_);
  }

  // Opens what is there; it must be a beginning of what was written, and nothing is safe that is
  // not in it.
  void ExpectBeginning(const std::string& how) {
    Open();
    std::string kept = ReadFiles(0);
    ASSERT_EQ(kept, written_.substr(0, kept.size())) << how;
    uint64_t transactions = kept.size() / (3 * 120);
    uint64_t safe = transactions == 0 ? kStart : 0x1000 * (transactions + 1) + 8;
    ASSERT_LE(journal_->durable().bytes(), safe) << how;
    ASSERT_EQ(journal_->durable(), journal_->recorded()) << how;
    // It takes what PostgreSQL sends again.
    Position last = journal_->appended();
    journal_->Append({Lsn(0x9000), 0}, LineAt({Lsn(0x9000), 0}));
    journal_->Flush(Lsn(0x9008));
    ASSERT_LT(last, journal_->appended());
    Close();
    Open();
    ASSERT_EQ(ReadFiles(0), kept + LineAt({Lsn(0x9000), 0})) << how;
    Close();
  }

  path data_;
  path index_;
  std::string data_bytes_;
  std::string index_bytes_;
};

TEST_F(RecoveryTest, LinesCutAtEveryByte) {
  Write();
  for (size_t length = 0; length <= data_bytes_.size(); ++length) {
    Restore();
    std::filesystem::resize_file(data_, length);
    ExpectBeginning("lines cut at " + std::to_string(length));
  }
}

TEST_F(RecoveryTest, IndexCutAtEveryByte) {
  Write();
  for (size_t length = 0; length <= index_bytes_.size(); ++length) {
    Restore();
    std::filesystem::resize_file(index_, length);
    ExpectBeginning("index cut at " + std::to_string(length));
  }
}

TEST_F(RecoveryTest, AnyFlippedByteOfTheIndexCutsThere) {
  Write();
  for (size_t at = 0; at < index_bytes_.size(); ++at) {
    Restore();
    std::string bad = index_bytes_;
    bad[at] = static_cast<char>(bad[at] ^ 0x20);
    Put(index_, bad);
    ExpectBeginning("index flipped at " + std::to_string(at));
  }
}

TEST_F(RecoveryTest, AnyFlippedByteOfUnsealedLinesCutsThere) {
  Write();
  for (size_t at = 0; at < data_bytes_.size(); at += 7) {
    Restore();
    std::string bad = data_bytes_;
    bad[at] = static_cast<char>(bad[at] ^ 0x01);
    Put(data_, bad);
    ExpectBeginning("lines flipped at " + std::to_string(at));
  }
}

TEST_F(RecoveryTest, LinesWithoutTheirEntryAreCut) {
  Write();
  Put(data_, data_bytes_ + "{\"type\":\"change\",\"cursor\":");
  Open();
  EXPECT_EQ(ReadFiles(0), written_);
  EXPECT_GT(journal_->probe().recovered_cut_bytes, 0u);
}

TEST_F(RecoveryTest, EmptyFilesOfASegmentBeingMadeAreFine) {
  Write();
  Cursor base{epoch_, {Lsn(0x4000), 2}};
  Put(options_.directory / (base.ToString() + ".ndjson"), "");
  Open();
  EXPECT_EQ(ReadFiles(0), written_);
  Append(0x5000, 1, 120);
  Reopen();
  EXPECT_EQ(ReadFiles(0), written_);
}

TEST_F(RecoveryTest, SegmentThatDoesNotFollowIsRemoved) {
  Write();
  Cursor base{epoch_, {Lsn(0x8000), 0}};
  Put(options_.directory / (base.ToString() + ".ndjson"), "anything");
  Put(options_.directory / (base.ToString() + ".idx"), "");
  Open();
  EXPECT_EQ(ReadFiles(0), written_);
  EXPECT_EQ(Files(".ndjson").size(), 1u);
}

TEST_F(RecoveryTest, TornSegmentTakesItsSuccessorsWithIt) {
  options_.segment_bytes = 1000;
  options_.sync_interval = std::chrono::hours(1);  // nothing is sealed before the end
  Open();
  for (uint64_t commit = 0x2000; commit < 0x2100; commit += 8) Append(commit, 1, 500);
  Crash();
  auto files = Files(".ndjson");
  ASSERT_GT(files.size(), 3u);
  std::filesystem::resize_file(files[1], 700);
  Open();
  EXPECT_EQ(ReadFiles(0), written_.substr(0, 1500));
  EXPECT_EQ(Files(".ndjson").size(), 2u);
  EXPECT_EQ(journal_->durable(), Lsn(0x2000 + 2 * 8 + 8));
}

TEST_F(RecoveryTest, DamagedSealedSegmentIsNotGuessedAt) {
  options_.segment_bytes = 1000;
  Open();
  for (uint64_t commit = 0x2000; commit < 0x2040; commit += 8) Append(commit, 1, 500);
  WaitDurable();
  Close();
  std::filesystem::resize_file(Files(".ndjson").front(), 700);
  try {
    Open();
    ADD_FAILURE() << "a hole was accepted";
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), Error::Kind::kDamaged);
  }
}

TEST_F(RecoveryTest, PositionSurvivesRotationAndRetention) {
  options_.segment_bytes = 1000;
  options_.retain_bytes = 2000;
  Open();
  for (uint64_t commit = 0x2000; commit < 0x2200; commit += 8) {
    Append(commit, 1, 500);
    WaitDurable();
  }
  Lsn durable = journal_->durable();
  EXPECT_EQ(Reopen().durable(), durable);
}

// An entry that is whole but does not follow what is before it is no end of this history.
TEST_F(RecoveryTest, EntryThatDoesNotFollowCutsThere) {
  Write();
  Entry last =
      *DecodeEntry(std::string_view(index_bytes_).substr(index_bytes_.size() - kEntrySize));
  ASSERT_EQ(last.kind, EntryKind::kBatch);
  std::string line = LineAt({Lsn(0x5000), 0});
  Entry next;
  next.lines = 1;
  next.offset = last.end();
  next.length = line.size();
  next.first = next.last = {Lsn(0x5000), 0};
  next.safe = Lsn(0x5008);
  next.data_crc = Crc32c(line);
  auto kept = [&](const std::function<void(Entry&)>& change) {
    Entry entry = next;
    change(entry);
    EntryBytes bytes = EncodeEntry(entry);
    Put(data_, data_bytes_ + line);
    Put(index_, index_bytes_ + std::string(bytes.data(), bytes.size()));
    Open();
    std::string lines = ReadFiles(0);
    Close();
    return lines;
  };
  EXPECT_EQ(kept([](Entry&) {}), written_ + line) << "as it should be";
  EXPECT_EQ(kept([](Entry& entry) { entry.offset -= 1; }), written_);
  EXPECT_EQ(kept([&](Entry& entry) { entry.first = last.last; }), written_);
  EXPECT_EQ(kept([](Entry& entry) { entry.last = {Lsn(0x4ff8), 0}; }), written_);
  EXPECT_EQ(kept([](Entry& entry) { entry.length += 1; }), written_);
  EXPECT_EQ(kept([](Entry& entry) { entry.data_crc ^= 1; }), written_);
  Entry seal = last;
  seal.kind = EntryKind::kSeal;
  seal.offset = last.end();
  seal.length = 0;
  EntryBytes bytes = EncodeEntry(seal);
  index_bytes_.append(bytes.data(), bytes.size());
  EXPECT_EQ(kept([](Entry&) {}), written_) << "behind a seal";
}

// Found when it is read, since a journal of years is not read through at a start.
TEST_F(RecoveryTest, DamageUnderAnOpenJournalIsTold) {
  Write();
  Open();
  std::string bad = Content(index_);
  bad[5] = static_cast<char>(bad[5] ^ 1);
  Put(index_, bad);
  EXPECT_EQ(Refusal([&] { std::ignore = journal_->Read(0, 100); }), Error::Kind::kDamaged);
  Put(index_, index_bytes_);
  Put(data_, std::string(data_bytes_.size(), 'x'));
  EXPECT_EQ(Refusal([&] {
              std::ignore = journal_->Find({Lsn(0x2000), 0});
            }),
            Error::Kind::kDamaged);
  std::filesystem::resize_file(data_, 10);
  EXPECT_EQ(Refusal([&] { std::ignore = CopyLines(*journal_, 0, 100); }), Error::Kind::kIo);
}

TEST_F(RecoveryTest, MetaThatCannotBeReadIsLoud) {
  Write();
  Put(options_.directory / "meta.json", "{");
  EXPECT_EQ(Refusal([&] { Open(); }), Error::Kind::kDamaged);
}

TEST_F(RecoveryTest, MetaThatContradictsItsEpochIsLoud) {
  Write();
  std::string meta = Content(options_.directory / "meta.json");
  meta.replace(meta.find("\"app\""), 5, "\"abc\"");
  Put(options_.directory / "meta.json", meta);
  EXPECT_EQ(Refusal([&] { Open(); }), Error::Kind::kDamaged);
}

}  // namespace
}  // namespace syncflow::journal
