// Which operations a consumer wants, and what that leaves of a stretch of the feed.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "sidecar/journal/cursor.h"

namespace syncflow::feed {

// Immutable; consumers that want the same share one.
class Filter {
 public:
  // Operations of these collections; of all when there are none.
  explicit Filter(std::vector<std::string> collections, bool limited = false);

  const std::vector<std::string>& collections() const { return collections_; }
  // `line` is one of the journal's. What is no operation, a gap, always passes; so does, unless
  // limited, an operation whose collection's name was itself left out of a line that was too long.
  bool Passes(std::string_view line) const;
  bool Wants(const std::string& collection) const;
  // The same for a name as JSON text, with its quotation marks.
  bool WantsJson(std::string_view collection) const;

 private:
  const bool limited_;
  std::vector<std::string> collections_;  // sorted, each once
  std::vector<std::string> texts_;        // the same as they stand in a line, sorted
};

// The end of the JSON string that begins at `begin` with its quotation mark; line.size() when it
// is cut off.
size_t EndOfJsonString(std::string_view line, size_t begin);

// The filters in use.
class Filters {
 public:
  // nullptr for none, which is everything.
  std::shared_ptr<const Filter> Get(const std::vector<std::string>& collections,
                                    bool limited = false);
  const std::shared_ptr<const Filter>& everything() const { return everything_; }

 private:
  std::shared_ptr<const Filter> everything_ = std::make_shared<Filter>(std::vector<std::string>{});
  using Key = std::pair<bool, std::vector<std::string>>;
  std::map<Key, std::weak_ptr<const Filter>> known_;
  size_t sweep_at_ = 64;
};

// What passes a filter in one stretch of the feed.
struct Page {
  struct Line {
    size_t end = 0;           // in `bytes`
    uint64_t offset_end = 0;  // in the feed
  };

  uint64_t begin = 0;  // of the stretch, as offsets of the feed
  uint64_t end = 0;
  journal::Position last;   // of the stretch's last line, whether it passes or not
  std::string bytes;        // of the lines that pass
  std::vector<Line> lines;  // the same lines

  // `stretch` holds whole lines, at least one, and begins at offset `begin`.
  Page(const Filter& filter, uint64_t begin, std::string_view stretch);

  // The first line that passes at or after `offset` of the feed; lines.size() when there is none.
  size_t LineAt(uint64_t offset) const;
  // Where a line begins in `bytes`; of lines.size(), where all end.
  size_t BeginOf(size_t line) const { return line == 0 ? 0 : lines[line - 1].end; }
  journal::Position PositionOf(size_t line) const;
};

// The pages that were made last, whoever wanted them: consumers with the same filter come to the
// same places one after the other. Bounded, however many filters there are.
class Pages {
 public:
  // One that holds `offset`, which is the beginning of a line.
  std::shared_ptr<const Page> Find(const Filter* filter, uint64_t offset) const;
  void Add(std::shared_ptr<const Filter> filter, std::shared_ptr<const Page> page);

 private:
  static constexpr size_t kMax = 16;
  struct Made {
    std::shared_ptr<const Filter> filter;
    std::shared_ptr<const Page> page;
  };
  std::vector<Made> made_;
  size_t next_ = 0;
};

}  // namespace syncflow::feed
