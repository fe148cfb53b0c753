#include "sidecar/feed/encode.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <chrono>

#include "adapter/operation.h"

namespace syncflow::feed {
namespace {

void AppendNumber(std::string& out, uint64_t value) {
  char digits[24];
  auto [end, error] = std::to_chars(digits, digits + sizeof digits, value);
  out.append(digits, end);
}

void AppendPadded(std::string& out, uint64_t value, size_t digits) {
  size_t end = out.size() + digits;
  out.resize(end);
  for (size_t i = 1; i <= digits; ++i, value /= 10)
    out[end - i] = static_cast<char>('0' + value % 10);
}

// A field that can be left out of a line that is too long, and what stands in its place.
struct Omittable {
  const char* name;
  size_t bytes;
  void (*blank)(adapter::OperationView&);
};

std::array<Omittable, 6> OmittablesOf(const adapter::OperationView& op) {
  return {{{"data", op.data ? op.data->size() : 0, [](auto& o) { o.data = "null"; }},
           {"vectorClock", op.vector_clock.size(), [](auto& o) { o.vector_clock = "{}"; }},
           {"docId", op.doc_id.size(), [](auto& o) { o.doc_id = ""; }},
           {"collection", op.collection.size(), [](auto& o) { o.collection = ""; }},
           {"clientId", op.client_id.size(), [](auto& o) { o.client_id = ""; }},
           {"type", op.type.size(), [](auto& o) { o.type = ""; }}}};
}

}  // namespace

std::string FormatTime(int64_t microseconds) {
  using namespace std::chrono;
  sys_time<std::chrono::microseconds> time{std::chrono::microseconds(microseconds)};
  auto day = floor<days>(time);
  year_month_day date(day);
  hh_mm_ss clock(time - day);
  std::string out;
  AppendPadded(out, static_cast<uint64_t>(static_cast<int>(date.year())), 4);
  out += '-';
  AppendPadded(out, static_cast<unsigned>(date.month()), 2);
  out += '-';
  AppendPadded(out, static_cast<unsigned>(date.day()), 2);
  out += 'T';
  AppendPadded(out, static_cast<uint64_t>(clock.hours().count()), 2);
  out += ':';
  AppendPadded(out, static_cast<uint64_t>(clock.minutes().count()), 2);
  out += ':';
  AppendPadded(out, static_cast<uint64_t>(clock.seconds().count()), 2);
  out += '.';
  AppendPadded(out, static_cast<uint64_t>(clock.subseconds().count()), 6);
  return out + 'Z';
}

Encoder::Encoder(journal::Epoch epoch, uint64_t line_bytes_max)
    : epoch_(epoch), line_bytes_max_(line_bytes_max) {}

void Encoder::Encode(const replication::Change& change) {
  position_ = {change.commit_lsn, change.index};
  holds_ = true;
  if (change.commit_time != time_cached_) {
    time_text_ = FormatTime(change.commit_time);
    time_cached_ = change.commit_time;
  }
  WriteHead(change);
  size_t head_bytes = line_.size();
  adapter::AppendOperationJson(line_, change.operation);
  line_ += "}\n";
  if (line_.size() + kLastMax > line_bytes_max_) Shorten(change.operation, head_bytes);
}

void Encoder::WriteHead(const replication::Change& change) {
  line_ = "{\"type\":\"change\",\"cursor\":\"";
  journal::Cursor{epoch_, position_}.AppendTo(line_);
  line_ += "\",\"transaction\":{\"xid\":";
  AppendNumber(line_, change.xid);
  line_ += ",\"index\":";
  AppendNumber(line_, change.index);
  line_ += ",\"last\":";
  last_at_ = line_.size();
  line_ += "},\"committed_at\":\"";
  line_ += time_text_;
  line_ += change.recovered ? "\",\"recovered\":true,\"op\":" : "\",\"op\":";
}

// The largest field goes first, until the line fits; "omitted" tells how many bytes each had.
void Encoder::Shorten(adapter::OperationView operation, size_t head_bytes) {
  ++omitted_;
  std::string omitted;
  auto fields = OmittablesOf(operation);
  while (line_.size() + kLastMax > line_bytes_max_) {
    auto largest =
        std::max_element(fields.begin(), fields.end(),
                         [](const Omittable& a, const Omittable& b) { return a.bytes < b.bytes; });
    if (largest->bytes == 0) break;
    omitted += std::string(omitted.empty() ? "\"" : ",\"") + largest->name +
               "\":" + std::to_string(largest->bytes);
    largest->blank(operation);
    largest->bytes = 0;
    line_.resize(head_bytes);
    adapter::AppendOperationJson(line_, operation);
    line_ += ",\"omitted\":{" + omitted + "}}\n";
  }
}

std::string_view Encoder::Finish(bool last) {
  holds_ = false;
  line_.insert(last_at_, last ? "true" : "false");
  return line_;
}

}  // namespace syncflow::feed
