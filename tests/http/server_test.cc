// The admin server as clients meet it: real sockets, real bytes.
#include "sidecar/http/server.h"

#include <arpa/inet.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <nlohmann/json.hpp>
#include <string>
#include <thread>
#include <vector>

#include "sidecar/http/client.h"

namespace syncflow::http {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;
using ::testing::StartsWith;

class Client {
 public:
  explicit Client(uint16_t port) : fd_(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_port = htons(port);
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    connected_ = connect(fd_, reinterpret_cast<sockaddr*>(&address), sizeof address) == 0;
  }
  ~Client() { close(fd_); }
  Client(const Client&) = delete;
  Client& operator=(const Client&) = delete;

  bool connected() const { return connected_; }
  void Send(std::string_view bytes) { send(fd_, bytes.data(), bytes.size(), MSG_NOSIGNAL); }
  void CloseWriteSide() { shutdown(fd_, SHUT_WR); }
  std::string ReadAll() {
    std::string all;
    char buffer[4096];
    for (ssize_t n; (n = read(fd_, buffer, sizeof buffer)) > 0;) {
      all.append(buffer, static_cast<size_t>(n));
    }
    return all;
  }

 private:
  int fd_;
  bool connected_ = false;
};

Response Text(std::string body) {
  return {200, "text/plain", std::move(body)};
}

class AdminServer : public ::testing::Test {
 protected:
  static Handlers Everything() {
    Handlers handlers;
    handlers.metrics = [] { return Text("up 1\n"); };
    handlers.livez = [] { return Text("alive"); };
    handlers.readyz = [] { return Response{503, "text/plain", "not yet"}; };
    handlers.startupz = []() -> Response { throw std::runtime_error("secret detail"); };
    handlers.consumers = [](const http::Request& request) {
      return Text(request.method + " " + request.path + " " + request.body);
    };
    return handlers;  // status is missing on purpose
  }
  std::string Ask(const std::string& bytes) {
    Client client(server_.port());
    client.Send(bytes);
    return client.ReadAll();
  }
  std::string Request(const std::string& method, const std::string& path) {
    return Ask(method + " " + path + " HTTP/1.1\r\nHost: x\r\n\r\n");
  }
  static std::string BodyOf(const std::string& answer) {
    return answer.substr(answer.find("\r\n\r\n") + 4);
  }

  Server server_{{"127.0.0.1:0"}, Everything()};
};

TEST_F(AdminServer, PortZeroPicksAFreePort) {
  EXPECT_NE(server_.port(), 0);
}

TEST_F(AdminServer, EachPathAnswersByItsHandler) {
  EXPECT_EQ(BodyOf(Request("GET", "/metrics")), "up 1\n");
  EXPECT_EQ(BodyOf(Request("GET", "/livez")), "alive");
  std::string answer = Request("GET", "/readyz");
  EXPECT_THAT(answer, StartsWith("HTTP/1.1 503 "));
  EXPECT_EQ(BodyOf(answer), "not yet");
}

TEST_F(AdminServer, AnswerCarriesTypeAndLength) {
  std::string answer = Request("GET", "/metrics");
  EXPECT_THAT(answer, StartsWith("HTTP/1.1 200 OK\r\n"));
  EXPECT_THAT(answer, HasSubstr("Content-Type: text/plain\r\n"));
  EXPECT_THAT(answer, HasSubstr("Content-Length: 5\r\n"));
  EXPECT_THAT(answer, HasSubstr("Connection: close\r\n"));
}

TEST_F(AdminServer, QueryStringIsIgnored) {
  EXPECT_EQ(BodyOf(Request("GET", "/livez?verbose=1")), "alive");
}

TEST_F(AdminServer, HeadSendsTheHeadOfGet) {
  std::string head = Request("HEAD", "/metrics");
  std::string get = Request("GET", "/metrics");
  EXPECT_EQ(head + "up 1\n", get);
}

TEST_F(AdminServer, HeadOfAnUnknownPathHasNoBody) {
  std::string answer = Request("HEAD", "/nothing");
  EXPECT_THAT(answer, StartsWith("HTTP/1.1 404 "));
  EXPECT_EQ(BodyOf(answer), "");
}

TEST_F(AdminServer, UnknownPathIsJson404) {
  for (const char* path : {"/", "/nothing", "/metrics/x", "/livez/../etc/passwd", "/status"}) {
    std::string answer = Request("GET", path);
    EXPECT_THAT(answer, StartsWith("HTTP/1.1 404 ")) << path;
    EXPECT_THAT(answer, HasSubstr("application/json")) << path;
    EXPECT_EQ(nlohmann::json::parse(BodyOf(answer))["error"], "Not Found") << path;
  }
}

TEST_F(AdminServer, OtherMethodsAreRefused) {
  for (const char* method : {"POST", "PUT", "DELETE", "OPTIONS", "PATCH"}) {
    std::string answer =
        Ask(std::string(method) + " /livez HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\n{}");
    EXPECT_THAT(answer, StartsWith("HTTP/1.1 405 ")) << method;
    EXPECT_THAT(answer, HasSubstr("Allow: GET, HEAD\r\n")) << method;
  }
}

TEST_F(AdminServer, ConsumersAreReadAndChanged) {
  auto change = [this](const std::string& method, const std::string& headers,
                       const std::string& body) {
    return Ask(method + " /consumers/a%2Eb HTTP/1.1\r\nHost: x\r\n" + headers +
               "Content-Length: " + std::to_string(body.size()) + "\r\n\r\n" + body);
  };
  EXPECT_EQ(BodyOf(Request("GET", "/consumers")), "GET /consumers ");
  EXPECT_EQ(BodyOf(Request("HEAD", "/consumers")), "");
  EXPECT_EQ(BodyOf(change("PUT", "", "{}")), "PUT /consumers/a.b {}");
  EXPECT_EQ(BodyOf(change("DELETE", "", "")), "DELETE /consumers/a.b ");
  EXPECT_EQ(BodyOf(change("PUT", "", std::string(8192, 'x'))).size(), 8192 + 19u);
  EXPECT_THAT(change("PUT", "", std::string(8193, 'x')), StartsWith("HTTP/1.1 413 "));
  EXPECT_THAT(change("PUT", "Origin: http://x\r\n", "{}"), StartsWith("HTTP/1.1 403 "))
      << "a web page, whichever, changes nothing";
  std::string post = change("POST", "", "{}");
  EXPECT_THAT(post, StartsWith("HTTP/1.1 405 "));
  EXPECT_THAT(post, HasSubstr("Allow: GET, HEAD, PUT, DELETE\r\n"));
  EXPECT_THAT(Request("GET", "/consumersx"), StartsWith("HTTP/1.1 404 "));
}

TEST_F(AdminServer, ClientAsksAsAnyOther) {
  std::string listen = "127.0.0.1:" + std::to_string(server_.port());
  Response response = http::Ask(listen, {"PUT", "/consumers/a", "{}"});
  EXPECT_EQ(response.status, 200);
  EXPECT_EQ(response.body, "PUT /consumers/a {}");
  EXPECT_EQ(http::Ask("0.0.0.0:" + std::to_string(server_.port()), {"GET", "/nothing", ""}).status,
            404);
  server_.Stop();
  EXPECT_THROW(http::Ask(listen, {"GET", "/consumers", ""}), Unreachable);
}

TEST_F(AdminServer, HandlerThatThrowsIs500WithoutTheReason) {
  std::string answer = Request("GET", "/startupz");
  EXPECT_THAT(answer, StartsWith("HTTP/1.1 500 "));
  EXPECT_THAT(answer, Not(HasSubstr("secret")));
}

TEST_F(AdminServer, GarbageIsRefusedAndTheNextRequestServed) {
  const std::vector<std::string> garbage = {
      "\r\n\r\n",
      "nonsense\r\n\r\n",
      std::string("\0\1\2\3\r\n\r\n", 8),
      "GET\r\n\r\n",
      "GET /livez SMTP/1.1\r\n\r\n",
      "GET /livez HTTP/9.9\r\nHost: x\r\n\r\n",
      "GET %zz%00 HTTP/1.1\r\nHost: x\r\n\r\n",
      "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n",  // a TLS client
  };
  for (const std::string& bytes : garbage) {
    EXPECT_THAT(Ask(bytes), Not(HasSubstr(" 200 "))) << bytes;
    EXPECT_EQ(BodyOf(Request("GET", "/livez")), "alive") << bytes;
  }
}

TEST_F(AdminServer, RequestCutAtAnyLengthNeverAnswers200) {
  const std::string request = "GET /livez HTTP/1.1\r\nHost: x\r\n\r\n";
  for (size_t length = 0; length < request.size(); ++length) {
    Client client(server_.port());
    client.Send(request.substr(0, length));
    client.CloseWriteSide();
    EXPECT_THAT(client.ReadAll(), Not(HasSubstr(" 200 "))) << length;
  }
}

TEST_F(AdminServer, LongLinesAreRefused) {
  std::string path(100'000, 'a');
  EXPECT_THAT(Ask("GET /" + path + " HTTP/1.1\r\n\r\n"), Not(HasSubstr(" 200 ")));
  EXPECT_THAT(Ask("GET /livez HTTP/1.1\r\nX: " + path + "\r\n\r\n"), Not(HasSubstr(" 200 ")));
  EXPECT_EQ(BodyOf(Request("GET", "/livez")), "alive");
}

TEST_F(AdminServer, SilentClientsDoNotKeepAProbeFromItsAnswer) {
  Client silent(server_.port());
  Client half(server_.port());
  half.Send("GET /livez HTT");
  EXPECT_EQ(BodyOf(Request("GET", "/livez")), "alive");
}

TEST_F(AdminServer, ManyAtOnceAreAllAnswered) {
  std::vector<std::thread> threads;
  std::atomic<int> answered{0};
  for (int i = 0; i < 8; ++i) {
    threads.emplace_back([&] {
      for (int j = 0; j < 20; ++j) answered += BodyOf(Request("GET", "/metrics")) == "up 1\n";
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(answered, 160);
}

TEST_F(AdminServer, StopClosesThePort) {
  uint16_t port = server_.port();
  server_.Stop();
  server_.Stop();
  EXPECT_FALSE(Client(port).connected());
}

std::string WhyRefused(const std::string& listen) {
  try {
    Server server({listen}, {});
  } catch (const Error& error) {
    return error.what();
  }
  return "";
}

TEST(ListenAddress, TakenPortIsASentenceThatNamesTheSetting) {
  Server first({"127.0.0.1:0"}, {});
  std::string why = WhyRefused("127.0.0.1:" + std::to_string(first.port()));
  EXPECT_THAT(why, StartsWith("http.listen: cannot listen on '127.0.0.1:"));
  EXPECT_THAT(why, HasSubstr("in use"));
}

TEST(ListenAddress, ForeignAddressIsRefused) {
  EXPECT_THAT(WhyRefused("203.0.113.7:0"), StartsWith("http.listen: "));
}

TEST(ListenAddress, OnlyHostAndPortAreTaken) {
  for (const char* listen : {"", "9464", ":9464", "127.0.0.1:", "127.0.0.1:99999", "127.0.0.1:1s",
                             "127.0.0.1:1,127.0.0.1:2", "127.0.0.1:80r", "a b:1"}) {
    EXPECT_THAT(WhyRefused(listen), HasSubstr("it is not host:port")) << listen;
  }
}

TEST(ListenAddress, LocalhostIsTaken) {
  Server server({"localhost:0"}, {});
  EXPECT_NE(server.port(), 0);
}

}  // namespace
}  // namespace syncflow::http
