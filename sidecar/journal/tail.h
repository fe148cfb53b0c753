// The newest lines in memory: blocks of finished bytes, each a range of the journal's stream. The
// ingest thread appends; any thread looks at what was announced. A batch never spans two blocks, so
// it is written from where it lies.
#pragma once

#include <cstdint>
#include <deque>
#include <memory>
#include <mutex>
#include <optional>
#include <string_view>
#include <vector>

#include "sidecar/journal/journal.h"

namespace syncflow::journal {

class TailBlocks {
 public:
  // Starts empty at `offset`.
  TailBlocks(uint64_t bytes_max, uint64_t offset)
      : bytes_max_(bytes_max), next_(offset), batch_start_(offset) {}

  // ---- ingest thread ----

  // False when the open block has no room for the line: end the batch first, then Append opens
  // another block.
  bool Fits(size_t line_bytes) const;
  void Append(std::string_view line);
  // Appended since EndBatch.
  std::string_view batch() const;
  void EndBatch() { batch_start_ = next_; }

  // ---- any thread ----

  // Whole lines in [offset, head), see Journal::Tail.
  std::optional<View> Look(uint64_t offset, uint64_t head, uint64_t max_bytes) const;

 private:
  using Bytes = std::unique_ptr<char[]>;

  // Memory of blocks that nobody reads any more: fresh pages cost more than what is written to
  // them.
  class Spare {
   public:
    Bytes Take();
    void Put(Bytes bytes);

   private:
    std::mutex mutex_;
    std::vector<Bytes> blocks_;
  };

  struct Block {
    Block(uint64_t start, size_t capacity, std::shared_ptr<Spare> spare);
    ~Block();
    const uint64_t start;
    const size_t capacity;
    const std::shared_ptr<Spare> spare;
    size_t used = 0;  // ingest thread only; readers stop at the head
    Bytes bytes;
  };

  void OpenBlock(size_t line_bytes);

  const uint64_t bytes_max_;
  const std::shared_ptr<Spare> spare_ = std::make_shared<Spare>();
  uint64_t next_;                // ingest thread only
  uint64_t batch_start_;         // ingest thread only
  std::shared_ptr<Block> open_;  // ingest thread only; also the last of blocks_
  mutable std::mutex mutex_;
  std::deque<std::shared_ptr<Block>> blocks_;  // under mutex_; contiguous, ends at next_
  uint64_t held_ = 0;                          // under mutex_; capacity of blocks_
};

}  // namespace syncflow::journal
