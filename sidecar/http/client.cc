#include "sidecar/http/client.h"

#include <civetweb.h>

#include <memory>

namespace syncflow::http {
namespace {

constexpr int kWaitMs = 10'000;

std::string HostOf(const std::string& listen) {
  std::string host = listen.substr(0, listen.rfind(':'));
  if (host.starts_with('[')) host = host.substr(1, host.size() - 2);
  if (host == "0.0.0.0") return "127.0.0.1";
  return host == "::" ? "::1" : host;
}

std::string ReadBody(mg_connection* connection) {
  std::string body;
  char piece[4096];
  for (int got; (got = mg_read(connection, piece, sizeof piece)) > 0;)
    body.append(piece, static_cast<size_t>(got));
  return body;
}

}  // namespace

Response Ask(const std::string& listen, const Request& request, const std::string& token) {
  char reason[256] = "";
  std::string host = HostOf(listen);
  int port = std::stoi(listen.substr(listen.rfind(':') + 1));
  std::unique_ptr<mg_connection, decltype(&mg_close_connection)> connection(
      mg_connect_client(host.c_str(), port, 0, reason, sizeof reason), &mg_close_connection);
  if (connection == nullptr)
    throw Unreachable("nobody answers at " + listen + ": is the sidecar running?");
  std::string bytes =
      request.method + " " + request.path + " HTTP/1.1\r\nHost: " + listen +
      (token.empty() ? "" : "\r\nAuthorization: Bearer " + token) +
      "\r\nConnection: close\r\nContent-Length: " + std::to_string(request.body.size()) +
      "\r\n\r\n" + request.body;
  mg_write(connection.get(), bytes.data(), bytes.size());
  if (mg_get_response(connection.get(), reason, sizeof reason, kWaitMs) < 0)
    throw Unreachable("no answer from " + listen + ": " + reason);
  return {mg_get_response_info(connection.get())->status_code, "", ReadBody(connection.get()), {}};
}

}  // namespace syncflow::http
