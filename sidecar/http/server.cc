#include "sidecar/http/server.h"

#include <civetweb.h>
#include <netdb.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <condition_variable>
#include <mutex>
#include <string_view>
#include <thread>
#include <utility>

#include "sidecar/http/exchange.h"
#include "sidecar/http/token.h"
#include "sidecar/log/log.h"

namespace syncflow::http {
namespace {

using namespace std::chrono_literals;
using Clock = std::chrono::steady_clock;

constexpr auto kStopPatience = 1s;
constexpr auto kIdleMax = 5s;  // of a kept connection, as with Node
// What waits for a thread: accepted, and not yet accepted by us.
constexpr const char* kQueue = "1024";
constexpr const char* kHeadBytesMax = "8192";

std::string AddressError(const Options& options, const std::string& why) {
  return options.setting + ": cannot listen on '" + options.listen + "': " + why +
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
  State(const Options& chosen, std::vector<Route> served);

  Options options;
  std::vector<Route> routes;
  Probe probe;
  std::string start_message;  // the first one civetweb logged on the thread that starts it
  const std::thread::id starter = std::this_thread::get_id();
  mg_context* context = nullptr;

  std::mutex mutex;
  std::condition_variable changed;
  int under_way = 0;  // requests
  bool draining = false;

  void Start();
  HandlerProbe& ProbeOf(const std::string& handler);
  int Serve(mg_connection* connection);
  bool IsDraining();
  class UnderWay;

  static State& Of(const mg_connection* connection);
  static int OnRequest(mg_connection* connection);
  static int OnConnection(const mg_connection* connection, void** data);
  static void OnClosed(const mg_connection* connection);
  static int OnMessage(const mg_connection* connection, const char* message);
  static int OnError(mg_connection* connection, int status, const char* message);
};

Server::State::State(const Options& chosen, std::vector<Route> served)
    : options(chosen), routes(std::move(served)) {
  for (const Route& route : routes) ProbeOf(route.handler);
  if (options.cross_origin) ProbeOf("preflight");
  ProbeOf("other");
}

// Makes none once the server has started.
HandlerProbe& Server::State::ProbeOf(const std::string& handler) {
  for (HandlerProbe& one : probe.handlers) {
    if (one.name == handler) return one;
  }
  return probe.handlers.emplace_back(handler);
}

Server::State& Server::State::Of(const mg_connection* connection) {
  return *static_cast<State*>(mg_get_user_data(mg_get_context(connection)));
}

// Counts a request while it lives.
class Server::State::UnderWay {
 public:
  explicit UnderWay(State& state) : state_(state) {
    std::lock_guard held(state_.mutex);
    ++state_.under_way;
    refused = state_.draining;
  }
  ~UnderWay() {
    {
      std::lock_guard held(state_.mutex);
      --state_.under_way;
    }
    state_.changed.notify_all();
  }
  UnderWay(const UnderWay&) = delete;
  UnderWay& operator=(const UnderWay&) = delete;

  bool refused;

 private:
  State& state_;
};

bool Server::State::IsDraining() {
  std::lock_guard held(mutex);
  return draining;
}

int Server::State::Serve(mg_connection* connection) {
  auto began = Clock::now();
  UnderWay request(*this);
  // A kept connection occupies its thread while it waits.
  bool keeps =
      options.keep_alive && !request.refused && probe.connections <= options.threads * 3 / 4;
  Exchange exchange(connection, options, keeps);
  Response response = exchange.Answer(routes, request.refused);
  if (IsDraining()) exchange.EndConnection();
  exchange.Send(response);
  ProbeOf(exchange.handler()).Count(response.status, Clock::now() - began);
  return response.status;
}

int Server::State::OnRequest(mg_connection* connection) {
  return Of(connection).Serve(connection);
}

int Server::State::OnConnection(const mg_connection* connection, void**) {
  ++Of(connection).probe.connections;
  return 0;
}

void Server::State::OnClosed(const mg_connection* connection) {
  --Of(connection).probe.connections;
}

int Server::State::OnMessage(const mg_connection* connection, const char* message) {
  State& state = Of(connection);
  bool starting = std::this_thread::get_id() == state.starter;
  if (starting && state.start_message.empty()) state.start_message = message;
  log::Debug("http", message);
  return 1;
}

// What civetweb could not read as a request.
int Server::State::OnError(mg_connection* connection, int status, const char*) {
  Response refusal = Refuse(status, mg_get_response_code_text(connection, status));
  std::string bytes =
      "HTTP/1.1 " + std::to_string(status) + " " + mg_get_response_code_text(connection, status) +
      "\r\nContent-Type: application/json\r\nContent-Length: " +
      std::to_string(refusal.body.size()) + "\r\nConnection: close\r\n\r\n" + refusal.body;
  mg_write(connection, bytes.data(), bytes.size());
  Of(connection).ProbeOf("other").Count(status, 0s);
  return 0;
}

void Server::State::Start() {
  try {
    if (!options.token_file.empty()) ReadToken(options.token_file);
  } catch (const TokenError& wrong) {
    throw Error(wrong.what());
  }
  if (!IsPlainAddress(options.listen)) throw Error(AddressError(options, "it is not host:port"));
  mg_callbacks callbacks{};
  callbacks.begin_request = OnRequest;
  callbacks.init_connection = OnConnection;
  callbacks.connection_closed = OnClosed;
  callbacks.log_message = OnMessage;
  callbacks.http_error = OnError;
  std::string threads = std::to_string(options.threads);
  std::string patience = std::to_string(options.patience.count());
  std::string idle = std::to_string(std::chrono::milliseconds(kIdleMax).count());
  const char* settings[] = {"listening_ports",
                            options.listen.c_str(),
                            "num_threads",
                            threads.c_str(),
                            "connection_queue",
                            kQueue,
                            "listen_backlog",
                            kQueue,
                            "request_timeout_ms",
                            patience.c_str(),
                            "max_request_size",
                            kHeadBytesMax,
                            "enable_keep_alive",
                            options.keep_alive ? "yes" : "no",
                            "keep_alive_timeout_ms",
                            idle.c_str(),
                            "tcp_nodelay",
                            "1",
                            "decode_url",
                            "no",  // a slash in a name is no slash between names
                            nullptr};
  char text[256] = "";
  unsigned code = 0;
  mg_error_data error{&code, text, sizeof text};
  mg_init_data init{&callbacks, this, settings};
  mg_init_library(MG_FEATURES_DEFAULT);
  context = mg_start2(&init, &error);
  if (context == nullptr) {
    mg_exit_library();
    throw Error(AddressError(options, start_message.empty() ? text : start_message));
  }
}

Server::Server(const Options& options, std::vector<Route> routes)
    : state_(std::make_unique<State>(options, std::move(routes))) {
  state_->Start();
}

Server::~Server() {
  Stop();
}

bool Server::Drain(std::chrono::milliseconds patience) {
  std::unique_lock held(state_->mutex);
  state_->draining = true;
  return state_->changed.wait_for(held, patience, [this] { return state_->under_way == 0; });
}

void Server::Stop() {
  if (state_->context == nullptr) return;
  // mg_stop cuts answers off in their middle.
  Drain(kStopPatience);
  const std::string& listen = state_->options.listen;
  std::string host = listen.substr(0, listen.rfind(':'));
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

const Probe& Server::probe() const {
  return state_->probe;
}

}  // namespace syncflow::http
