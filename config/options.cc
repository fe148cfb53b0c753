#include "config/options.h"

#include <algorithm>
#include <cctype>
#include <type_traits>
#include <utility>

#include "config/address.h"
#include "config/kinds.h"
#include "config/text.h"
#include "config/units.h"

namespace syncflow::config {
namespace {

using std::chrono::hours;
using std::chrono::milliseconds;
using std::chrono::minutes;
using std::chrono::seconds;

constexpr uint64_t kKiB = 1ull << 10;
constexpr uint64_t kMiB = 1ull << 20;
constexpr uint64_t kGiB = 1ull << 30;

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
  option.set = [section, set = Setter(member, kind)](Settings& settings, const std::string& text) {
    return set(settings.*section, text);
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
  auto feed_tls = In("feed.tls", &Settings::feed_tls);
  auto http = In("http", &Settings::http);
  auto sync_api = In("sync_api", &Settings::sync_api);
  auto notify = In("notify", &Settings::notify);
  auto log = In("log", &Settings::log);
  return {
      postgres("url", &Postgres::url, Hidden{}),
      postgres("password_file", &Postgres::password_file, Line{}),
      postgres("schema", &Postgres::schema, Identifier()),
      postgres("initialize", &Postgres::initialize, Flag{}),
      postgres("pool_max", &Postgres::pool_max, Count{1, 1000}),
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
      feed_tls("certificate", &FeedTls::certificate, Line{}),
      feed_tls("key", &FeedTls::key, Line{}),
      feed_tls("client_ca", &FeedTls::client_ca, Line{}),
      http("listen", &Http::listen, AddressOrNone()),
      http("token_file", &Http::token_file, Line{}),
      sync_api("listen", &SyncApi::listen, AddressOrNone()),
      sync_api("allow_anonymous", &SyncApi::allow_anonymous, Flag{}),
      notify("mode", &Notify::mode, Choice<NotifyMode>{{"trigger", "off"}}),
      notify("watch", &Notify::watch, Flag{}),
      log("level", &Log::level, Choice<LogLevel>{{"debug", "info", "warning", "error"}}),
      log("format", &Log::format, Choice<LogFormat>{{"text", "json"}}),
  };
}

}  // namespace

std::string Option::environment_name() const {
  std::string out = "SYNCFLOW_" + section + "_" + key;
  for (char& c : out)
    c = c == '.' ? '_' : static_cast<char>(std::toupper(static_cast<unsigned char>(c)));
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
  const FeedTls& tls = settings.feed_tls;
  if (tls.certificate.empty() != tls.key.empty()) {
    bool lacks_key = tls.key.empty();
    out.push_back({{lacks_key ? "feed.tls.key" : "feed.tls.certificate", "feed.tls.certificate",
                    "feed.tls.key"},
                   std::string("is missing: TLS needs feed.tls.certificate and feed.tls.key")});
  }
  if (!tls.client_ca.empty() && tls.certificate.empty()) {
    out.push_back(
        {{"feed.tls.client_ca"},
         "asks consumers for certificates, which needs TLS: give feed.tls.certificate and "
         "feed.tls.key"});
  }
  bool guarded =
      settings.feed.allow_anonymous || !settings.feed.tokens_file.empty() || !tls.client_ca.empty();
  if (!IsLoopback(settings.feed.listen) && !guarded) {
    out.push_back(
        {{"feed.listen", "feed.tokens_file", "feed.allow_anonymous", "feed.tls.client_ca"},
         settings.feed.listen +
             " can be reached from other machines, and nobody would be asked who they "
             "are: give feed.tokens_file or feed.tls.client_ca, listen on 127.0.0.1, or "
             "set feed.allow_anonymous: true"});
  }
  const SyncApi& sync = settings.sync_api;
  if (!sync.listen.empty() && !IsLoopback(sync.listen) && !sync.allow_anonymous) {
    out.push_back({{"sync_api.listen", "sync_api.allow_anonymous"},
                   sync.listen +
                       " can be reached from other machines, and nobody would be asked who they "
                       "are: listen on 127.0.0.1 behind something that asks, or set "
                       "sync_api.allow_anonymous: true"});
  }
  return out;
}

}  // namespace syncflow::config
