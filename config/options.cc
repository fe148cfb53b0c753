#include "config/options.h"

#include <algorithm>
#include <cctype>
#include <charconv>
#include <type_traits>
#include <utility>

#include "config/address.h"
#include "config/text.h"
#include "config/units.h"

namespace syncflow::config {
namespace {

using std::chrono::duration_cast;
using std::chrono::hours;
using std::chrono::milliseconds;
using std::chrono::minutes;
using std::chrono::seconds;

constexpr uint64_t kKiB = 1ull << 10;
constexpr uint64_t kMiB = 1ull << 20;
constexpr uint64_t kGiB = 1ull << 30;

// ---- what a value may be: each reads a text, or says in `expects` what would have fitted ----

struct Line {
  using Value = std::string;
  bool (*fits)(const std::string&) = [](const std::string&) { return true; };
  std::string expects = "must be one line of text without control characters";

  std::optional<Value> Read(const std::string& text) const {
    if (!IsOneLineOfText(text) || !fits(text)) return std::nullopt;
    return text;
  }
  std::string Write(const Value& value) const { return value; }
};

struct Hidden {
  using Value = Secret;
  std::string expects = Line{}.expects;

  std::optional<Value> Read(const std::string& text) const {
    if (!IsOneLineOfText(text)) return std::nullopt;
    return Secret(text);
  }
  std::string Write(const Value& value) const { return value.empty() ? "" : "***"; }
};

struct Flag {
  using Value = bool;
  std::string expects = "must be true or false";

  std::optional<Value> Read(const std::string& text) const {
    if (text != "true" && text != "false") return std::nullopt;
    return text == "true";
  }
  std::string Write(Value value) const { return value ? "true" : "false"; }
};

struct Count {
  using Value = uint32_t;
  Value least;
  Value most;
  std::string expects =
      "must be a whole number from " + std::to_string(least) + " to " + std::to_string(most);

  std::optional<Value> Read(const std::string& text) const {
    auto value = ParseCount(text);
    if (!value || *value < least || *value > most) return std::nullopt;
    return static_cast<Value>(*value);
  }
  std::string Write(Value value) const { return std::to_string(value); }
};

struct Size {
  using Value = uint64_t;
  Value least;
  Value most;
  std::string expects =
      "must be a size like 64MiB, from " + FormatSize(least) + " to " + FormatSize(most);

  std::optional<Value> Read(const std::string& text) const {
    auto value = ParseSize(text);
    return value && *value >= least && *value <= most ? value : std::nullopt;
  }
  std::string Write(Value value) const { return FormatSize(value); }
};

// T is the type of the setting: milliseconds or seconds.
template <typename T>
struct Duration {
  using Value = T;
  Value least;
  Value most;
  std::string expects = "must be a duration like 30s, from " + FormatDuration(least) + " to " +
                        FormatDuration(most) +
                        (std::is_same_v<T, seconds> ? ", in whole seconds" : "");

  std::optional<Value> Read(const std::string& text) const {
    auto value = ParseDuration(text);
    bool whole = value && duration_cast<T>(*value) == *value;
    if (!whole || *value < least || *value > most) return std::nullopt;
    return duration_cast<T>(*value);
  }
  std::string Write(Value value) const { return FormatDuration(value); }
};

// `names` in the order of the enumeration.
template <typename T>
struct Choice {
  using Value = T;
  std::vector<std::string> names;
  std::string expects = "must be one of: " + Joined();

  std::string Joined() const {
    std::string all;
    for (const std::string& name : names) all += (all.empty() ? "" : ", ") + name;
    return all;
  }
  std::optional<Value> Read(const std::string& text) const {
    auto found = std::find(names.begin(), names.end(), text);
    if (found == names.end()) return std::nullopt;
    return static_cast<Value>(found - names.begin());
  }
  std::string Write(Value value) const { return names[static_cast<size_t>(value)]; }
};

Line Slot() {
  return {[](const std::string& text) {
            return !text.empty() && text.size() <= 63 &&
                   text.find_first_not_of("abcdefghijklmnopqrstuvwxyz0123456789_") == text.npos;
          },
          "must be a slot name: 1 to 63 of the characters a-z, 0-9 and _"};
}

Line Identifier() {
  return {[](const std::string& text) { return !text.empty() && text.size() <= 63; },
          "must be a name of 1 to 63 bytes"};
}

Line Folder() {
  return {[](const std::string& text) { return !text.empty(); }, "must be the path of a folder"};
}

Line Address() {
  return {IsAddress, "must be an address like 127.0.0.1:7433, [::1]:7433 or localhost:7433"};
}

Line AddressOrNone() {
  return {[](const std::string& text) { return text.empty() || IsAddress(text); },
          "must be an address like 127.0.0.1:9464, [::1]:9464 or localhost:9464, or empty"};
}

// ---- the table ----

template <typename Section, typename Kind>
Option Row(Section Settings::*section, typename Kind::Value Section::*member, Kind kind) {
  Option option;
  option.set = [=](Settings& settings, const std::string& text) -> std::optional<std::string> {
    auto value = kind.Read(text);
    if (!value) return kind.expects;
    settings.*section.*member = std::move(*value);
    return std::nullopt;
  };
  option.get = [=](const Settings& settings) { return kind.Write(settings.*section.*member); };
  option.secret = std::is_same_v<Kind, Hidden>;
  option.free_text = std::is_same_v<Kind, Line> || option.secret;
  return option;
}

// Makes the rows of one section.
template <typename Section>
auto In(std::string name, Section Settings::*section) {
  return [=](std::string key, auto member, auto kind) {
    Option option = Row(section, member, kind);
    option.section = name;
    option.key = std::move(key);
    return option;
  };
}

std::vector<Option> MakeOptions() {
  auto postgres = In("postgres", &Settings::postgres);
  auto replication = In("replication", &Settings::replication);
  auto journal = In("journal", &Settings::journal);
  auto feed = In("feed", &Settings::feed);
  auto http = In("http", &Settings::http);
  auto notify = In("notify", &Settings::notify);
  auto log = In("log", &Settings::log);
  return {
      postgres("url", &Postgres::url, Hidden{}),
      postgres("password_file", &Postgres::password_file, Line{}),
      postgres("schema", &Postgres::schema, Identifier()),
      postgres("initialize", &Postgres::initialize, Flag{}),
      replication("slot", &Replication::slot, Slot()),
      replication("plugin", &Replication::plugin, Choice<Plugin>{{"auto", "wal2json", "pgoutput"}}),
      replication("publication", &Replication::publication, Identifier()),
      replication("backfill", &Replication::backfill, Flag{}),
      journal("directory", &Journal::directory, Folder()),
      journal("segment_size", &Journal::segment_size, Size{kMiB, kGiB}),
      journal("retain_size", &Journal::retain_size, Size{2 * kMiB, 8192 * kGiB}),
      journal("retain_age", &Journal::retain_age, Duration<seconds>{minutes(1), hours(24 * 3650)}),
      journal("pin_size_max", &Journal::pin_size_max, Size{2 * kMiB, 8192 * kGiB}),
      journal("pin_age_max", &Journal::pin_age_max,
              Duration<seconds>{minutes(1), hours(24 * 3650)}),
      feed("listen", &Feed::listen, Address()),
      feed("hello_timeout", &Feed::hello_timeout,
           Duration<milliseconds>{milliseconds(10), minutes(1)}),
      feed("heartbeat", &Feed::heartbeat, Duration<seconds>{seconds(1), minutes(5)}),
      feed("tail_memory", &Feed::tail_memory, Size{kMiB, 64 * kGiB}),
      feed("connections_max", &Feed::connections_max, Count{1, 1'000'000}),
      feed("line_max", &Feed::line_max, Size{4 * kKiB, kGiB}),
      feed("allow_anonymous", &Feed::allow_anonymous, Flag{}),
      feed("tokens_file", &Feed::tokens_file, Line{}),
      http("listen", &Http::listen, AddressOrNone()),
      notify("mode", &Notify::mode, Choice<NotifyMode>{{"trigger", "off"}}),
      notify("watch", &Notify::watch, Flag{}),
      log("level", &Log::level, Choice<LogLevel>{{"debug", "info", "warning", "error"}}),
      log("format", &Log::format, Choice<LogFormat>{{"text", "json"}}),
  };
}

}  // namespace

std::string Option::environment_name() const {
  std::string out = "SYNCFLOW_" + section + "_" + key;
  for (char& c : out) c = static_cast<char>(std::toupper(static_cast<unsigned char>(c)));
  return out;
}

const std::vector<Option>& Options() {
  static const std::vector<Option> options = MakeOptions();
  return options;
}

const Option* FindOption(const std::string& section, const std::string& key) {
  for (const Option& option : Options()) {
    if (option.section == section && option.key == key) return &option;
  }
  return nullptr;
}

bool IsSection(const std::string& name) {
  const std::vector<Option>& all = Options();
  return std::any_of(all.begin(), all.end(), [&](const auto& one) { return one.section == name; });
}

std::vector<Conflict> FindConflicts(const Settings& settings) {
  std::vector<Conflict> out;
  if (settings.postgres.url.empty()) {
    out.push_back({{"postgres.url"},
                   "is missing: give a connection string like "
                   "postgresql://user@host:5432/database"});
  }
  uint64_t segments = settings.journal.retain_size / settings.journal.segment_size;
  if (segments < 2 || segments > 8192) {
    out.push_back({{"journal.retain_size", "journal.segment_size"},
                   "is " + FormatSize(settings.journal.retain_size) +
                       " and must be 2 to 8192 times journal.segment_size, which is " +
                       FormatSize(settings.journal.segment_size)});
  }
  bool guarded = settings.feed.allow_anonymous || !settings.feed.tokens_file.empty();
  if (!IsLoopback(settings.feed.listen) && !guarded) {
    out.push_back({{"feed.listen", "feed.tokens_file", "feed.allow_anonymous"},
                   settings.feed.listen +
                       " can be reached from other machines, and nobody would be asked who they "
                       "are: give feed.tokens_file, listen on 127.0.0.1, or set "
                       "feed.allow_anonymous: true"});
  }
  return out;
}

}  // namespace syncflow::config
