// Drives a fuzz target without libFuzzer: each file of a folder, then random mutations of them.
//
//   NAME_fuzz FOLDER [ROUNDS [SEED]]
//
// The input that makes the target fail is printed.
#include <algorithm>
#include <csignal>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <random>
#include <string>
#include <vector>

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size);

// Sanitizers end with SIGABRT as well.
extern "C" const char* __asan_default_options() {
  return "abort_on_error=1";
}
extern "C" const char* __ubsan_default_options() {
  return "abort_on_error=1:print_stacktrace=1";
}

namespace {

using Random = std::mt19937_64;

std::string current;

void ShowCurrent(int) {
  std::fprintf(stderr, "\nfailed on these %zu bytes: ", current.size());
  for (char c : current) std::fprintf(stderr, "\\x%02x", static_cast<unsigned char>(c));
  std::fprintf(stderr, "\n");
}

void Run(std::string input) {
  current = std::move(input);
  LLVMFuzzerTestOneInput(reinterpret_cast<const uint8_t*>(current.data()), current.size());
}

std::vector<std::string> ReadFolder(const std::string& folder) {
  std::vector<std::filesystem::path> paths;
  for (const auto& file : std::filesystem::directory_iterator(folder)) paths.push_back(file.path());
  std::sort(paths.begin(), paths.end());
  std::vector<std::string> inputs;
  for (const auto& path : paths) {
    std::ifstream in(path, std::ios::binary);
    inputs.emplace_back(std::istreambuf_iterator<char>(in), std::istreambuf_iterator<char>());
  }
  return inputs;
}

// One of: a byte changed, a piece doubled, a piece cut out, a piece of another input put in.
std::string Mutated(std::string input, const std::string& other, Random& random) {
  size_t at = random() % (input.size() + 1);
  size_t length = 1 + random() % 8;
  switch (random() % 4) {
    case 0:
      if (at < input.size()) input[at] = static_cast<char>(random());
      return input;
    case 1:
      return input.insert(at, input.substr(at, length));
    case 2:
      return input.erase(at, length);
    default:
      return input.insert(at, other.substr(random() % (other.size() + 1), length));
  }
}

}  // namespace

int main(int count, char** words) {
  if (count < 2) {
    std::fprintf(stderr, "usage: %s FOLDER [ROUNDS [SEED]]\n", words[0]);
    return 2;
  }
  std::signal(SIGABRT, ShowCurrent);
  uint64_t rounds = count > 2 ? std::strtoull(words[2], nullptr, 10) : 2'000;
  Random random(count > 3 ? std::strtoull(words[3], nullptr, 10) : 1);
  std::vector<std::string> inputs = ReadFolder(words[1]);
  if (inputs.empty()) {
    std::fprintf(stderr, "%s holds nothing to begin with\n", words[1]);
    return 1;
  }
  for (const std::string& input : inputs) Run(input);
  for (uint64_t round = 0; round < rounds; ++round) {
    std::string input = inputs[random() % inputs.size()];
    for (auto steps = 1 + random() % 4; steps > 0; --steps)
      input = Mutated(input, inputs[random() % inputs.size()], random);
    Run(input);
  }
  std::printf("%zu files and %llu mutations of them\n", inputs.size(),
              static_cast<unsigned long long>(rounds));
  return 0;
}
