// Which operations the journal holds, by their ids. Sixteen bytes of memory for each line.
#pragma once

#include <cstdint>
#include <deque>
#include <functional>
#include <string_view>
#include <utility>

#include "sidecar/journal/journal.h"

namespace syncflow {

class KnownIds {
 public:
  // Reads the whole journal; calls `beat` now and then.
  KnownIds(const journal::Journal& journal, const std::function<void()>& beat);
  ~KnownIds();
  KnownIds(const KnownIds&) = delete;
  KnownIds& operator=(const KnownIds&) = delete;

  // Compares 128-bit hashes: of ten million ids, two are taken for one in 1 of 10^24 cases.
  bool Contains(std::string_view id) const;
  // The transaction that wrote the oldest line; 0 when there is none.
  uint32_t oldest_xid() const { return oldest_xid_; }

 private:
  using Hash = std::pair<uint64_t, uint64_t>;

  void Add(std::string_view line);

  std::deque<Hash> hashes_;  // sorted; a vector would need three times its size to grow
  uint32_t oldest_xid_ = 0;
};

}  // namespace syncflow
