// The small files beside the segments, and what the system refuses.
#include <gmock/gmock.h>
#include <sys/mount.h>

#include "sidecar/journal/file.h"
#include "sidecar/journal/folder.h"
#include "sidecar/journal/meta.h"
#include "sidecar/journal/skip.h"
#include "tests/journal/rig.h"

namespace syncflow::journal {
namespace {

using std::filesystem::path;
using ::testing::HasSubstr;

class FilesTest : public JournalRig {
 protected:
  // What was asked of the system, where that is refused: "cannot sync /dev/null: …".
  void ExpectRefused(const std::function<void()>& action, const char* sentence) {
    EXPECT_EQ(Refusal(action), Error::Kind::kIo);
    EXPECT_THAT(sentence_, HasSubstr(sentence));
  }

  const path& folder() const { return options_.directory; }
};

TEST_F(FilesTest, SkipIsRememberedUntilForgotten) {
  EXPECT_EQ(AskedToSkip(folder()), std::nullopt);
  AskToSkip(folder(), Lsn(0x2000));
  EXPECT_EQ(AskedToSkip(folder()), Lsn(0x2000));
  AskToSkip(folder(), Lsn(0x3000));
  EXPECT_EQ(AskedToSkip(folder()), Lsn(0x3000));
  ForgetSkip(folder());
  EXPECT_EQ(AskedToSkip(folder()), std::nullopt);
  ForgetSkip(folder());
}

TEST_F(FilesTest, SkipThatCannotBeUnderstoodSkipsNothing) {
  for (const char* text :
       {"", "{", "[]", "{}", R"({"commit_lsn":8192})", R"({"commit_lsn":"x"})"}) {
    Put(folder() / "skip.json", text);
    EXPECT_EQ(AskedToSkip(folder()), std::nullopt) << text;
  }
}

TEST_F(FilesTest, JournalOfAnotherFormatIsLeftToItsProgram) {
  Open();
  Close();
  std::string meta = Content(folder() / "meta.json");
  Put(folder() / "meta.json", meta.replace(meta.find("\"format\": 1"), 11, "\"format\": 2"));
  EXPECT_EQ(Refusal([&] { Open(); }), Error::Kind::kForeign);
  EXPECT_THAT(sentence_, HasSubstr("the program version that wrote it"));
}

TEST_F(FilesTest, LossThatCannotBeUnderstoodIsLoud) {
  Open();
  Close();
  for (const char* text : {"", "{}", R"({"sentence":7,"generation":1})"}) {
    Put(folder() / kLossName, text);
    EXPECT_EQ(Refusal([&] { Open(); }), Error::Kind::kDamaged) << text;
    EXPECT_THAT(sentence_, HasSubstr(kLossName));
  }
}

// Of several lost histories the last one stays.
TEST_F(FilesTest, LostHistoryIsSetAsideWithItsSegments) {
  Epoch first = Open().epoch().value();
  Append(0x2000, 3);
  std::string lines = written_;
  journal_->MarkLost("somebody restored a backup");
  Close();
  Put(folder() / "notes.txt", "x");
  std::filesystem::create_directory(folder() / "set-aside-00000001");
  Put(folder() / "set-aside-00000001" / "old.ndjson", "");
  Epoch second = Open().epoch().value();
  EXPECT_NE(first, second);
  EXPECT_EQ(journal_->lost(), "somebody restored a backup");
  EXPECT_EQ(journal_->head().offset, 0u);
  path aside = folder() / ("set-aside-" + Cursor{first, {}}.ToString().substr(0, 8));
  std::string kept;
  for (const auto& file : std::filesystem::directory_iterator(aside))
    if (file.path().extension() == ".ndjson") kept += Content(file.path());
  EXPECT_EQ(kept, lines);
  EXPECT_TRUE(std::filesystem::exists(aside / "meta.json"));
  EXPECT_FALSE(std::filesystem::exists(folder() / "set-aside-00000001"));
  EXPECT_TRUE(std::filesystem::exists(folder() / "notes.txt"));
}

TEST_F(FilesTest, WhatTheSystemRefusesIsToldWithItsReason) {
  ExpectRefused([&] { File::Open(folder() / "none" / "file"); }, "cannot open");
  ExpectRefused([&] { File::Open("/dev/null").Truncate(1); }, "cannot truncate /dev/null");
  ExpectRefused([&] { File::Open("/dev/null").Sync(); }, "cannot sync /dev/null");
  ExpectRefused([&] { std::ignore = File::Open("/proc/self/mem").ReadAt(0, 8); }, "cannot read");
  ExpectRefused([&] { SyncFolder(folder() / "none"); }, "cannot open");
  ExpectRefused([&] { SyncFolder("/proc/self"); }, "cannot sync");
  std::filesystem::create_directories(folder() / "taken" / "by");
  ExpectRefused([&] { WriteFileAtomically(folder() / "taken", "x"); }, "cannot replace");
  File closed = File::Open(folder() / "file");
  File open = std::move(closed);
  ExpectRefused([&] { std::ignore = closed.Size(); }, "cannot ask the size of");
}

TEST_F(FilesTest, FullDiskIsAKindOfItsOwn) {
  EXPECT_EQ(Refusal([&] { File::Open("/dev/full").WriteAt(0, "x"); }), Error::Kind::kDiskFull);
  EXPECT_THAT(sentence_, HasSubstr("free space"));
}

TEST_F(FilesTest, FolderThatCannotBeLockedIsRefused) {
  std::filesystem::create_directory(folder() / "lock");
  EXPECT_EQ(Refusal([&] { FolderLock lock(folder(), true); }), Error::Kind::kUnusable);
  EXPECT_EQ(Refusal([&] { FolderLock lock("/proc/self/none", true); }), Error::Kind::kUnusable);
  EXPECT_THAT(sentence_, HasSubstr("choose a folder"));
}

TEST_F(FilesTest, FileSystemThatDoesNotKeepItsWordIsRefused) {
  path base = folder();
  for (const char* name : {"lower", "upper", "work", "merged"})
    std::filesystem::create_directory(base / name);
  std::string layers = "lowerdir=" + (base / "lower").string() +
                       ",upperdir=" + (base / "upper").string() +
                       ",workdir=" + (base / "work").string();
  path merged = base / "merged";
  if (mount("overlay", merged.c_str(), "overlay", 0, layers.c_str()) != 0)
    GTEST_SKIP() << "no overlay can be mounted here";
  std::shared_ptr<void> mounted(nullptr, [&](void*) { umount2(merged.c_str(), MNT_DETACH); });
  EXPECT_EQ(Refusal([&] { FolderLock lock(merged, false); }), Error::Kind::kUnusable);
  EXPECT_THAT(sentence_, HasSubstr("overlay"));
  EXPECT_NO_THROW(FolderLock(merged, true));
}

}  // namespace
}  // namespace syncflow::journal
