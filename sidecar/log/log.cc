#include "sidecar/log/log.h"

#include <spdlog/sinks/stdout_sinks.h>
#include <spdlog/spdlog.h>

#include <array>
#include <atomic>
#include <memory>

#include "sidecar/log/escape.h"

namespace syncflow::log {
namespace {

constexpr std::array<const char*, 4> kNames = {"debug", "info", "warning", "error"};
constexpr std::array<spdlog::level::level_enum, 4> kLevels = {
    spdlog::level::debug, spdlog::level::info, spdlog::level::warn, spdlog::level::err};

std::array<std::atomic<uint64_t>, 4> written{};
std::atomic<Format> format{Format::kText};

size_t Index(Level level) {
  return static_cast<size_t>(level);
}

// The time comes from spdlog, the rest of the line is made here: spdlog escapes nothing.
spdlog::logger& Logger() {
  static const std::shared_ptr<spdlog::logger> logger = [] {
    auto made = spdlog::stderr_logger_mt("syncflow");
    made->set_level(spdlog::level::info);
    made->set_pattern("%Y-%m-%dT%H:%M:%S.%eZ %v", spdlog::pattern_time_type::utc);
    return made;
  }();
  return *logger;
}

std::string TextLine(Level level, std::string_view room, std::string_view message, Fields fields) {
  std::string line = std::string(kNames[Index(level)]) + " " + std::string(room) + ": ";
  AppendPlain(line, message);
  for (const Field& field : fields) {
    line += ' ';
    line += field.key;
    line += '=';
    AppendValue(line, field.value);
  }
  return line;
}

void AppendMember(std::string& out, std::string_view key, std::string_view value) {
  out += ',';
  AppendQuoted(out, key);
  out += ':';
  AppendQuoted(out, value);
}

// Closes the object that the pattern of the JSON format opens with the time.
std::string JsonLine(Level level, std::string_view room, std::string_view message, Fields fields) {
  std::string line;
  AppendMember(line, "level", kNames[Index(level)]);
  AppendMember(line, "room", room);
  AppendMember(line, "message", message);
  for (const Field& field : fields) AppendMember(line, field.key, field.value);
  return line + "}";
}

void Write(Level level, std::string_view room, std::string_view message, Fields fields) {
  spdlog::logger& logger = Logger();
  if (!logger.should_log(kLevels[Index(level)])) return;
  ++written[Index(level)];
  auto make = format == Format::kJson ? JsonLine : TextLine;
  logger.log(kLevels[Index(level)], "{}", make(level, room, message, fields));
}

}  // namespace

void Configure(Level level, Format wanted) {
  format = wanted;
  spdlog::logger& logger = Logger();
  logger.set_level(kLevels[Index(level)]);
  const char* pattern = wanted == Format::kJson ? "{\"time\":\"%Y-%m-%dT%H:%M:%S.%eZ\"%v"
                                                : "%Y-%m-%dT%H:%M:%S.%eZ %v";
  logger.set_pattern(pattern, spdlog::pattern_time_type::utc);
}

void Debug(std::string_view room, std::string_view message, Fields fields) {
  Write(Level::kDebug, room, message, fields);
}
void Info(std::string_view room, std::string_view message, Fields fields) {
  Write(Level::kInfo, room, message, fields);
}
void Warning(std::string_view room, std::string_view message, Fields fields) {
  Write(Level::kWarning, room, message, fields);
}
void Error(std::string_view room, std::string_view message, Fields fields) {
  Write(Level::kError, room, message, fields);
}

uint64_t Written(Level level) {
  return written[Index(level)];
}

}  // namespace syncflow::log
