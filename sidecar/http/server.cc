#include "sidecar/http/server.h"

#include <civetweb.h>
#include <netdb.h>
#include <sys/socket.h>
#include <unistd.h>

#include <chrono>
#include <exception>
#include <nlohmann/json.hpp>
#include <optional>
#include <string_view>
#include <thread>
#include <utility>

#include "sidecar/log/log.h"

namespace syncflow::http {
namespace {

using namespace std::chrono_literals;

// A probe must be answered while a slow scrape and a silent client hold two of them.
constexpr const char* kThreads = "4";
// From the first byte to the end of the request: who is slower is disconnected.
constexpr const char* kRequestTimeoutMs = "1000";
constexpr const char* kRequestBytesMax = "8192";
constexpr size_t kBodyMax = 8192;

std::string Reason(int status) {
  return nlohmann::json{{"error", mg_get_response_code_text(nullptr, status)}}.dump() + "\n";
}

void Send(mg_connection* connection, const Response& response, std::string_view more_headers = "") {
  std::string head = "HTTP/1.1 " + std::to_string(response.status) + " " +
                     mg_get_response_code_text(connection, response.status) + "\r\n" +
                     "Content-Type: " + response.content_type + "\r\n" +
                     "Content-Length: " + std::to_string(response.body.size()) + "\r\n" +
                     "Cache-Control: no-store\r\nX-Content-Type-Options: nosniff\r\n" +
                     "Connection: close\r\n";
  head.append(more_headers).append("\r\n");
  const mg_request_info* request = mg_get_request_info(connection);
  bool head_only =
      request->request_method != nullptr && std::string_view(request->request_method) == "HEAD";
  if (!head_only) head += response.body;
  mg_write(connection, head.data(), head.size());
}

Response Refusal(int status) {
  return {status, "application/json", Reason(status)};
}

// Who answers; empty where nobody does.
using Handler = std::function<Response(const Request&)>;

Handler Reads(const std::function<Response()>& handler) {
  if (!handler) return {};
  return [&handler](const Request&) { return handler(); };
}

bool IsOfConsumers(std::string_view path) {
  return path == "/consumers" || path.starts_with("/consumers/");
}

Handler Find(const Handlers& handlers, std::string_view path) {
  if (path == "/metrics") return Reads(handlers.metrics);
  if (path == "/livez") return Reads(handlers.livez);
  if (path == "/readyz") return Reads(handlers.readyz);
  if (path == "/startupz") return Reads(handlers.startupz);
  if (path == "/status") return Reads(handlers.status);
  if (IsOfConsumers(path)) return handlers.consumers;
  return {};
}

Response Call(const Handler& handler, const Request& request) {
  try {
    return handler(request);
  } catch (const std::exception& error) {
    log::Error("http", "a handler failed", {{"path", request.path}, {"reason", error.what()}});
    return Refusal(500);
  }
}

// A browser names the page that asks, and any page may ask for this machine's ports.
bool MayChange(mg_connection* connection) {
  std::string_view from = mg_get_request_info(connection)->remote_addr;
  bool here = from.starts_with("127.") || from == "::1" || from.starts_with("::ffff:127.");
  return here && mg_get_header(connection, "Origin") == nullptr;
}

// nullopt when it is too long.
std::optional<std::string> BodyOf(mg_connection* connection) {
  std::string body(kBodyMax + 1, '\0');
  size_t size = 0;
  while (size < body.size()) {
    int got = mg_read(connection, body.data() + size, body.size() - size);
    if (got <= 0) break;
    size += static_cast<size_t>(got);
  }
  if (size > kBodyMax) return std::nullopt;
  body.resize(size);
  return body;
}

std::string AddressError(const std::string& listen, const std::string& why) {
  return "http.listen: cannot listen on '" + listen + "': " + why +
         "; set it to a free host:port, such as 127.0.0.1:9464";
}

// civetweb reads more into its port list than an address: several ports, TLS, redirects.
bool IsPlainAddress(std::string_view listen) {
  size_t colon = listen.rfind(':');
  if (colon == std::string_view::npos || colon == 0) return false;
  std::string_view port = listen.substr(colon + 1);
  bool digits = port.find_first_not_of("0123456789") == std::string_view::npos;
  if (!digits || port.empty() || port.size() > 5 || std::stoi(std::string(port)) > 65535)
    return false;
  return listen.find_first_of(", \t\r\n+") == std::string_view::npos;
}

using Address = std::unique_ptr<addrinfo, decltype(&freeaddrinfo)>;

Address Resolve(std::string host, uint16_t port) {
  if (host.front() == '[') host = host.substr(1, host.size() - 2);
  addrinfo hints{};
  hints.ai_socktype = SOCK_STREAM;
  addrinfo* found = nullptr;
  int error = getaddrinfo(host.c_str(), std::to_string(port).c_str(), &hints, &found);
  return {error == 0 ? found : nullptr, &freeaddrinfo};
}

void Knock(const Address& address) {
  if (address == nullptr) return;
  int fd = socket(address->ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  if (fd < 0) return;
  static_cast<void>(connect(fd, address->ai_addr, address->ai_addrlen));
  close(fd);
}

}  // namespace

struct Server::State {
  Handlers handlers;
  std::string listen;
  std::string start_message;  // the first one civetweb logged on the thread that starts it
  const std::thread::id starter = std::this_thread::get_id();
  mg_context* context = nullptr;

  void Start();
  int Answer(mg_connection* connection) const;

  static int OnRequest(mg_connection* connection);
  static int OnMessage(const mg_connection* connection, const char* message);
  static int OnError(mg_connection* connection, int status, const char* message);
};

int Server::State::Answer(mg_connection* connection) const {
  auto send = [connection](const Response& response, std::string_view more_headers = "") {
    Send(connection, response, more_headers);
    return response.status;
  };
  const mg_request_info* info = mg_get_request_info(connection);
  Request request;
  request.path = info->local_uri != nullptr ? info->local_uri : "";
  request.method = info->request_method;
  Handler handler = Find(handlers, request.path);
  if (!handler) return send(Refusal(404));
  if (request.method == "HEAD") request.method = "GET";
  if (request.method == "GET") return send(Call(handler, request));
  bool changes = request.method == "PUT" || request.method == "DELETE";
  if (!IsOfConsumers(request.path)) return send(Refusal(405), "Allow: GET, HEAD\r\n");
  if (!changes) return send(Refusal(405), "Allow: GET, HEAD, PUT, DELETE\r\n");
  if (!MayChange(connection)) return send(Refusal(403));
  auto body = BodyOf(connection);
  if (!body) return send(Refusal(413));
  request.body = std::move(*body);
  return send(Call(handler, request));
}

int Server::State::OnRequest(mg_connection* connection) {
  auto* state = static_cast<State*>(mg_get_request_info(connection)->user_data);
  return state->Answer(connection);
}

int Server::State::OnMessage(const mg_connection* connection, const char* message) {
  auto* state = static_cast<State*>(mg_get_user_data(mg_get_context(connection)));
  bool starting = std::this_thread::get_id() == state->starter;
  if (starting && state->start_message.empty()) state->start_message = message;
  log::Debug("http", message);
  return 1;
}

int Server::State::OnError(mg_connection* connection, int status, const char*) {
  Send(connection, Refusal(status));
  return 0;
}

void Server::State::Start() {
  if (!IsPlainAddress(listen)) throw Error(AddressError(listen, "it is not host:port"));
  mg_callbacks callbacks{};
  callbacks.begin_request = OnRequest;
  callbacks.log_message = OnMessage;
  callbacks.http_error = OnError;
  const char* options[] = {"listening_ports",
                           listen.c_str(),
                           "num_threads",
                           kThreads,
                           "request_timeout_ms",
                           kRequestTimeoutMs,
                           "max_request_size",
                           kRequestBytesMax,
                           "enable_keep_alive",
                           "no",
                           nullptr};
  char text[256] = "";
  unsigned code = 0;
  mg_error_data error{&code, text, sizeof text};
  mg_init_data init{&callbacks, this, options};
  mg_init_library(MG_FEATURES_DEFAULT);
  context = mg_start2(&init, &error);
  if (context == nullptr) {
    mg_exit_library();
    throw Error(AddressError(listen, start_message.empty() ? text : start_message));
  }
}

Server::Server(const Options& options, Handlers handlers) : state_(std::make_unique<State>()) {
  state_->handlers = std::move(handlers);
  state_->listen = options.listen;
  state_->Start();
}

Server::~Server() {
  Stop();
}

void Server::Stop() {
  if (state_->context == nullptr) return;
  std::string host = state_->listen.substr(0, state_->listen.rfind(':'));
  // civetweb looks at its stop flag only when a connection comes or two seconds have passed.
  std::jthread knocker([address = Resolve(host, port())](std::stop_token stop) {
    for (; !stop.stop_requested(); std::this_thread::sleep_for(10ms)) Knock(address);
  });
  mg_stop(std::exchange(state_->context, nullptr));
  mg_exit_library();
}

uint16_t Server::port() const {
  mg_server_port port{};
  if (state_->context == nullptr || mg_get_server_ports(state_->context, 1, &port) != 1) return 0;
  return static_cast<uint16_t>(port.port);
}

}  // namespace syncflow::http
