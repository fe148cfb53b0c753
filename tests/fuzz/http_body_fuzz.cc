// Bodies of the sync API: whatever a client sends is read, or refused with a sentence.
#include <nlohmann/json.hpp>
#include <stdexcept>

#include "adapter/accept.h"
#include "adapter/filter.h"
#include "adapter/operation.h"
#include "adapter/raw_json.h"
#include "sidecar/sync_api/body.h"
#include "tests/fuzz/expect.h"

using namespace syncflow;

namespace {

template <typename Read>
void Attempt(Read read) {
  try {
    read();
  } catch (const std::invalid_argument& refused) {
    fuzz::Expect(refused.what()[0] != '\0', "a refusal is a sentence");
  }
}

void ReadOperation(std::string_view json) {
  adapter::Operation operation = adapter::Operation::FromJson(json);
  std::string written = operation.ToJson();
  fuzz::Expect(nlohmann::json::accept(written), "an operation is written as JSON");
  fuzz::Expect(adapter::Operation::FromJson(written) == operation, "and reads itself");
  adapter::ReasonToReject(operation);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  std::string_view body = fuzz::Text(data, size);
  Attempt([&] {
    adapter::ChangesRequest request = sync_api::ReadChanges(body);
    fuzz::Expect(request.limit >= 1 && request.limit <= 10'000, "a page has its limits");
  });
  Attempt([&] {
    std::string_view operations = sync_api::ReadOperations(body);
    fuzz::Expect(nlohmann::json::accept(operations), "operations are JSON");
    for (std::string_view one : adapter::RawElements(operations)) {
      Attempt([&] { ReadOperation(one); });
    }
  });
  Attempt([&] { adapter::TranslateFilter(sync_api::ReadFilter(body)); });
  Attempt([&] {
    fuzz::Expect(sync_api::ReadCompact(body).older_than.count() >= 0, "an age is not negative");
  });
  return 0;
}
