// Hop 6, Deliver: one consumer's place in the journal's stream of bytes, and the way from there
// into its socket. Used only on the feed thread, except Warm.
//
// Bytes go from the shared blocks or the segment files straight to the kernel, in chunks that end
// with a line. Where the kernel takes only a part, the chunk is cut short at the end of the line
// that was begun, so that other lines need not wait for the rest, and what is left of that line is
// copied: retention may remove it, and half a line cannot be taken back.
//
// With a filter the bytes come from a Page, which others with the same filter share; a line that
// the kernel took only in part is finished like any other.
#pragma once

#include <cstdint>
#include <deque>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <variant>

#include "sidecar/feed/hub.h"
#include "sidecar/feed/wire.h"
#include "sidecar/journal/cursor.h"
#include "sidecar/journal/journal.h"

namespace syncflow::feed {

class Delivery {
 public:
  enum class Result {
    kSent,
    kHead,        // there is nothing more
    kFull,        // the socket takes nothing now
    kCold,        // the disk would have to be waited for: Warm, then try again
    kLost,        // retention was faster
    kPaused,      // the window is full: Acknowledge comes first
    kUnreadable,  // the journal's files contradict themselves; the log says how
    kGone,        // the connection broke; errno says how
  };

  explicit Delivery(Hub& hub) : hub_(hub) {}

  // What is sent from the next Start on: what passes the filter (nullptr: everything), and never
  // more than `window` changes that are not acknowledged (0: any number).
  void Choose(std::shared_ptr<const Filter> filter, uint32_t window);
  // At a line end only.
  void Start(uint64_t offset, journal::Position position);
  void Acknowledge(journal::Position position);
  // Sends one piece and takes its size off `budget`.
  Result Send(Wire& wire, uint64_t& budget);

  bool has_window() const { return window_ != nullptr; }
  bool AtLineEnd() const { return offset_ == chunk_end_; }
  uint64_t offset() const { return offset_; }
  // Everything up to it has been sent.
  journal::Position delivered() const { return delivered_; }
  // The last line of which anything may have been sent.
  journal::Position begun() const { return chunk_last_; }

  // Brings what follows `offset` into the page cache, waiting for the disk as long as it takes;
  // returns where it ends. For the cold reader's thread.
  static uint64_t Warm(const journal::Journal& journal, uint64_t offset);
  // It has done so from `begin` on.
  void Warmed(uint64_t begin, uint64_t end) {
    if (begin == offset_) warm_until_ = end;
  }

 private:
  Result SendRest(Wire& wire, uint64_t& budget);
  Result SendPage(Wire& wire, uint64_t& budget);
  void PassPart(const Page& page, size_t first, size_t sent);
  void NoteSent(const Page& page, size_t first, size_t end);
  std::variant<std::shared_ptr<const Page>, Result> MakePage(uint64_t& budget);
  Result SendFromMemory(Wire& wire, std::string_view bytes, uint64_t& budget);
  Result SendFromFile(Wire& wire, const journal::Slice& slice, uint64_t& budget);
  bool IsWarm(const journal::Slice& slice) const;
  uint64_t Wanted() const;
  void Begin(uint64_t length, journal::Position last);
  void Advance(size_t sent, uint64_t& budget);
  void Count(size_t sent, uint64_t& budget);
  // Nothing in front of `end` is left to send.
  void Pass(uint64_t end, journal::Position last);
  // The chunk ends with the line that holds the last byte sent, which is window[sent - 1].
  void CutShort(std::string_view window, size_t sent, bool begins_at_line);

  struct Window {
    uint32_t size = 0;
    std::deque<journal::Position> unacknowledged;

    bool IsFull() const { return unacknowledged.size() >= size; }
    size_t room() const { return size - unacknowledged.size(); }
  };

  Hub& hub_;
  std::shared_ptr<const Filter> filter_;
  std::unique_ptr<Window> window_;  // only with a filter: a page knows its lines
  uint64_t offset_ = 0;             // next byte to send
  uint64_t chunk_end_ = 0;
  journal::Position chunk_last_;
  journal::Position delivered_;
  uint64_t warm_until_ = 0;  // offset up to which Warm has read
  std::string rest_;         // of the line that was begun; mostly empty
};

// Position of the last line in `bytes`, which end with a line; nullopt when that line begins before
// them.
std::optional<journal::Position> LastPosition(std::string_view bytes, bool begins_at_line);

}  // namespace syncflow::feed
