// The admin server as clients meet it: real sockets, real bytes.
#include "sidecar/http/server.h"

#include <arpa/inet.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <future>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <thread>
#include <vector>

#include "sidecar/http/admin.h"
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
  std::string ReadLine() {
    std::string line;
    for (char c; !line.ends_with('\n') && read(fd_, &c, 1) == 1;) line += c;
    return line;
  }
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
  return {200, "text/plain", std::move(body), {}};
}

class AdminServer : public ::testing::Test {
 protected:
  static Handlers Everything() {
    Handlers handlers;
    handlers.metrics = [] { return Text("up 1\n"); };
    handlers.livez = [] { return Text("alive"); };
    handlers.readyz = [] { return Response{503, "text/plain", "not yet", {}}; };
    handlers.startupz = []() -> Response { throw std::runtime_error("secret detail"); };
    handlers.consumers = [](const http::Request& request) {
      std::string name = request.parameters.empty() ? request.path : request.parameters[0];
      return Text(request.method + " " + name + " " + request.body);
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

  Server server_{{.listen = "127.0.0.1:0"}, AdminRoutes(Everything())};
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
  for (const char* path : {"/nothing", "/metrics/x", "/livez/../etc/passwd", "/status"}) {
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
  EXPECT_EQ(BodyOf(change("PUT", "", "{}")), "PUT a.b {}");
  EXPECT_EQ(BodyOf(change("DELETE", "", "")), "DELETE a.b ");
  EXPECT_EQ(BodyOf(change("PUT", "", std::string(8192, 'x'))).size(), 8192 + 8u);
  EXPECT_THAT(change("PUT", "", std::string(8193, 'x')), StartsWith("HTTP/1.1 413 "));
  EXPECT_THAT(change("PUT", "Origin: http://x\r\n", "{}"), StartsWith("HTTP/1.1 403 "))
      << "a web page, whichever, changes nothing";
  std::string post = change("POST", "", "{}");
  EXPECT_THAT(post, StartsWith("HTTP/1.1 405 "));
  EXPECT_THAT(post, HasSubstr("Allow: PUT, DELETE\r\n"));
  EXPECT_THAT(Request("GET", "/consumersx"), StartsWith("HTTP/1.1 404 "));
}

TEST_F(AdminServer, ClientAsksAsAnyOther) {
  std::string listen = "127.0.0.1:" + std::to_string(server_.port());
  Response response = http::Ask(listen, {"PUT", "/consumers/a", "{}", {}});
  EXPECT_EQ(response.status, 200);
  EXPECT_EQ(response.body, "PUT a {}");
  EXPECT_EQ(
      http::Ask("0.0.0.0:" + std::to_string(server_.port()), {"GET", "/nothing", "", {}}).status,
      404);
  server_.Stop();
  EXPECT_THROW(http::Ask(listen, {"GET", "/consumers", "", {}}), Unreachable);
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

// As the sync API is served, with a body limit of 100 bytes.
class KeptServer : public ::testing::Test {
 protected:
  static Options OptionsOfIt() {
    Options options;
    options.listen = "127.0.0.1:0";
    options.threads = 8;
    options.body_bytes_max = 100;
    options.patience = std::chrono::milliseconds(500);
    options.transfer_max = std::chrono::milliseconds(1500);
    options.keep_alive = true;
    options.cross_origin = true;
    return options;
  }
  std::vector<Route> Routes() {
    auto echo = [](const http::Request& request) { return Text(request.body); };
    auto wait = [this](const http::Request&) {
      entered_.set_value();
      leave_.get_future().wait();
      return Text("finished");
    };
    return {{"POST", "/echo", "echo", echo}, {"GET", "/wait", "wait", wait}};
  }
  std::string Ask(const std::string& bytes) {
    Client client(server_.port());
    client.Send(bytes);
    client.CloseWriteSide();
    return client.ReadAll();
  }
  static std::string Post(const std::string& headers, const std::string& body) {
    return "POST /echo HTTP/1.1\r\nHost: x\r\n" + headers + "\r\n" + body;
  }
  uint64_t Count(const std::string& handler, int code) {
    for (const HandlerProbe& one : server_.probe().handlers) {
      size_t which = 0;
      while (kCodes[which] != code) ++which;
      if (one.name == handler) return one.codes[which];
    }
    return 0;
  }

  std::promise<void> entered_;
  std::promise<void> leave_;
  Server server_{OptionsOfIt(), Routes()};
};

TEST_F(KeptServer, ManyRequestsShareAConnection) {
  std::string once = Post("Content-Length: 2\r\n", "hi");
  std::string answer =
      Ask(once + once + Post("Connection: close\r\nContent-Length: 2\r\n", "ho") + once);
  auto times = [&answer](std::string_view text) {
    int count = 0;
    for (size_t at = 0; (at = answer.find(text, at)) != answer.npos; ++at) ++count;
    return count;
  };
  EXPECT_EQ(times("HTTP/1.1 200 OK"), 3) << "after the close nothing is answered";
  EXPECT_EQ(times("Connection: keep-alive"), 2);
  EXPECT_EQ(times("hi"), 2);
  EXPECT_THAT(answer, ::testing::EndsWith("ho"));
}

TEST_F(KeptServer, HttpOneZeroEndsTheConnection) {
  EXPECT_THAT(Ask("POST /echo HTTP/1.0\r\nContent-Length: 2\r\n\r\nhi"),
              HasSubstr("Connection: close\r\n"));
}

TEST_F(KeptServer, ChunkedBodiesAreRead) {
  std::string chunked = "Transfer-Encoding: chunked\r\n";
  std::string answer = Ask(Post(chunked, "2\r\nhi\r\n6\r\n there\r\n0\r\n\r\n") +
                           Post("Content-Length: 5\r\n", "again"));
  EXPECT_THAT(answer, HasSubstr("hi there"));
  EXPECT_THAT(Ask(Post(chunked, "zz\r\nhi\r\n0\r\n\r\n")), StartsWith("HTTP/1.1 400 "));
  EXPECT_THAT(Ask(Post(chunked, "64\r\n" + std::string(100, 'x') + "\r\n0\r\n\r\n")),
              StartsWith("HTTP/1.1 200 "));
  EXPECT_THAT(Ask(Post(chunked, "65\r\n" + std::string(101, 'x') + "\r\n0\r\n\r\n")),
              StartsWith("HTTP/1.1 413 "));
}

TEST_F(KeptServer, LongBodiesAreRefusedAndTheConnectionEnds) {
  std::string answer = Ask(Post("Content-Length: 101\r\n", std::string(101, 'x')) +
                           Post("Content-Length: 2\r\n", "hi"));
  EXPECT_THAT(answer, StartsWith("HTTP/1.1 413 "));
  EXPECT_THAT(answer, HasSubstr(R"({"error":"the body is longer than 100 bytes"})"));
  EXPECT_THAT(answer, Not(HasSubstr(" 200 ")));
  EXPECT_EQ(Count("echo", 413), 1u);
}

TEST_F(KeptServer, UnclearLengthsAreRefused) {
  for (const char* headers :
       {"Content-Length: 2\r\nContent-Length: 3\r\n", "Content-Length: 2x\r\n",
        "Content-Length: -2\r\n", "Content-Length: 2\r\nTransfer-Encoding: chunked\r\n",
        "Transfer-Encoding: gzip, chunked\r\n"}) {
    std::string answer = Ask(Post(headers, "hi") + Post("Content-Length: 2\r\n", "hi"));
    EXPECT_THAT(answer, StartsWith("HTTP/1.1 4")) << headers;
    EXPECT_THAT(answer, Not(HasSubstr(" 200 "))) << headers;
  }
}

TEST_F(KeptServer, ClientThatAwaitsContinueIsToldTo) {
  Client client(server_.port());
  client.Send(Post("Expect: 100-continue\r\nConnection: close\r\nContent-Length: 2\r\n", ""));
  EXPECT_EQ(client.ReadLine(), "HTTP/1.1 100 Continue\r\n");
  client.Send("hi");
  EXPECT_THAT(client.ReadAll(), HasSubstr("HTTP/1.1 200 OK\r\n"));
}

TEST_F(KeptServer, BodyThatStopsIsTooSlow) {
  Client client(server_.port());
  client.Send(Post("Content-Length: 10\r\n", "hi"));
  EXPECT_THAT(client.ReadAll(), StartsWith("HTTP/1.1 408 "));
}

TEST_F(KeptServer, BodyThatDripsIsTooSlow) {
  Client client(server_.port());
  client.Send(Post("Content-Length: 90\r\n", ""));
  std::jthread dripping([&client](const std::stop_token& stop) {
    while (!stop.stop_requested()) {
      client.Send("x");
      std::this_thread::sleep_for(std::chrono::milliseconds(100));
    }
  });
  EXPECT_THAT(client.ReadAll(), StartsWith("HTTP/1.1 408 "));
}

TEST_F(KeptServer, BodyThatIsCutIsNeverAnsweredWith200) {
  EXPECT_THAT(Ask(Post("Content-Length: 10\r\n", "hi")), Not(HasSubstr(" 200 ")));
}

TEST_F(KeptServer, WebPagesMayAsk) {
  std::string answer = Ask(
      "OPTIONS /echo HTTP/1.1\r\nHost: x\r\nOrigin: http://app\r\nAccess-Control-Request-Method: "
      "POST\r\nAccess-Control-Request-Headers: content-type,x-a\r\n\r\n");
  EXPECT_THAT(answer, StartsWith("HTTP/1.1 204 No Content\r\n"));
  EXPECT_THAT(answer, HasSubstr("Access-Control-Allow-Origin: *\r\n"));
  EXPECT_THAT(answer,
              HasSubstr("Access-Control-Allow-Methods: GET,HEAD,PUT,PATCH,POST,DELETE\r\n"));
  EXPECT_THAT(answer, HasSubstr("Access-Control-Allow-Headers: content-type,x-a\r\n"));
  EXPECT_THAT(answer, HasSubstr("Vary: Access-Control-Request-Headers\r\n"));
  EXPECT_THAT(answer, HasSubstr("Content-Length: 0\r\n"));
  EXPECT_EQ(Count("preflight", 204), 1u);
  EXPECT_THAT(Ask(Post("Content-Length: 2\r\n", "hi")),
              HasSubstr("Access-Control-Allow-Origin: *\r\n"));
  EXPECT_THAT(Ask("GET /none HTTP/1.1\r\n\r\n"), HasSubstr("Access-Control-Allow-Origin: *\r\n"));
  EXPECT_EQ(Count("other", 404), 1u);
}

TEST_F(KeptServer, DrainingFinishesWhatIsUnderWayAndTakesNothingNew) {
  Client waiting(server_.port());
  waiting.Send("GET /wait HTTP/1.1\r\nHost: x\r\n\r\n");
  entered_.get_future().wait();
  EXPECT_FALSE(server_.Drain(std::chrono::milliseconds(1))) << "one is under way";
  std::string refused = Ask(Post("Content-Length: 2\r\n", "hi"));
  EXPECT_THAT(refused, StartsWith("HTTP/1.1 503 "));
  EXPECT_THAT(refused, HasSubstr("Connection: close\r\n"));
  leave_.set_value();
  EXPECT_TRUE(server_.Drain(std::chrono::minutes(1)));
  server_.Stop();
  EXPECT_THAT(waiting.ReadAll(), ::testing::EndsWith("finished"));
}

TEST_F(KeptServer, SilentConnectionsLeaveThreadsForOthers) {
  std::vector<std::unique_ptr<Client>> kept;
  for (int i = 0; i < 8; ++i) {
    kept.push_back(std::make_unique<Client>(server_.port()));
    kept.back()->Send(Post("Content-Length: 2\r\n", "hi"));
    EXPECT_THAT(kept.back()->ReadLine(), StartsWith("HTTP/1.1 200 "));
  }
  EXPECT_THAT(Ask(Post("Content-Length: 2\r\n", "hi")), HasSubstr("Connection: close\r\n"));
}

std::string WhyRefused(const std::string& listen) {
  try {
    Server server({.listen = listen}, {});
  } catch (const Error& error) {
    return error.what();
  }
  return "";
}

TEST(ListenAddress, TakenPortIsASentenceThatNamesTheSetting) {
  Server first({.listen = "127.0.0.1:0"}, {});
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
  Server server({.listen = "localhost:0"}, {});
  EXPECT_NE(server.port(), 0);
}

}  // namespace
}  // namespace syncflow::http
