#include "sidecar/journal/tail.h"

#include <algorithm>
#include <cstring>

namespace syncflow::journal {
namespace {

constexpr size_t kBlockBytes = 256 << 10;
constexpr size_t kSpareMax = 4;

// The longest beginning of at most `max_bytes` that ends with a line; one whole line when the first
// is longer.
std::string_view WholeLines(std::string_view bytes, uint64_t max_bytes) {
  if (bytes.size() <= max_bytes) return bytes;
  size_t end = bytes.rfind('\n', max_bytes == 0 ? 0 : max_bytes - 1);
  if (end == std::string_view::npos) end = bytes.find('\n');
  return bytes.substr(0, end + 1);
}

}  // namespace

TailBlocks::Bytes TailBlocks::Spare::Take() {
  std::lock_guard lock(mutex_);
  if (blocks_.empty()) return Bytes(new char[kBlockBytes]);
  Bytes bytes = std::move(blocks_.back());
  blocks_.pop_back();
  return bytes;
}

void TailBlocks::Spare::Put(Bytes bytes) {
  std::lock_guard lock(mutex_);
  if (blocks_.size() < kSpareMax) blocks_.push_back(std::move(bytes));
}

TailBlocks::Block::Block(uint64_t block_start, size_t block_capacity, std::shared_ptr<Spare> from)
    : start(block_start),
      capacity(block_capacity),
      spare(std::move(from)),
      bytes(capacity == kBlockBytes ? spare->Take() : Bytes(new char[capacity])) {}

TailBlocks::Block::~Block() {
  if (capacity == kBlockBytes) spare->Put(std::move(bytes));
}

bool TailBlocks::Fits(size_t line_bytes) const {
  return open_ && open_->capacity - open_->used >= line_bytes;
}

void TailBlocks::Append(std::string_view line) {
  if (!Fits(line.size())) OpenBlock(line.size());
  std::memcpy(open_->bytes.get() + open_->used, line.data(), line.size());
  open_->used += line.size();
  next_ += line.size();
}

std::string_view TailBlocks::batch() const {
  size_t length = next_ - batch_start_;
  if (length == 0) return {};
  return {open_->bytes.get() + open_->used - length, length};
}

void TailBlocks::OpenBlock(size_t line_bytes) {
  open_ = std::make_shared<Block>(next_, std::max(kBlockBytes, line_bytes), spare_);
  std::lock_guard lock(mutex_);
  blocks_.push_back(open_);
  held_ += open_->capacity;
  while (held_ > bytes_max_ && blocks_.size() > 1) {
    held_ -= blocks_.front()->capacity;
    blocks_.pop_front();
  }
}

std::optional<View> TailBlocks::Look(uint64_t offset, uint64_t head, uint64_t max_bytes) const {
  if (offset >= head) return View{};
  std::lock_guard lock(mutex_);
  auto after = std::upper_bound(
      blocks_.begin(), blocks_.end(), offset,
      [](uint64_t at, const std::shared_ptr<Block>& block) { return at < block->start; });
  if (after == blocks_.begin()) return std::nullopt;
  const std::shared_ptr<Block>& block = *std::prev(after);
  uint64_t end = after == blocks_.end() ? head : std::min(head, (*after)->start);
  std::string_view bytes(block->bytes.get() + (offset - block->start), end - offset);
  return View{block, WholeLines(bytes, max_bytes)};
}

}  // namespace syncflow::journal
