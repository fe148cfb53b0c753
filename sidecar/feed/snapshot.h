// What the documents are at one moment, for consumers that begin with them: read once into a file
// that has no name (the spool), from which everybody who asks meanwhile or soon afterwards is
// served, and can go on where a connection broke. It takes at most half of the space that is free.
#pragma once

#include <chrono>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include "sidecar/feed/documents.h"
#include "sidecar/feed/filter.h"
#include "sidecar/feed/wire.h"
#include "sidecar/journal/cursor.h"
#include "sidecar/journal/file.h"
#include "sidecar/journal/journal.h"

namespace syncflow::feed {

// Lines of the form
//
//   {"type":"document","snapshot":"s-9c41e07b","number":0,"document":{…}}\n
//
// Written by one thread, read by others while it grows.
class Spool : public DocumentSink {
 public:
  // `announce` is called after every growth.
  Spool(std::filesystem::path folder, uint64_t line_bytes_max, std::function<void()> announce);

  // ---- the writer: throws std::exception with a sentence ----
  // The file lies in `folder`; whoever ends, it is gone.
  void Begin(replication::Lsn lsn) override;
  void Add(const Document& document) override;
  void End();
  void Fail();  // gives the space back; never throws

  // ---- any thread ----
  struct Progress {
    std::optional<journal::Position> as_of;  // once it is known
    uint64_t bytes = 0;                      // to be read so far, whole lines
    bool ended = false;                      // there will be no more
    bool failed = false;
  };
  Progress progress() const;
  const std::string& id() const { return id_; }
  int fd() const { return file_.fd(); }  // once there are bytes
  // How many documents pass, as far as they are read.
  uint64_t Count(const Filter* filter) const;
  // A line at or before the one with this number.
  struct Place {
    uint64_t offset = 0;
    uint64_t number = 0;
  };
  Place Near(uint64_t number) const;

 private:
  std::string Shortened(Document document) const;
  void Write();

  const std::string id_;
  const std::filesystem::path folder_;
  const uint64_t line_bytes_max_;
  const std::function<void()> announce_;
  journal::File file_;

  // The writer's.
  uint64_t bytes_max_ = 0;
  std::string batch_;
  uint64_t number_ = 0;  // of the next document
  std::map<std::string, uint64_t, std::less<>> counts_of_batch_;

  mutable std::mutex mutex_;
  Progress progress_;
  std::vector<Place> places_;               // where each batch begins
  std::map<std::string, uint64_t> counts_;  // by collection
};

// Which spools there are (at most two), and when a new one is needed. Belongs to the feed thread.
class Snapshots {
 public:
  using Clock = std::chrono::steady_clock;

  // `announce` is called from another thread; `later` runs something on one that may wait for the
  // disk.
  Snapshots(ReadDocuments read, const journal::Journal& journal, uint64_t line_bytes_max,
            std::function<void()> announce, std::function<void(std::function<void()>)> later);
  ~Snapshots();

  bool offered() const { return read_ != nullptr; }
  // The spool of that id while it is kept; else the newest one while it is young, or cannot be
  // replaced since two are in use; else a new one. Throws std::exception.
  std::shared_ptr<const Spool> Join(const std::string& id);
  // Once a second: forgets what nobody has used for long.
  void Tick();
  // Ends what is being read. Any thread, when no other calls anything.
  void Stop();

 private:
  struct Kept {
    std::shared_ptr<Spool> spool;
    Clock::time_point begun;
    Clock::time_point used;

    bool InUse() const { return spool.use_count() > 1; }
  };

  bool IsUsable(const Spool& spool) const;
  const Kept* Choose(const std::string& id) const;
  void MakeRoom();
  void Forget(size_t index);
  void Start();

  ReadDocuments read_;
  const journal::Journal& journal_;
  uint64_t line_bytes_max_;
  std::function<void()> announce_;
  std::function<void(std::function<void()>)> later_;
  std::vector<Kept> kept_;  // the newest last
  int stop_fd_;
  std::thread reader_;
};

// One consumer's way through a spool.
class Download {
 public:
  enum class Result {
    kSent,
    kEnded,   // all of it
    kWaits,   // for more to be read
    kFull,    // the socket takes nothing now
    kCold,    // the disk would have to be waited for: Warm, then try again
    kFailed,  // the snapshot; or its file cannot be read
    kGone,    // the connection broke; errno says how
  };

  // From the document with this number on; `filter` may be nullptr.
  Download(std::shared_ptr<const Spool> spool, std::shared_ptr<const Filter> filter,
           uint64_t number);

  const Spool& spool() const { return *spool_; }
  const Filter* filter() const { return filter_.get(); }
  bool AtLineEnd() const { return piece_.empty() && !in_line_; }
  // Sends one piece and takes its size off `budget`; `sent` is what went into it.
  Result Send(Wire& wire, uint64_t& budget, size_t& sent);
  // Where the next piece begins in the file.
  uint64_t offset() const { return offset_; }
  // What brings the next piece into the page cache, on the cold reader's thread; returns where it
  // ends.
  std::function<uint64_t()> Warm() const;
  // It has done so for the piece that begins at `begin`.
  void Warmed(uint64_t begin, uint64_t end) {
    if (begin == offset_) warm_until_ = end;
  }

 private:
  std::optional<Result> Fill(uint64_t& budget);
  void Choose(std::string_view bytes);

  std::shared_ptr<const Spool> spool_;
  std::shared_ptr<const Filter> filter_;
  uint64_t offset_;  // of what is read next
  uint64_t number_;  // of the line that is there
  uint64_t first_;   // lower ones were asked not to come
  uint64_t warm_until_ = 0;
  bool in_line_ = false;  // what is read next continues a line
  bool passes_ = false;   // that line
  std::string piece_;     // to be sent
};

}  // namespace syncflow::feed
