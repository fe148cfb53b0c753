// Which operations the journal holds, by their ids. Sixteen bytes of memory for each line.
#pragma once

#include <cstdint>
#include <deque>
#include <functional>
#include <string>
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
  // The oldest line.
  struct Oldest {
    uint32_t xid = 0;         // of the transaction that wrote it; 0 when there is none
    std::string recovered{};  // its received_at, where it was recovered
    std::string id{};         // as JSON, where it was recovered
  };
  const Oldest& oldest() const { return oldest_; }

 private:
  using Hash = std::pair<uint64_t, uint64_t>;

  void Add(std::string_view line);
  void NoteOldest(std::string_view line, std::string_view quoted_id);

  std::deque<Hash> hashes_;  // sorted; a vector would need three times its size to grow
  Oldest oldest_;
};

}  // namespace syncflow
