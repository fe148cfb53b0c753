// The feed by TLS: the same lines, and nothing for whoever does not speak it.
#include <openssl/err.h>
#include <openssl/ssl.h>

#include <fstream>

#include "sidecar/feed/close_reason.h"
#include "tests/feed/rig.h"
#include "tests/support/certificates.h"

namespace syncflow::feed {
namespace {

using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;
using ::testing::StartsWith;

constexpr auto kHandshake = static_cast<size_t>(CloseReason::kHandshakeFailed);

// Speaks TLS; reads when it is asked to.
class TlsClient {
 public:
  struct Identity {
    std::string certificate;
    std::string key;
  };

  // `version` is the only one that it speaks.
  TlsClient(uint16_t port, const std::string& authority, const Identity& identity = {},
            int receive_buffer = 0, int version = 0)
      : context_(SSL_CTX_new(TLS_client_method())), fd_(socket(AF_INET, SOCK_STREAM, 0)) {
    SSL_CTX_load_verify_locations(context_, authority.c_str(), nullptr);
    SSL_CTX_set_verify(context_, SSL_VERIFY_PEER, nullptr);
    if (!identity.key.empty()) {
      SSL_CTX_use_certificate_chain_file(context_, identity.certificate.c_str());
      SSL_CTX_use_PrivateKey_file(context_, identity.key.c_str(), SSL_FILETYPE_PEM);
    }
    if (version != 0) {
      SSL_CTX_set_cipher_list(context_, "ALL:@SECLEVEL=0");  // old versions are allowed here
      SSL_CTX_set_min_proto_version(context_, version);
      SSL_CTX_set_max_proto_version(context_, version);
    }
    if (receive_buffer > 0)
      setsockopt(fd_, SOL_SOCKET, SO_RCVBUF, &receive_buffer, sizeof receive_buffer);
    timeval patience{kPatienceMs / 1000, 0};
    setsockopt(fd_, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_port = htons(port);
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    EXPECT_EQ(connect(fd_, reinterpret_cast<sockaddr*>(&address), sizeof address), 0);
    ssl_ = SSL_new(context_);
    SSL_set_fd(ssl_, fd_);
    shaken_ = SSL_connect(ssl_) == 1;
  }
  ~TlsClient() {
    SSL_free(ssl_);
    SSL_CTX_free(context_);
    close(fd_);
  }

  bool shaken() const { return shaken_; }
  void Say(std::string_view text) {
    ASSERT_EQ(SSL_write(ssl_, text.data(), static_cast<int>(text.size())),
              static_cast<int>(text.size()));
  }
  void Hello(const std::string& more = "") { Say(R"({"type":"hello","version":1)" + more + "}\n"); }
  void EndInput() { SSL_shutdown(ssl_); }
  // The next line; what is there at the end.
  std::string Line() {
    size_t end;
    while ((end = buffer_.find('\n')) == std::string::npos) {
      char piece[16 << 10];
      int got = SSL_read(ssl_, piece, sizeof piece);
      if (got <= 0) return std::exchange(buffer_, {});
      buffer_.append(piece, static_cast<size_t>(got));
    }
    std::string line = buffer_.substr(0, end + 1);
    buffer_.erase(0, end + 1);
    return line;
  }
  std::string LineOf(const std::string& type) {
    std::string line = Line();
    while (!line.empty() && !line.starts_with("{\"type\":\"" + type + "\"")) line = Line();
    return line;
  }
  // Asks for new keys until the server takes nothing more; false when it always does.
  bool IsHeldUp() {
    timeval patience{2, 0};
    setsockopt(fd_, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof patience);
    for (int i = 0; i < 2'000'000; ++i) {
      if (SSL_key_update(ssl_, SSL_KEY_UPDATE_REQUESTED) != 1) return false;
      if (SSL_do_handshake(ssl_) != 1) return true;
    }
    return false;
  }
  std::string Subject() const {
    char name[256];
    X509_NAME_oneline(X509_get_subject_name(SSL_get0_peer_certificate(ssl_)), name, sizeof name);
    return name;
  }
  bool WasEndedProperly() const { return (SSL_get_shutdown(ssl_) & SSL_RECEIVED_SHUTDOWN) != 0; }

 private:
  SSL_CTX* context_;
  int fd_;
  SSL* ssl_ = nullptr;
  bool shaken_ = false;
  std::string buffer_;
};

class Secured : public FeedRig {
 protected:
  Secured() : certificates_(journal_options_.directory) {
    certificates_.MakeAuthority("ca");
    certificates_.Make("server", "ca");
    Use("server");
    options_.tls.certificate = certificates_.File("feed.crt");
    options_.tls.key = certificates_.File("feed.key");
  }

  void Use(const std::string& name) {
    Copy(name + ".key", "feed.key");
    Copy(name + ".crt", "feed.crt");
  }
  void Copy(const std::string& from, const std::string& to) {
    std::filesystem::copy_file(certificates_.File(from), certificates_.File(to),
                               std::filesystem::copy_options::overwrite_existing);
  }
  std::unique_ptr<TlsClient> Connect(const TlsClient::Identity& identity = {},
                                     int receive_buffer = 0) {
    return std::make_unique<TlsClient>(feed_->port(), certificates_.File("ca.crt"), identity,
                                       receive_buffer);
  }
  TlsClient::Identity IdentityOf(const std::string& name) {
    return {certificates_.File(name + ".crt"), certificates_.File(name + ".key")};
  }

  Certificates certificates_;
};

TEST_F(Secured, GetsTheSameLines) {
  Start();
  auto client = Connect();
  ASSERT_TRUE(client->shaken());
  client->Hello(R"(,"from":"earliest")");
  EXPECT_THAT(client->Line(), StartsWith(R"({"type":"hello")"));
  EXPECT_THAT(client->Line(), StartsWith(R"({"type":"live")"));
  Commit(0x2000);
  EXPECT_EQ(client->Line(), LineAt(0x2000, 10));
}

TEST_F(Secured, OldVersionsOfTlsAreRefused) {
  Start();
  auto connect = [&](int version) {
    ERR_clear_error();
    TlsClient client(feed_->port(), certificates_.File("ca.crt"), {}, 0, version);
    return client.shaken() ? 0 : ERR_GET_REASON(ERR_peek_error());
  };
  EXPECT_EQ(connect(TLS1_VERSION), SSL_R_TLSV1_ALERT_PROTOCOL_VERSION) << "the feed says so";
  EXPECT_EQ(connect(TLS1_1_VERSION), SSL_R_TLSV1_ALERT_PROTOCOL_VERSION);
  EXPECT_EQ(connect(TLS1_2_VERSION), 0);
  EXPECT_EQ(connect(TLS1_3_VERSION), 0);
}

TEST_F(Secured, PlainModeBeginsAfterTheHandshake) {
  Start();
  auto client = Connect();
  EXPECT_THAT(client->Line(), HasSubstr(R"("mode":"plain")"));
  Commit(0x2000);
  EXPECT_EQ(client->LineOf("change"), LineAt(0x2000, 10));
}

// More than sockets hold, from the files and from memory, with lines larger than a record.
TEST_F(Secured, ReaderThatPausesGetsEveryByte) {
  options_.hello_timeout = std::chrono::seconds(30);
  journal_options_.tail_bytes = 1 << 20;
  journal_options_.segment_bytes = 4 << 20;
  Start();
  auto client = Connect({}, 4096);
  client->Hello(R"(,"from":"earliest")");
  ASSERT_THAT(client->Line(), StartsWith(R"({"type":"hello")"));
  uint64_t end = CommitMany(0x2000, 12 << 20, 40'000);
  for (uint64_t commit = 0x2000; commit < end; commit += 8) {
    ASSERT_EQ(client->LineOf("change"), LineAt(commit, 40'000)) << commit;
  }
  EXPECT_GT(feed_->probe().journal_bytes, 0u);
}

TEST_F(Secured, FilteredReaderThatPauses) {
  Start();
  auto client = Connect({}, 4096);
  client->Hello(R"(,"from":"earliest","collections":["todos"])");
  ASSERT_THAT(client->Line(), StartsWith(R"({"type":"hello")"));
  uint64_t end = CommitMany(0x2000, 8 << 20, 20'000);
  for (uint64_t commit = 0x2000; commit < end; commit += 8) {
    ASSERT_EQ(client->LineOf("change"), LineAt(commit, 20'000)) << commit;
  }
}

TEST_F(Secured, EndOfItsInputIsNoEndOfTheStream) {
  Start();
  auto client = Connect();
  client->Hello();
  client->EndInput();
  EXPECT_THAT(client->Line(), StartsWith(R"({"type":"hello")"));
  Commit(0x2000);
  EXPECT_EQ(client->LineOf("change"), LineAt(0x2000, 10));
}

TEST_F(Secured, IsToldWhenTheSidecarStops) {
  Start();
  auto client = Connect();
  client->Hello();
  client->LineOf("live");
  std::thread stop([this] { feed_->Stop(std::chrono::seconds(30)); });
  EXPECT_THAT(client->LineOf("bye"), HasSubstr(R"("code":"shutdown")"));
  EXPECT_EQ(client->Line(), "");
  EXPECT_TRUE(client->WasEndedProperly());
  stop.join();
}

TEST_F(Secured, OneTooManyIsToldSo) {
  options_.connections_max = 1;
  Start();
  auto first = Connect();
  first->Hello();
  first->LineOf("live");
  auto second = Connect();
  EXPECT_THAT(second->Line(), HasSubstr("too_many_connections"));
  EXPECT_EQ(second->Line(), "");
}

TEST_F(Secured, WhoSpeaksNoTlsCanReadWhy) {
  Start();
  Consumer plain(feed_->port());
  plain.Hello();
  EXPECT_THAT(plain.Line(), HasSubstr(R"("code":"tls_required")"));
  EXPECT_EQ(plain.Line(), "");
  Wait([this] { return Closed(kHandshake) == 1; });
}

TEST_F(Secured, WhoSaysNothingCanReadWhyToo) {
  Start();
  Consumer silent(feed_->port());
  EXPECT_THAT(silent.Line(), HasSubstr(R"("code":"tls_required")"));
  EXPECT_EQ(silent.Line(), "");
}

TEST_F(Secured, HandshakeThatIsNotFinishedEnds) {
  Start();
  Consumer slow(feed_->port());
  slow.Say("\x16\x03");
  EXPECT_EQ(slow.Line(), "");
  Wait([this] { return Closed(static_cast<size_t>(CloseReason::kTimeout)) == 1; });
}

TEST_F(Secured, GarbageInTheHandshakeHurtsNobody) {
  Start();
  auto good = Connect();
  good->Hello();
  good->LineOf("live");
  for (int length : {1, 5, 6, 100, 20'000}) {
    Consumer stranger(feed_->port());
    stranger.Say("\x16" + std::string(static_cast<size_t>(length), '\x03'));
    stranger.EndInput();
    EXPECT_THAT(stranger.Line(), Not(StartsWith("{"))) << length;
  }
  Commit(0x2000);
  EXPECT_EQ(good->LineOf("change"), LineAt(0x2000, 10));
}

// Each request for new keys is answered; who reads no answers is not read any more.
TEST_F(Secured, RequestsWithoutEndAreNotAnsweredWithoutEnd) {
  Start();
  auto client = Connect({}, 4096);
  client->Hello();
  client->LineOf("live");
  EXPECT_TRUE(client->IsHeldUp());
  auto good = Connect();
  good->Hello();
  EXPECT_THAT(good->Line(), StartsWith(R"({"type":"hello")"));
}

TEST_F(Secured, CertificateOfTheConsumerIsAskedFor) {
  certificates_.Make("client", "ca");
  certificates_.MakeAuthority("other");
  certificates_.Make("stranger", "other");
  options_.tls.client_ca = certificates_.File("ca.crt");
  Start();
  auto known = Connect(IdentityOf("client"));
  known->Hello();
  EXPECT_THAT(known->Line(), StartsWith(R"({"type":"hello")"));
  // By TLS 1.3 a client believes in the handshake before the server has judged it.
  EXPECT_THAT(Connect()->Line(), IsEmpty());
  EXPECT_THAT(Connect(IdentityOf("stranger"))->Line(), IsEmpty());
  Wait([this] { return Closed(kHandshake) == 2; });
}

TEST_F(Secured, CertificateIsReadAgain) {
  Start();
  auto before = Connect();
  before->Hello();
  before->LineOf("live");
  EXPECT_EQ(before->Subject(), "/CN=server");
  certificates_.Make("renewed", "ca");
  Use("renewed");
  Wait([this] { return Connect()->Subject() == "/CN=renewed"; });
  Commit(0x2000);
  EXPECT_EQ(before->LineOf("change"), LineAt(0x2000, 10));
}

TEST_F(Secured, CertificateThatCannotBeUsedChangesNothing) {
  Start();
  certificates_.Make("renewed", "ca");
  Copy("renewed.key", "feed.key");  // and not yet the certificate
  std::this_thread::sleep_for(std::chrono::milliseconds(2500));
  EXPECT_EQ(Connect()->Subject(), "/CN=server");
  Copy("renewed.crt", "feed.crt");
  Wait([this] { return Connect()->Subject() == "/CN=renewed"; });
}

TEST_F(Secured, WhatCannotBeReadIsSaidAtTheStart) {
  auto failure = [this] {
    journal_.reset();
    try {
      StartUnbound();
    } catch (const std::runtime_error& error) {
      return std::string(error.what());
    }
    return std::string("started");
  };
  certificates_.Make("other", "ca");
  Copy("other.key", "feed.key");
  EXPECT_THAT(failure(), HasSubstr("feed.tls.key cannot be used: key values mismatch"));
  std::ofstream(certificates_.File("feed.crt")) << "nothing\n";
  EXPECT_THAT(failure(), HasSubstr("feed.tls.certificate cannot be used"));
  std::filesystem::remove(certificates_.File("feed.key"));
  EXPECT_THAT(failure(), HasSubstr("feed.tls.key cannot be read: No such file"));
}

}  // namespace
}  // namespace syncflow::feed
