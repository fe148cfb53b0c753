// Configuration files, as the config room's own tests judge them.
#include "tests/config/sane.h"
#include "tests/fuzz/expect.h"

using namespace syncflow;

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  std::string problem = config::WhatIsInsane(std::string(fuzz::Text(data, size)));
  fuzz::Expect(problem.empty(), problem);
  return 0;
}
