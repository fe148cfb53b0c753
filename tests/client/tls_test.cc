// TLS against a server of OpenSSL's own, with certificates made here.
#include "sidecar/client/tls.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>

#include <cstdio>
#include <filesystem>
#include <functional>
#include <thread>

#include "tests/client/rig.h"

namespace syncflow::client {
namespace {

using nlohmann::json;
using std::chrono::milliseconds;
using ::testing::HasSubstr;
using Type = Event::Type;
using Key = std::unique_ptr<EVP_PKEY, decltype(&EVP_PKEY_free)>;
using Certificate = std::unique_ptr<X509, decltype(&X509_free)>;

void Extend(X509* certificate, int kind, const std::string& value) {
  X509_EXTENSION* extension = X509V3_EXT_conf_nid(nullptr, nullptr, kind, value.c_str());
  X509_add_ext(certificate, extension, -1);
  X509_EXTENSION_free(extension);
}

// Somebody with a key and a certificate that vouches for itself, in `folder`/`name`.{pem,key}.
class Identity {
 public:
  Identity(const std::filesystem::path& folder, const std::string& name, const std::string& proves)
      : key_(EVP_EC_gen("P-256"), &EVP_PKEY_free), certificate_(X509_new(), &X509_free) {
    X509* x = certificate_.get();
    X509_set_version(x, 2);
    ASN1_INTEGER_set(X509_get_serialNumber(x), 1);
    X509_gmtime_adj(X509_getm_notBefore(x), -3600);
    X509_gmtime_adj(X509_getm_notAfter(x), 3600);
    X509_set_pubkey(x, key_.get());
    auto* text = reinterpret_cast<const unsigned char*>(name.c_str());
    X509_NAME_add_entry_by_txt(X509_get_subject_name(x), "CN", MBSTRING_ASC, text, -1, -1, 0);
    X509_set_issuer_name(x, X509_get_subject_name(x));
    Extend(x, NID_basic_constraints, "critical,CA:TRUE");
    Extend(x, NID_subject_alt_name, proves);
    X509_sign(x, key_.get(), EVP_sha256());
    file_ = folder / (name + ".pem");
    key_file_ = folder / (name + ".key");
    std::FILE* out = std::fopen(file_.c_str(), "w");
    PEM_write_X509(out, x);
    std::fclose(out);
    out = std::fopen(key_file_.c_str(), "w");
    PEM_write_PrivateKey(out, key_.get(), nullptr, nullptr, 0, nullptr, nullptr);
    std::fclose(out);
  }

  EVP_PKEY* key() const { return key_.get(); }
  X509* certificate() const { return certificate_.get(); }
  const std::string& file() const { return file_; }
  const std::string& key_file() const { return key_file_; }

 private:
  Key key_;
  Certificate certificate_;
  std::string file_;
  std::string key_file_;
};

// One connection, seen from the server, as Peer for plain ones.
class TlsPeer {
 public:
  TlsPeer(int fd, SSL_CTX* context) : fd_(fd), ssl_(SSL_new(context)) { SSL_set_fd(ssl_, fd); }
  ~TlsPeer() {
    SSL_free(ssl_);
    close(fd_);
  }
  TlsPeer(const TlsPeer&) = delete;
  TlsPeer& operator=(const TlsPeer&) = delete;

  bool Shake() { return SSL_accept(ssl_) == 1; }
  bool ClientProvedItself() const { return SSL_get0_peer_certificate(ssl_) != nullptr; }
  std::string ServerNameAsked() const {
    const char* name = SSL_get_servername(ssl_, TLSEXT_NAMETYPE_host_name);
    return name == nullptr ? "" : name;
  }
  std::string ReadLine() {
    std::string line;
    for (char c; SSL_read(ssl_, &c, 1) == 1 && c != '\n';) line.push_back(c);
    return line;
  }
  void Send(const std::string& line) {
    std::string bytes = line + "\n";
    SSL_write(ssl_, bytes.data(), static_cast<int>(bytes.size()));
  }
  void Greet() {
    json hello = json::parse(ReadLine());
    Send(json{{"type", "hello"}, {"request", hello["request"]}, {"start", "1.0.0"}}.dump());
  }
  void SayGoodbye() { SSL_shutdown(ssl_); }

 private:
  int fd_;
  SSL* ssl_;
};

class TlsTest : public ScriptedFeed {
 protected:
  using Script = std::function<void(TlsPeer&)>;

  TlsTest() {
    std::string name = (std::filesystem::temp_directory_path() / "syncflow-tls-XXXXXX").string();
    folder_ = mkdtemp(name.data());
    server_identity_.emplace(folder_, "server", "DNS:feed.internal,IP:127.0.0.1");
    options_.backoff_min = options_.backoff_max = milliseconds(2);
    options_.connect_timeout = std::chrono::minutes(1);
    options_.tls.emplace().ca_file = server_identity_->file();
    SSL_CTX_use_certificate(context_, server_identity_->certificate());
    SSL_CTX_use_PrivateKey(context_, server_identity_->key());
  }
  ~TlsTest() override {
    End();
    SSL_CTX_free(context_);
    std::filesystem::remove_all(folder_);
  }

  // One connection, beside the test.
  void Serve(const Script& script) {
    server_ = std::thread([this, script] {
      Peer plain = listener_.Accept();
      TlsPeer peer(dup(plain.fd()), context_);
      script(peer);
    });
    feed_.emplace(options_);
  }
  void ServeRefusal() {
    Serve([](TlsPeer& peer) { EXPECT_FALSE(peer.Shake()); });
  }
  void ServePlain(const std::function<void(Peer&)>& script) {
    server_ = std::thread([this, script] {
      Peer peer = listener_.Accept();
      script(peer);
    });
    feed_.emplace(options_);
  }
  std::string WhyNot() { return std::string(Expect(Type::kDisconnected).message); }

  std::filesystem::path folder_;
  std::optional<Identity> server_identity_;
  SSL_CTX* context_ = SSL_CTX_new(TLS_server_method());
};

TEST_F(TlsTest, CarriesTheFeed) {
  std::string large = ChangeLine("1.2.3", std::string(3 << 20, 'x'));
  Serve([&](TlsPeer& peer) {
    ASSERT_TRUE(peer.Shake()) << "the address is an IP that the certificate names";
    peer.Greet();
    peer.Send(large);
    for (int i = 0; i < 1000; ++i) peer.Send(ChangeLine("1.3." + std::to_string(i)));
    peer.SayGoodbye();
  });
  Expect(Type::kConnected);
  EXPECT_TRUE(Expect(Type::kChange).line == large);
  for (int i = 0; i < 1000; ++i)
    ASSERT_EQ(Expect(Type::kChange).cursor, "1.3." + std::to_string(i));
  EXPECT_EQ(WhyNot(), "the server closed the connection");
}

TEST_F(TlsTest, AcksGoThroughIt) {
  options_.name = "billing";
  std::string ack;
  Serve([&](TlsPeer& peer) {
    ASSERT_TRUE(peer.Shake());
    peer.Greet();
    peer.Send(ChangeLine("1.2.3"));
    ack = peer.ReadLine();
  });
  Expect(Type::kConnected);
  feed_->Acknowledge(Expect(Type::kChange).cursor);
  Expect(Type::kDisconnected);
  Finish();
  EXPECT_THAT(ack, HasSubstr("1.2.3"));
}

TEST_F(TlsTest, NameIsAskedForAndMustBeProved) {
  options_.tls->server_name = "feed.internal";
  std::string asked;
  Serve([&](TlsPeer& peer) {
    ASSERT_TRUE(peer.Shake());
    asked = peer.ServerNameAsked();
    peer.Greet();
  });
  Expect(Type::kConnected);
  Expect(Type::kDisconnected);
  Finish();
  EXPECT_EQ(asked, "feed.internal");
}

TEST_F(TlsTest, ServerOfAnotherNameIsRefused) {
  options_.tls->server_name = "other.internal";
  ServeRefusal();
  EXPECT_THAT(WhyNot(), HasSubstr("certificate is refused: hostname mismatch"));
}

TEST_F(TlsTest, ServerOfAnotherAddressIsRefused) {
  options_.tls->server_name = "127.0.0.2";
  ServeRefusal();
  EXPECT_THAT(WhyNot(), HasSubstr("certificate is refused: IP address mismatch"));
}

TEST_F(TlsTest, ServerThatNobodyVouchesForIsRefused) {
  Identity other(folder_, "other", "DNS:feed.internal");
  options_.tls->ca_file = other.file();
  ServeRefusal();
  EXPECT_THAT(WhyNot(), HasSubstr("certificate is refused: self-signed certificate"));
}

TEST_F(TlsTest, SystemsAuthoritiesDoNotKnowIt) {
  options_.tls->ca_file.clear();
  ServeRefusal();
  EXPECT_THAT(WhyNot(), HasSubstr("certificate is refused"));
}

TEST_F(TlsTest, OldVersionsAreNotSpoken) {
  SSL_CTX_set_min_proto_version(context_, TLS1_VERSION);
  SSL_CTX_set_max_proto_version(context_, TLS1_1_VERSION);
  SSL_CTX_set_security_level(context_, 0);
  ServeRefusal();
  EXPECT_THAT(WhyNot(), HasSubstr("TLS failed: "));
}

TEST_F(TlsTest, ConsumerProvesWhoItIs) {
  Identity consumer(folder_, "consumer", "DNS:consumer");
  SSL_CTX_load_verify_file(context_, consumer.file().c_str());
  SSL_CTX_set_verify(context_, SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT, nullptr);
  options_.tls->certificate_file = consumer.file();
  options_.tls->key_file = consumer.key_file();
  bool proved = false;
  Serve([&](TlsPeer& peer) {
    ASSERT_TRUE(peer.Shake());
    proved = peer.ClientProvedItself();
    peer.Greet();
  });
  Expect(Type::kConnected);
  Expect(Type::kDisconnected);
  Finish();
  EXPECT_TRUE(proved);
}

TEST_F(TlsTest, ConsumerWithoutTheCertificateIsTold) {
  SSL_CTX_set_verify(context_, SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT, nullptr);
  ServeRefusal();
  EXPECT_THAT(WhyNot(), HasSubstr("certificate required"));
}

TEST_F(TlsTest, PlainServerIsRecognised) {
  ServePlain([](Peer& peer) {
    peer.Send(R"({"type":"error","code":"bad_json","fatal":true,"retry":false,"message":"m"})");
    peer.AwaitEnd();
  });
  EXPECT_EQ(WhyNot(), "the server does not speak TLS");
}

TEST_F(TlsTest, ServerThatHangsUpIsNoTlsServer) {
  ServePlain([](Peer&) {});
  EXPECT_NE(WhyNot(), "");
}

TEST_F(TlsTest, ServerThatSaysNothingIsLeft) {
  options_.connect_timeout = milliseconds(20);
  ServePlain([](Peer& peer) { peer.AwaitEnd(); });
  EXPECT_EQ(WhyNot(), "the server does not answer in TLS");
}

TEST_F(TlsTest, PlainConsumerIsToldThatTlsIsWanted) {
  options_.tls.reset();
  ServeRefusal();
  EXPECT_THAT(WhyNot(), HasSubstr("it may want TLS"));
}

TEST_F(TlsTest, PlainConsumerUnderstandsAnAlert) {
  options_.tls.reset();
  ServePlain([](Peer& peer) {
    peer.SendBytes(std::string("\x15\x03\x01\x00\x02\x02\x46", 7));
    peer.AwaitEnd();
  });
  EXPECT_EQ(WhyNot(), "the server wants TLS");
}

TEST_F(TlsTest, FilesThatCannotBeUsedAreAMistakeOfTheCaller) {
  Identity consumer(folder_, "consumer", "DNS:consumer");
  auto problem = [](const Tls& tls) -> std::string {
    Options options;
    options.tls = tls;
    try {
      Subscription feed(options);
    } catch (const std::invalid_argument& error) {
      return error.what();
    }
    return "none";
  };
  std::string ca = server_identity_->file();
  EXPECT_THAT(problem({"/nowhere", "", "", ""}), HasSubstr("the TLS authorities in /nowhere"));
  EXPECT_THAT(problem({ca, "/nowhere", ca, ""}), HasSubstr("the TLS certificate /nowhere"));
  EXPECT_THAT(problem({ca, ca, "/nowhere", ""}), HasSubstr("the TLS key /nowhere"));
  EXPECT_THAT(problem({ca, ca, consumer.key_file(), ""}), HasSubstr("key values mismatch"));
  EXPECT_THAT(problem({ca, ca, "", ""}), HasSubstr("give both or neither"));
  EXPECT_EQ(problem({ca, consumer.file(), consumer.key_file(), ""}), "none");
}

}  // namespace
}  // namespace syncflow::client
