// Prints how fast lines are taken in; asserts only that they are durable in the end.
#include "tests/journal/rig.h"

namespace syncflow::journal {
namespace {

TEST_F(JournalRig, ThroughputIsPrinted) {
  constexpr uint64_t kLines = 200'000;
  constexpr uint64_t kBatch = 100;
  // On a real disk, unlike the other tests.
  std::filesystem::remove(options_.directory);
  std::string name = (std::filesystem::temp_directory_path() / "syncflow-journal-XXXXXX").string();
  options_.directory = mkdtemp(name.data());
  options_.sync_interval = Options().sync_interval;
  Open();
  std::string line = LineAt({Lsn(0x2000), 0}, 460);
  auto began = std::chrono::steady_clock::now();
  for (uint64_t i = 0; i < kLines; ++i) {
    Lsn commit(0x2000 + i / kBatch * 8);
    journal_->Append({commit, i % kBatch}, line);
    if (i % kBatch == kBatch - 1) journal_->Flush(Lsn(commit.bytes() + 8));
  }
  WaitDurable();
  std::chrono::duration<double> took = std::chrono::steady_clock::now() - began;
  Probe probe = journal_->probe();
  std::printf(
      "%.0f lines of 460 bytes a second in batches of %d, durable; %d syncs, %.1f ms each\n",
      kLines / took.count(), static_cast<int>(kBatch), static_cast<int>(probe.syncs),
      1e-6 * static_cast<double>(probe.sync_nanoseconds) / static_cast<double>(probe.syncs));
  EXPECT_EQ(probe.appended_lines, kLines);
  EXPECT_EQ(probe.appended_bytes, kLines * line.size());
}

}  // namespace
}  // namespace syncflow::journal
