#include "sidecar/continuity.h"

#include "adapter/operation.h"

namespace syncflow {
namespace {

constexpr uint64_t kPieceBytes = 256 << 10;

// A line's operation begins with its id.
bool IsOf(std::string_view line, std::string_view id) {
  std::string beginning = "\"op\":{\"id\":";
  adapter::AppendJsonString(beginning, id);
  return line.find(beginning) != std::string_view::npos;
}

bool IsGap(std::string_view line) {
  return line.starts_with("{\"type\":\"gap\"");
}

std::string Text(const journal::Position& position) {
  return position.commit_lsn.ToString() + " (" + std::to_string(position.index) + ")";
}

}  // namespace

Continuity::Continuity(const journal::Journal& journal, replication::Lsn start)
    : journal_(journal), last_(journal.appended()), end_(journal.head().offset) {
  auto found = start <= last_.commit_lsn ? journal.Find(journal::Position::Before(start)) : end_;
  if (auto* offset = std::get_if<uint64_t>(&found)) {
    offset_ = *offset;
    return;
  }
  journal::Earliest earliest = journal.earliest();
  offset_ = earliest.offset;
  ignored_ = earliest.base;
}

std::optional<std::string> Continuity::Repeated(const replication::Change& change) {
  journal::Position position{change.commit_lsn, change.index};
  if (position <= ignored_) return std::nullopt;
  std::string_view line = NextLine();
  if (position <= ignored_) return std::nullopt;  // retention has just removed it
  auto cursor = journal::CursorOfLine(line);
  // A gap stands where an operator had the rest of a transaction left out.
  if (cursor && cursor->position == position && (IsGap(line) || IsOf(line, change.operation.id)))
    return std::nullopt;
  return "PostgreSQL repeats the operation at " + Text(position) + " where the journal holds " +
         (cursor ? "another one at " + Text(cursor->position) : "none");
}

std::optional<std::string> Continuity::Passed(replication::Lsn end) {
  if (!awaits() || end <= last_.commit_lsn) return std::nullopt;
  return "PostgreSQL does not repeat the operation at " + Text(last_) +
         ", with which the journal ends";
}

// Empty behind the journal's end.
std::string_view Continuity::NextLine() {
  if (!awaits()) return {};
  if (used_ == piece_.size()) Load();
  std::string_view rest = std::string_view(piece_).substr(used_);
  std::string_view line = rest.substr(0, rest.find('\n') + 1);
  used_ += line.size();
  offset_ += line.size();
  return line;
}

void Continuity::Load() {
  used_ = 0;
  piece_.clear();
  if (auto lines = journal::CopyLines(journal_, offset_, kPieceBytes)) {
    piece_ = std::move(*lines);
    return;
  }
  journal::Earliest earliest = journal_.earliest();
  offset_ = earliest.offset;
  ignored_ = earliest.base;
}

}  // namespace syncflow
