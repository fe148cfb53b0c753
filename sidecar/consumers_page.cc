#include "sidecar/consumers_page.h"

#include <nlohmann/json.hpp>
#include <optional>
#include <variant>

#include "sidecar/feed/encode.h"
#include "sidecar/feed/tokens.h"

namespace syncflow {
namespace {

using Json = nlohmann::ordered_json;
using Outcome = journal::Consumers::Outcome;

http::Response Answer(int status, const Json& json) {
  return {status, "application/json", json.dump(2) + "\n", {}};
}

// Behind a snapshot, a position may lie beyond the last line.
uint64_t BytesBehind(journal::Position head, journal::Position acknowledged) {
  if (acknowledged.commit_lsn > head.commit_lsn) return 0;
  return head.commit_lsn.bytes() - acknowledged.commit_lsn.bytes();
}

std::string StateOf(const journal::NamedPosition& consumer, journal::Epoch epoch,
                    journal::Position earliest) {
  if (consumer.acknowledged.epoch != epoch) return "epoch_changed";
  if (consumer.acknowledged.position == journal::Position{}) return "snapshot";
  return consumer.acknowledged.position < earliest ? "history_lost" : "kept";
}

Json ListOf(const journal::Journal& journal) {
  auto epoch = journal.epoch();
  journal::Position head = journal.head().position;
  journal::Position earliest = journal.earliest().base;
  Json list = Json::array();
  for (const auto& consumer : journal.consumers().List()) {
    Json one = {{"name", consumer.name},
                {"token", consumer.token},
                {"connected", consumer.connected},
                {"acknowledged", consumer.acknowledged.ToString()}};
    if (epoch) {
      std::string state = StateOf(consumer, *epoch, earliest);
      one["state"] = state;
      if (state == "kept")
        one["wal_behind_bytes"] = BytesBehind(head, consumer.acknowledged.position);
    }
    one["seen_at"] = feed::FormatTime(consumer.seen_at);
    list.push_back(one);
  }
  return list;
}

http::Response Page(const journal::Journal& journal) {
  Json page = Json::object();
  if (auto epoch = journal.epoch()) {
    page["head"] = journal::Cursor{*epoch, journal.head().position}.ToString();
    page["earliest"] = journal::Cursor{*epoch, journal.earliest().base}.ToString();
  }
  page["consumers"] = ListOf(journal);
  return Answer(200, page);
}

std::optional<std::string> TextOf(const Json& body, const char* key) {
  if (!body.is_object() || !body.contains(key) || !body[key].is_string()) return std::nullopt;
  return body[key].get<std::string>();
}

// The place that the text names; a refusal when there is none.
std::variant<journal::Cursor, http::Response> PlaceOf(const journal::Journal& journal,
                                                      const std::string& text) {
  auto epoch = journal.epoch();
  if (!epoch) return http::Refuse(409, "there is no history yet: PostgreSQL has not been reached");
  journal::Position head = journal.head().position;
  journal::Position earliest = journal.earliest().base;
  if (text == "latest") return journal::Cursor{*epoch, head};
  if (text == "earliest") return journal::Cursor{*epoch, earliest};
  auto cursor = journal::Cursor::Parse(text);
  if (!cursor)
    return http::Refuse(400,
                        R"(say {"cursor":"…"} with a cursor of this feed, earliest or latest, or )"
                        R"({"token":"…"} with the name of the one that shall have it)");
  if (cursor->epoch != *epoch) return http::Refuse(400, "the cursor belongs to another history");
  if (cursor->position > head) return http::Refuse(400, "the cursor lies beyond the head");
  if (cursor->position < earliest)
    return http::Refuse(400, "the journal no longer holds what follows the cursor");
  return *cursor;
}

http::Response Done(const journal::Journal& journal, Outcome outcome) {
  if (outcome == Outcome::kUnknown) return http::Refuse(404, "no consumer has this name");
  if (outcome == Outcome::kConnected)
    return http::Refuse(409, "this consumer is connected: stop it first");
  try {
    journal.consumers().Save();
  } catch (const journal::Error& error) {
    return http::Refuse(500, std::string("in force, and not durable yet: ") + error.what());
  }
  return Answer(200, {{"done", true}});
}

}  // namespace

std::string ConsumersJson(const journal::Journal& journal) {
  return ListOf(journal).dump();
}

http::Response AnswerConsumers(const journal::Journal& journal, const http::Request& request) {
  if (request.method == "GET") return Page(journal);
  const std::string& name = request.parameters.at(0);
  if (request.method == "DELETE") return Done(journal, journal.consumers().RemoveIdle(name));
  Json body = Json::parse(request.body, nullptr, false);
  auto token = TextOf(body, "token");
  if (token && TextOf(body, "cursor"))
    return http::Refuse(400, "a cursor or a token, one at a time");
  if (token) {
    if (!token->empty() && !feed::IsTokenName(*token))
      return http::Refuse(400, "a token's name has at most 128 printable ASCII characters");
    return Done(journal, journal.consumers().GiveIdle(name, *token));
  }
  auto place = PlaceOf(journal, TextOf(body, "cursor").value_or(""));
  if (auto* refusal = std::get_if<http::Response>(&place)) return *refusal;
  return Done(journal, journal.consumers().MoveIdle(name, std::get<journal::Cursor>(place)));
}

}  // namespace syncflow
