// Power is cut at a random moment. Of what was written into a file since its last fdatasync any
// part may be on the disk, torn at any sector; a file may have its new length without its new
// bytes. Of what was done to the folder since its last fsync any first part may be there: file
// systems keep the order of a folder's changes. Whatever is found, it opens, and holds a first part
// of what was written with everything that PostgreSQL was allowed to forget.
//
// The program's own pwrite, fdatasync and so on stand in front of the C library's and keep a
// record, of which the images are made. SYNCFLOW_IMAGES=5000 makes so many of each history.
#include <dlfcn.h>
#include <sys/stat.h>

#include <cstdlib>
#include <map>
#include <mutex>
#include <random>
#include <set>

#include "tests/journal/rig.h"

namespace syncflow::journal {
namespace {

namespace fs = std::filesystem;

struct Event {
  enum class Kind { kCreate, kWrite, kTruncate, kSync, kRemove, kRename, kSyncFolder };
  Kind kind{};
  ino_t inode = 0;
  std::string name{};   // of kCreate, kRemove and kRename
  std::string to{};     // of kRename
  uint64_t at = 0;      // of kWrite; of kTruncate, the size
  std::string bytes{};  // of kWrite
};

// What happened to one folder, in order.
class Record {
 public:
  void Begin(const fs::path& folder) {
    std::lock_guard held(mutex_);
    folder_ = folder;
    events_.clear();
    seen_.clear();
  }
  std::vector<Event> End() {
    std::lock_guard held(mutex_);
    folder_.clear();
    return std::move(events_);
  }
  size_t size() {
    std::lock_guard held(mutex_);
    return events_.size();
  }

  // Runs `action`, which succeeds with anything but -1, and notes `event` of the file behind `fd`.
  template <typename Action>
  auto OnFile(int fd, Event event, Action action) {
    std::lock_guard held(mutex_);
    fs::path path = PathOf(fd);
    bool ours = !folder_.empty() && path.parent_path() == folder_ && path.filename() != "lock";
    if (ours) event.inode = InodeOf(path);
    if (ours && event.inode != 0) NoteNew(path, event.inode);
    auto result = action();
    if (!ours || result == -1) return result;
    if (event.kind == Event::Kind::kWrite) event.bytes.resize(static_cast<size_t>(result));
    events_.push_back(std::move(event));
    return result;
  }
  template <typename Action>
  auto OnFolder(int fd, Action action) {
    std::lock_guard held(mutex_);
    bool ours = !folder_.empty() && PathOf(fd) == folder_;
    if (ours) {
      for (const auto& file : fs::directory_iterator(folder_))
        if (file.is_regular_file()) NoteNew(file.path(), InodeOf(file.path()));
    }
    auto result = action();
    if (ours && result != -1) events_.push_back({.kind = Event::Kind::kSyncFolder});
    return result;
  }
  template <typename Action>
  auto OnName(const fs::path& path, Event event, Action action) {
    std::lock_guard held(mutex_);
    bool ours = !folder_.empty() && path.parent_path() == folder_;
    if (ours) {
      event.inode = InodeOf(path);
      event.name = path.filename();
      if (event.inode != 0) NoteNew(path, event.inode);
    }
    auto result = action();
    if (!ours || result == -1) return result;
    if (event.kind == Event::Kind::kRemove) seen_.erase(event.inode);
    events_.push_back(std::move(event));
    return result;
  }

 private:
  static fs::path PathOf(int fd) {
    std::error_code gone;
    return fs::read_symlink("/proc/self/fd/" + std::to_string(fd), gone);
  }
  static ino_t InodeOf(const fs::path& path) {
    struct stat facts {};
    return stat(path.c_str(), &facts) == 0 ? facts.st_ino : 0;
  }
  void NoteNew(const fs::path& path, ino_t inode) {
    if (path.filename() == "lock" || !seen_.insert(inode).second) return;
    events_.push_back({.kind = Event::Kind::kCreate, .inode = inode, .name = path.filename()});
  }

  std::mutex mutex_;
  fs::path folder_;
  std::vector<Event> events_;
  std::set<ino_t> seen_;
};

Record record;

template <typename Function>
Function* Next(const char* name) {
  return reinterpret_cast<Function*>(dlsym(RTLD_NEXT, name));
}

}  // namespace
}  // namespace syncflow::journal

using syncflow::journal::Event;
using syncflow::journal::Next;
using syncflow::journal::record;

extern "C" {

ssize_t pwrite(int fd, const void* bytes, size_t count, off_t at) {
  static auto* const next = Next<ssize_t(int, const void*, size_t, off_t)>("pwrite");
  Event event{.kind = Event::Kind::kWrite,
              .at = static_cast<uint64_t>(at),
              .bytes = {static_cast<const char*>(bytes), count}};
  return record.OnFile(fd, std::move(event), [&] { return next(fd, bytes, count, at); });
}

int ftruncate(int fd, off_t size) noexcept {
  static auto* const next = Next<int(int, off_t)>("ftruncate");
  Event event{.kind = Event::Kind::kTruncate, .at = static_cast<uint64_t>(size)};
  return record.OnFile(fd, std::move(event), [&] { return next(fd, size); });
}

int fdatasync(int fd) {
  static auto* const next = Next<int(int)>("fdatasync");
  return record.OnFile(fd, {.kind = Event::Kind::kSync}, [&] { return next(fd); });
}

int fsync(int fd) {
  static auto* const next = Next<int(int)>("fsync");
  return record.OnFolder(fd, [&] { return next(fd); });
}

int rename(const char* from, const char* to) noexcept {
  static auto* const next = Next<int(const char*, const char*)>("rename");
  Event event{.kind = Event::Kind::kRename, .to = std::filesystem::path(to).filename()};
  return record.OnName(from, std::move(event), [&] { return next(from, to); });
}

int remove(const char* path) noexcept {
  static auto* const next = Next<int(const char*)>("remove");
  return record.OnName(path, {.kind = Event::Kind::kRemove}, [&] { return next(path); });
}

int unlink(const char* path) noexcept {
  static auto* const next = Next<int(const char*)>("unlink");
  return record.OnName(path, {.kind = Event::Kind::kRemove}, [&] { return next(path); });
}
}

namespace syncflow::journal {
namespace {

constexpr uint64_t kSector = 512;

// What a disk holds.
class Disk {
 public:
  explicit Disk(std::mt19937& random) : random_(random) {}

  void Take(const Event& event) {
    switch (event.kind) {
      case Event::Kind::kWrite:
      case Event::Kind::kTruncate:
        files_[event.inode].pending.push_back(&event);
        break;
      case Event::Kind::kSync:
        for (const Event* pending : files_[event.inode].pending)
          Apply(files_[event.inode].bytes, *pending, false);
        files_[event.inode].pending.clear();
        break;
      case Event::Kind::kCreate:
        files_[event.inode] = {};
        [[fallthrough]];
      case Event::Kind::kRemove:
      case Event::Kind::kRename:
        folder_.push_back(&event);
        break;
      case Event::Kind::kSyncFolder:
        for (const Event* pending : folder_) Apply(*pending);
        folder_.clear();
        break;
    }
  }

  // Writes the files that are found after the power is back.
  void Fail(const fs::path& image) {
    folder_.resize(Random(folder_.size() + 1));
    for (const Event* pending : folder_) Apply(*pending);
    uint64_t luck = Random(8);  // 0: nothing of what was not synced; 1: everything
    for (const auto& [name, inode] : names_) {
      std::string bytes = files_[inode].bytes;
      for (const Event* pending : files_[inode].pending) {
        if (luck == 1 || (luck > 1 && Random(2) == 0)) Apply(bytes, *pending, luck > 1);
      }
      std::ofstream(image / name, std::ios::binary) << bytes;
    }
  }

 private:
  struct File {
    std::string bytes;  // that are certainly there
    std::vector<const Event*> pending;
  };

  uint64_t Random(uint64_t below) { return random_() % below; }

  void Apply(std::string& bytes, const Event& event, bool torn) {
    if (event.kind == Event::Kind::kTruncate) return bytes.resize(event.at);
    uint64_t end = event.at + event.bytes.size();
    if (bytes.size() < end) bytes.resize(end);
    bool whole = !torn || Random(2) == 0;
    for (uint64_t at = event.at; at < end;) {
      uint64_t next = std::min(end, (at / kSector + 1) * kSector);
      if (whole || Random(2) == 0)
        bytes.replace(at, next - at, event.bytes, at - event.at, next - at);
      at = next;
    }
  }

  void Apply(const Event& event) {
    if (event.kind == Event::Kind::kCreate) {
      names_[event.name] = event.inode;
    } else if (event.kind == Event::Kind::kRemove) {
      names_.erase(event.name);
    } else {
      names_.erase(event.name);
      names_[event.to] = event.inode;
    }
  }

  std::mt19937& random_;
  std::map<ino_t, File> files_;
  std::map<std::string, ino_t> names_;
  std::vector<const Event*> folder_;  // not synced yet
};

class PowerLossTest : public JournalRig, public ::testing::WithParamInterface<uint32_t> {
 protected:
  // After so many events somebody saw this.
  struct Sight {
    size_t events;
    Lsn confirmed;
  };
  struct Line {
    Position position;
    uint64_t end;  // offset in written_
  };

  uint64_t Random(uint64_t below) { return random_() % below; }

  void See() {
    Lsn confirmed = journal_->durable();
    sights_.push_back({record.size(), confirmed});
  }

  void Live() {
    options_.segment_bytes = 4000;
    options_.retain_bytes = 40'000;
    record.Begin(options_.directory);
    Open();
    See();
    uint64_t commit = 0x2000;
    for (int step = 0; step < 150; ++step) {
      commit += 8 + Random(50);
      AppendTransaction(commit);
      if (Random(4) == 0) journal_->Flush(Lsn((commit += 8 + Random(50))));  // a mark
      if (Random(6) == 0) WaitDurable();
      if (Random(30) == 0) journal_->NoteTable("version " + std::to_string(step));
      if (Random(30) == 0) Reopen();
      See();
    }
    WaitDurable();
    See();
    Close();
    events_ = record.End();
  }

  void AppendTransaction(uint64_t commit) {
    uint64_t lines = 1 + Random(4);
    for (uint64_t index = 0; index < lines; ++index) {
      Position position{Lsn(commit), index};
      std::string line = LineAt(position, 80 + Random(900));
      journal_->Append(position, line);
      written_ += line;
      lines_.push_back({position, written_.size()});
    }
    journal_->Flush(Lsn(commit + 8));
  }

  // What was promised before the power went.
  Lsn ConfirmedBefore(size_t events) const {
    Lsn confirmed;
    for (const Sight& sight : sights_)
      if (sight.events <= events) confirmed = std::max(confirmed, sight.confirmed);
    return confirmed;
  }
  // The base of the first segment that retention had not removed.
  Position EarliestAfter(size_t events) const {
    std::set<Position> bases;
    for (size_t number = 0; number < events; ++number) {
      const Event& event = events_[number];
      fs::path name = event.name;
      if (name.extension() != ".ndjson") continue;
      Position base = Cursor::Parse(name.stem().string()).value().position;
      if (event.kind == Event::Kind::kCreate) bases.insert(base);
      if (event.kind == Event::Kind::kRemove) bases.erase(base);
    }
    return bases.empty() ? Position{Lsn(kStart), 0} : *bases.begin();
  }

  // The power goes after so many events.
  void Cut(size_t events) {
    Options options = options_;
    options.directory += "-image";
    options.retain_bytes = UINT64_MAX;  // what is looked at is what was found
    options.pin_bytes = UINT64_MAX;
    fs::create_directory(options.directory);
    Disk disk(random_);
    for (size_t number = 0; number < events; ++number) disk.Take(events_[number]);
    disk.Fail(options.directory);
    Check(options, ConfirmedBefore(events), EarliestAfter(events));
    if (HasFailure()) FAIL() << "after " << events << " of " << events_.size() << " events";
    fs::remove_all(options.directory);
  }

  void Check(const Options& options, Lsn confirmed, Position earliest) {
    Journal found(options);
    if (!found.identity()) {
      EXPECT_EQ(confirmed, Lsn()) << "the history is gone";
      found.Bind(Home(), Lsn(kStart));
    }
    EXPECT_GE(found.durable(), confirmed);
    EXPECT_GE(found.recorded(), found.durable());
    Position base = found.earliest().base;
    EXPECT_LE(base, earliest) << "retention did not remove this";
    auto first =
        std::upper_bound(lines_.begin(), lines_.end(), base,
                         [](const Position& at, const Line& line) { return at < line.position; });
    uint64_t begin = first == lines_.begin() ? 0 : std::prev(first)->end;
    std::string text;
    for (uint64_t offset = found.earliest().offset;;) {
      std::string piece = CopyLines(found, offset, 100'000).value();
      if (piece.empty()) break;
      offset += piece.size();
      text += piece;
    }
    EXPECT_EQ(text, written_.substr(begin, text.size()));
    auto after = std::find_if(first, lines_.end(),
                              [&](const Line& line) { return line.end > begin + text.size(); });
    Position last = after == lines_.begin() ? base : std::prev(after)->position;
    EXPECT_EQ(found.appended(), std::max(base, last)) << "it ends inside a line";
    for (auto line = after; line != lines_.end(); ++line)
      EXPECT_GE(line->position.commit_lsn, confirmed) << "confirmed, and lost";
    // And it goes on.
    Position next{Lsn(found.recorded().bytes() + 100), 0};
    found.Append(next, LineAt(next));
    found.Flush(Lsn(next.commit_lsn.bytes() + 8));
    EXPECT_EQ(found.appended(), next);
  }

  std::mt19937 random_{GetParam()};
  std::vector<Line> lines_;
  std::vector<Sight> sights_;
  std::vector<Event> events_;
};

TEST_P(PowerLossTest, WhatWasConfirmedIsThereAndNothingElseThanWhatWasWritten) {
  Live();
  const char* wish = std::getenv("SYNCFLOW_IMAGES");
  int images = wish != nullptr ? std::atoi(wish) : 100;
  for (int number = 0; number < images && !HasFatalFailure(); ++number)
    Cut(Random(events_.size() + 1));
}

INSTANTIATE_TEST_SUITE_P(Seeds, PowerLossTest, ::testing::Range(1u, 4u));

}  // namespace
}  // namespace syncflow::journal
