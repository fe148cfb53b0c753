#include "sidecar/http/exchange.h"

#include <civetweb.h>

#include <algorithm>
#include <array>
#include <exception>
#include <utility>

#include "sidecar/http/token.h"
#include "sidecar/log/log.h"

namespace syncflow::http {
namespace {

using Clock = std::chrono::steady_clock;
using std::chrono::seconds;

constexpr size_t kPieceBytes = 64 << 10;
// civetweb collects as much as it is asked for, however slowly chunks come.
constexpr size_t kChunkedPieceBytes = 4 << 10;
// What a refused client may still send, so that it comes to read why.
constexpr size_t kDiscardBytesMax = 64 << 20;
constexpr seconds kDiscardMax{2};

std::string_view Header(mg_connection* connection, const char* name) {
  const char* value = mg_get_header(connection, name);
  return value != nullptr ? value : "";
}

int Count(const mg_request_info& info, const char* name) {
  return static_cast<int>(std::count_if(
      info.http_headers, info.http_headers + info.num_headers,
      [&](const mg_header& header) { return mg_strcasecmp(header.name, name) == 0; }));
}

bool IsChunked(mg_connection* connection) {
  return !Header(connection, "Transfer-Encoding").empty();
}

// Two opinions on where a body ends are how one request is smuggled in another.
bool IsUnclear(mg_connection* connection) {
  const mg_request_info& info = *mg_get_request_info(connection);
  int lengths = Count(info, "Content-Length");
  bool digits = Header(connection, "Content-Length").find_first_not_of("0123456789") ==
                std::string_view::npos;
  return lengths + Count(info, "Transfer-Encoding") > 1 || !digits;
}

bool WantsToStay(mg_connection* connection) {
  std::string wish(Header(connection, "Connection"));
  std::transform(wish.begin(), wish.end(), wish.begin(),
                 [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
  if (!wish.empty()) return wish.find("keep-alive") != wish.npos;
  return std::string_view(mg_get_request_info(connection)->http_version) == "1.1";
}

// A browser names the page that asks, and any page may ask for this machine's ports. A proxy on
// this machine names whom it asks for, who may be anywhere.
bool IsFromHere(mg_connection* connection) {
  std::string_view from = mg_get_request_info(connection)->remote_addr;
  bool here = from.starts_with("127.") || from == "::1" || from.starts_with("::ffff:127.");
  constexpr const char* kOthers[] = {"Origin", "Forwarded", "X-Forwarded-For", "Via"};
  bool for_others = std::ranges::any_of(
      kOthers, [&](const char* header) { return mg_get_header(connection, header) != nullptr; });
  return here && !for_others;
}

Response Plain(int status) {
  return Refuse(status, mg_get_response_code_text(nullptr, status));
}

bool Write(mg_connection* connection, std::string_view bytes, Clock::time_point deadline) {
  while (!bytes.empty() && Clock::now() < deadline) {
    size_t size = std::min(bytes.size(), kPieceBytes);
    int sent = mg_write(connection, bytes.data(), size);
    if (sent <= 0) return false;
    bytes.remove_prefix(static_cast<size_t>(sent));
  }
  return bytes.empty();
}

}  // namespace

Exchange::Exchange(mg_connection* connection, const Options& options, bool keeps)
    : connection_(connection),
      options_(options),
      keeps_(keeps && WantsToStay(connection)),
      unread_(IsChunked(connection) || mg_get_request_info(connection)->content_length > 0) {}

Response Exchange::Answer(const std::vector<Route>& routes, bool draining) {
  const mg_request_info* info = mg_get_request_info(connection_);
  Request request;
  request.method = info->request_method;
  request.path = info->local_uri_raw != nullptr ? info->local_uri_raw : "";
  if (IsUnclear(connection_)) return Plain(400);
  if (options_.cross_origin && request.method == "OPTIONS") return Preflight();
  if (request.method == "HEAD") request.method = "GET";
  auto match = Find(routes, request.method, request.path);
  if (!match) return Plain(400);
  if (match->allowed.empty()) return Plain(404);
  if (match->route == nullptr) {
    Response refusal = Plain(405);
    refusal.headers.push_back("Allow: " + match->allowed);
    return refusal;
  }
  handler_ = match->route->handler;
  if (draining) return Refuse(503, "shutting down: try again later");
  request.parameters = std::move(match->parameters);
  return AnswerBy(*match->route, std::move(request));
}

Response Exchange::AnswerBy(const Route& route, Request request) {
  if (route.changes) {
    if (auto refusal = WhyNotChange()) return *refusal;
  }
  if (request.method != "GET") {
    auto body = ReadBody();
    if (auto* refusal = std::get_if<Response>(&body)) return *refusal;
    request.body = std::move(std::get<std::string>(body));
  }
  try {
    return route.answer(request);
  } catch (const std::exception& error) {
    log::Error("http", "a handler failed", {{"path", request.path}, {"reason", error.what()}});
    return Plain(500);
  }
}

// What the cors package for Node answers by default.
Response Exchange::Preflight() {
  handler_ = "preflight";
  Response response{204, "", "", {}};
  response.headers.push_back("Access-Control-Allow-Methods: GET,HEAD,PUT,PATCH,POST,DELETE");
  response.headers.push_back("Vary: Access-Control-Request-Headers");
  std::string_view asked = Header(connection_, "Access-Control-Request-Headers");
  if (!asked.empty())
    response.headers.push_back("Access-Control-Allow-Headers: " + std::string(asked));
  return response;
}

std::optional<Response> Exchange::WhyNotChange() const {
  if (options_.token_file.empty()) {
    if (IsFromHere(connection_)) return std::nullopt;
    return Refuse(403,
                  "only for this machine, and for no web page: set http.token_file for others");
  }
  try {
    if (Authorizes(Header(connection_, "Authorization"), ReadToken(options_.token_file)))
      return std::nullopt;
  } catch (const TokenError& wrong) {
    log::Error("http", wrong.what());
    return Refuse(500, "the token cannot be compared: the reason is in the sidecar's log");
  }
  Response refusal = Refuse(401, "needs the header Authorization: Bearer TOKEN");
  refusal.headers.push_back("WWW-Authenticate: Bearer");
  return refusal;
}

std::variant<std::string, Response> Exchange::ReadBody() {
  std::string body;
  if (!unread_) return body;
  int64_t length = mg_get_request_info(connection_)->content_length;
  auto too_long = [this] {
    return Refuse(413,
                  "the body is longer than " + std::to_string(options_.body_bytes_max) + " bytes");
  };
  if (length > static_cast<int64_t>(options_.body_bytes_max)) return too_long();
  auto deadline = Clock::now() + options_.transfer_max;
  if (mg_strcasecmp(Header(connection_, "Expect").data(), "100-continue") == 0)
    Write(connection_, "HTTP/1.1 100 Continue\r\n\r\n", deadline);
  bool chunked = IsChunked(connection_);
  std::vector<char> piece(chunked ? kChunkedPieceBytes : kPieceBytes);
  while (chunked || body.size() < static_cast<size_t>(length)) {
    int got = mg_read(connection_, piece.data(), piece.size());
    if (got == 0 && chunked) break;
    if (got < 0) return Refuse(400, "the body ended early");
    if (got == 0 || Clock::now() > deadline) return Refuse(408, "the body came too slowly");
    body.append(piece.data(), static_cast<size_t>(got));
    if (body.size() > options_.body_bytes_max) return too_long();
  }
  unread_ = false;
  return body;
}

void Exchange::Send(const Response& response) {
  keeps_ = keeps_ && !unread_;
  // Else civetweb would read what is left of the body, however much that is.
  if (!keeps_) mg_disable_connection_keep_alive(connection_);
  std::string bytes = Head(response);
  if (std::string_view(mg_get_request_info(connection_)->request_method) != "HEAD")
    bytes += response.body;
  if (!Write(connection_, bytes, Clock::now() + options_.transfer_max)) {
    mg_disable_connection_keep_alive(connection_);
  } else if (unread_) {
    DiscardBody();
  }
}

std::string Exchange::Head(const Response& response) const {
  std::string head = "HTTP/1.1 " + std::to_string(response.status) + " " +
                     mg_get_response_code_text(connection_, response.status) + "\r\n";
  auto add = [&head](std::string_view line) { head.append(line).append("\r\n"); };
  if (!response.content_type.empty()) add("Content-Type: " + response.content_type);
  add("Content-Length: " + std::to_string(response.body.size()));
  add("Cache-Control: no-store");
  add("X-Content-Type-Options: nosniff");
  if (options_.cross_origin) add("Access-Control-Allow-Origin: *");
  for (const std::string& header : response.headers) add(header);
  add(keeps_ ? "Connection: keep-alive" : "Connection: close");
  add("");
  return head;
}

// A connection that is closed over unread bytes is reset, and the answer may be lost with it.
void Exchange::DiscardBody() {
  bool waits_for_us = !Header(connection_, "Expect").empty();
  auto deadline = Clock::now() + kDiscardMax;
  std::array<char, kChunkedPieceBytes> piece;
  size_t discarded = 0;
  while (!waits_for_us && discarded < kDiscardBytesMax && Clock::now() < deadline) {
    int got = mg_read(connection_, piece.data(), piece.size());
    if (got <= 0) return;
    discarded += static_cast<size_t>(got);
  }
}

}  // namespace syncflow::http
