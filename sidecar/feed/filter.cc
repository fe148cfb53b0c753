#include "sidecar/feed/filter.h"

#include <algorithm>
#include <optional>

#include "adapter/operation.h"

namespace syncflow::feed {
namespace {

// The operation's collection as JSON text, with its quotation marks; nullopt for what is no change.
std::optional<std::string_view> CollectionOf(std::string_view line) {
  constexpr std::string_view kId = ",\"op\":{\"id\":";
  constexpr std::string_view kType = ",\"type\":";
  constexpr std::string_view kCollection = ",\"collection\":";
  size_t at = line.find(kId);
  if (at == line.npos || !line.starts_with("{\"type\":\"change\"")) return std::nullopt;
  at = EndOfJsonString(line, at + kId.size());
  if (line.substr(at, kType.size()) != kType) return std::nullopt;
  at = EndOfJsonString(line, at + kType.size());
  if (line.substr(at, kCollection.size()) != kCollection) return std::nullopt;
  at += kCollection.size();
  return line.substr(at, EndOfJsonString(line, at) - at);
}

// Its collection was too long for the line: it might be anybody's. What was left out stands at the
// line's end and holds numbers only; the same words inside of data do not end the line.
bool LacksCollection(std::string_view line) {
  size_t at = line.rfind(",\"omitted\":{");
  if (at == line.npos || line.substr(line.find('}', at)) != "}}\n") return false;
  return line.find("\"collection\":", at) != line.npos;
}

}  // namespace

size_t EndOfJsonString(std::string_view line, size_t begin) {
  size_t at = begin + 1;
  while ((at = line.find_first_of("\"\\", at)) != line.npos && line[at] == '\\') at += 2;
  return at == line.npos ? line.size() : at + 1;
}

Filter::Filter(std::vector<std::string> collections, bool limited)
    : limited_(limited), collections_(std::move(collections)) {
  std::ranges::sort(collections_);
  collections_.erase(std::unique(collections_.begin(), collections_.end()), collections_.end());
  for (const std::string& collection : collections_)
    adapter::AppendJsonString(texts_.emplace_back(), collection);
  std::ranges::sort(texts_);
}

bool Filter::Passes(std::string_view line) const {
  if (texts_.empty()) return true;
  auto collection = CollectionOf(line);
  if (!collection) return true;
  if (*collection == "\"\"" && LacksCollection(line)) return !limited_;
  return WantsJson(*collection);
}

bool Filter::Wants(const std::string& collection) const {
  return collections_.empty() || std::ranges::binary_search(collections_, collection);
}

bool Filter::WantsJson(std::string_view collection) const {
  return texts_.empty() || std::ranges::binary_search(texts_, collection);
}

std::shared_ptr<const Filter> Filters::Get(const std::vector<std::string>& collections,
                                           bool limited) {
  if (collections.empty()) return nullptr;
  auto filter = std::make_shared<const Filter>(collections, limited);
  auto& known = known_[{limited, filter->collections()}];
  if (auto same = known.lock()) return same;
  known = filter;
  if (known_.size() > sweep_at_) {
    std::erase_if(known_, [](const auto& each) { return each.second.expired(); });
    sweep_at_ = 64 + 2 * known_.size();
  }
  return filter;
}

Page::Page(const Filter& filter, uint64_t given_begin, std::string_view stretch)
    : begin(given_begin), end(given_begin + stretch.size()) {
  std::string_view line;
  for (size_t at = 0; at < stretch.size(); at += line.size()) {
    line = stretch.substr(at, stretch.find('\n', at) + 1 - at);
    if (!filter.Passes(line)) continue;
    bytes += line;
    lines.push_back({bytes.size(), begin + at + line.size()});
  }
  if (auto cursor = journal::CursorOfLine(line)) last = cursor->position;
}

size_t Page::LineAt(uint64_t offset) const {
  auto found = std::ranges::upper_bound(lines, offset, {}, &Line::offset_end);
  return static_cast<size_t>(found - lines.begin());
}

journal::Position Page::PositionOf(size_t line) const {
  std::string_view text(bytes);
  auto cursor =
      journal::CursorOfLine(text.substr(BeginOf(line), BeginOf(line + 1) - BeginOf(line)));
  return cursor ? cursor->position : journal::Position{};
}

std::shared_ptr<const Page> Pages::Find(const Filter* filter, uint64_t offset) const {
  auto found = std::ranges::find_if(made_, [&](const Made& made) {
    return made.filter.get() == filter && made.page->begin <= offset && offset < made.page->end;
  });
  return found == made_.end() ? nullptr : found->page;
}

void Pages::Add(std::shared_ptr<const Filter> filter, std::shared_ptr<const Page> page) {
  if (made_.size() < kMax) made_.emplace_back();
  made_[next_ % kMax] = {std::move(filter), std::move(page)};
  next_ = (next_ + 1) % kMax;
}

}  // namespace syncflow::feed
