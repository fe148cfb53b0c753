#include "adapter/vector_clock.h"

#include <algorithm>
#include <nlohmann/json.hpp>
#include <stdexcept>

#include "adapter/operation.h"

namespace syncflow::adapter {
namespace {

// A counter beyond int64_t would come back as another number.
bool IsCounter(const nlohmann::json& value) {
  bool fits = !value.is_number_unsigned() || value.get<uint64_t>() <= INT64_MAX;
  return value.is_number_integer() && fits;
}

}  // namespace

VectorClock::VectorClock(std::map<std::string, int64_t, std::less<>> counters)
    : counters_(std::move(counters)) {}

VectorClock VectorClock::FromJson(std::string_view json) {
  auto parsed = nlohmann::json::parse(json, nullptr, false);
  if (!parsed.is_object()) throw std::invalid_argument("vectorClock is no JSON object");
  VectorClock clock;
  for (const auto& [client, counter] : parsed.items()) {
    if (!IsCounter(counter)) {
      throw std::invalid_argument("vectorClock holds no whole number for '" + client + "'");
    }
    clock.Set(client, counter.get<int64_t>());
  }
  return clock;
}

std::string VectorClock::ToJson() const {
  std::string out = "{";
  for (const auto& [client, counter] : counters_) {
    if (out.size() > 1) out += ',';
    AppendJsonString(out, client);
    out += ':' + std::to_string(counter);
  }
  return out + '}';
}

int64_t VectorClock::At(std::string_view client_id) const {
  auto found = counters_.find(client_id);
  return found == counters_.end() ? 0 : found->second;
}

void VectorClock::Set(std::string client_id, int64_t counter) {
  counters_[std::move(client_id)] = counter;
}

void VectorClock::Merge(const VectorClock& other) {
  for (const auto& [client, counter] : other.counters_) {
    int64_t& mine = counters_[client];
    mine = std::max(mine, counter);
  }
}

ClockOrder VectorClock::Compare(const VectorClock& other) const {
  bool greater = false;
  bool smaller = false;
  auto note = [&](int64_t mine, int64_t theirs) {
    greater |= mine > theirs;
    smaller |= mine < theirs;
  };
  for (const auto& [client, counter] : counters_) note(counter, other.At(client));
  for (const auto& [client, counter] : other.counters_) note(At(client), counter);
  if (greater && smaller) return ClockOrder::kConcurrent;
  if (greater) return ClockOrder::kAfter;
  return smaller ? ClockOrder::kBefore : ClockOrder::kEqual;
}

}  // namespace syncflow::adapter
