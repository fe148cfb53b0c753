// Structured log lines to stderr: a room, a sentence, and named values.
//
//   text  2026-11-23T03:31:22.567Z info pipeline: streaming slot=syncflow_sidecar from=0/14319470
//   json  {"time":"…","level":"info","room":"pipeline","message":"streaming","slot":"…",…}
//
// Callable from any thread. Never give it document contents, tokens or connection strings.
#pragma once

#include <concepts>
#include <cstdint>
#include <initializer_list>
#include <string>
#include <string_view>

namespace syncflow::log {

enum class Level { kDebug, kInfo, kWarning, kError };
enum class Format { kText, kJson };

struct Field {
  std::string_view key;
  std::string value;

  Field(std::string_view k, std::string v) : key(k), value(std::move(v)) {}
  Field(std::string_view k, std::string_view v) : key(k), value(v) {}
  Field(std::string_view k, const char* v) : key(k), value(v) {}
  template <std::integral T>
  Field(std::string_view k, T v) : key(k), value(std::to_string(v)) {}
};
using Fields = std::initializer_list<Field>;

void Configure(Level level, Format format);
void Debug(std::string_view room, std::string_view message, Fields fields = {});
void Info(std::string_view room, std::string_view message, Fields fields = {});
void Warning(std::string_view room, std::string_view message, Fields fields = {});
void Error(std::string_view room, std::string_view message, Fields fields = {});

// Lines written since the start, by level.
uint64_t Written(Level level);

}  // namespace syncflow::log
