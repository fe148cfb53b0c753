// Tokens: who may read what, and what becomes of consumers when that changes.
#include "sidecar/feed/tokens.h"

#include <fstream>

#include "sidecar/feed/close_reason.h"
#include "tests/feed/rig.h"

namespace syncflow::feed {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;
using ::testing::StartsWith;

// printf %s alpha | sha256sum
constexpr const char* kAlpha = "8ed3f6ad685b959ead7022518e1af76cd816f8e8ec7ccdda1ed4018e8f2223f8";
constexpr const char* kBeta = "f44e64e75f3948e9f73f8dfa94721c4ce8cbb4f265c4790c702b2d41cfbf2753";

std::string LineFor(const std::string& name, const std::string& hash, const std::string& rest) {
  return name + " " + hash + " " + rest + "\n";
}

// ---- the file ----

TEST(TokensText, FindsATokenByItsHash) {
  Tokens tokens("# who may read\n\n" + LineFor("one", kAlpha, "todos,notes,todos") +
                LineFor("\ttwo ", "F" + std::string(kBeta).substr(1), "*\r"));
  auto one = tokens.Find("alpha");
  ASSERT_NE(one, nullptr);
  EXPECT_EQ(one->name, "one");
  EXPECT_THAT(one->collections, ElementsAre("notes", "todos"));
  auto two = tokens.Find("beta");
  ASSERT_NE(two, nullptr);
  EXPECT_THAT(two->collections, IsEmpty()) << "all";
  EXPECT_EQ(tokens.Find("alph"), nullptr);
  EXPECT_EQ(tokens.Find(""), nullptr);
  EXPECT_EQ(tokens.Find(kAlpha), nullptr) << "knowing the hash is not enough";
}

TEST(TokensText, AllowsWhatIsListed) {
  Rights some{"n", {}, {"notes", "todos"}};
  EXPECT_TRUE(some.Allow({}));
  EXPECT_TRUE(some.Allow({"todos", "notes"}));
  EXPECT_FALSE(some.Allow({"todos", "secrets"}));
  EXPECT_FALSE(some.Allow({""}));
  EXPECT_THAT(some.Narrow({}), ElementsAre("notes", "todos"));
  EXPECT_THAT(some.Narrow({"todos"}), ElementsAre("todos"));
  Rights all{"n", {}, {}};
  EXPECT_TRUE(all.Allow({"anything"}));
  EXPECT_THAT(all.Narrow({}), IsEmpty());
}

struct Wrong {
  std::string text;
  const char* sentence;
};

TEST(TokensText, SaysWhichLineIsWrongAndNothingOfIt) {
  const Wrong all[] = {
      {"", "holds no token"},
      {"# nothing\n", "holds no token"},
      {"\nsecret\n", "line 2 must be three words"},
      {LineFor("secret", kAlpha, ""), "line 1 must be three words"},
      {LineFor("secret", kAlpha, "a b"), "line 1 must be three words"},
      {LineFor("n", "secret", "*"), "line 1 needs the SHA-256"},
      {LineFor("secret\xff", kAlpha, "*"), "line 1 needs a name of at most 128 printable"},
      {LineFor("secret" + std::string(123, 'x'), kAlpha, "*"),
       "line 1 needs a name of at most 128"},
      {LineFor("n", std::string(kAlpha).substr(1) + "g", "*"), "line 1 needs the SHA-256"},
      {LineFor("n", kAlpha, "secret,,b"), "line 1 has an empty name"},
      {LineFor("n", kAlpha, ","), "line 1 has an empty name"},
      {LineFor("n", kAlpha, "*") + LineFor("m", kAlpha, "*"), "line 2 has a token"},
  };
  for (const Wrong& one : all) {
    try {
      Tokens tokens(one.text);
      ADD_FAILURE() << one.text;
    } catch (const std::runtime_error& error) {
      EXPECT_THAT(error.what(), HasSubstr(one.sentence)) << one.text;
      EXPECT_THAT(error.what(), Not(HasSubstr("secret")));
    }
  }
}

// ---- the feed ----

class Guarded : public FeedRig {
 protected:
  Guarded() { options_.tokens_file = journal_options_.directory.string() + "-tokens"; }
  ~Guarded() override { std::filesystem::remove(options_.tokens_file); }

  // In place of the old one, as whoever mounts secrets does it.
  void Write(const std::string& text) const {
    std::ofstream(options_.tokens_file + "-new") << text;
    std::filesystem::rename(options_.tokens_file + "-new", options_.tokens_file);
  }
  void StartWith(const std::string& text) {
    Write(text);
    Start();
  }
  void CommitTo(const std::string& collection, uint64_t commit) {
    replication::Change change;
    change.operation = {"op", "insert", collection, "doc-1", "1", 1, "client-1", false, "{}"};
    change.commit_lsn = replication::Lsn(commit);
    Encoder encoder(epoch_, 64 << 20);
    encoder.Encode(change);
    journal_->Append({replication::Lsn(commit), 0}, encoder.Finish(true));
    journal_->Flush(replication::Lsn(commit + 8));
  }
  static std::string With(const std::string& token) { return R"(,"token":")" + token + "\""; }
  static void ExpectRefused(Consumer& consumer, const std::string& code) {
    EXPECT_THAT(consumer.Line(), StartsWith(R"({"type":"error","code":")" + code +
                                            R"(","fatal":true,"retry":false)"));
    EXPECT_EQ(consumer.Line(), "") << "the end";
  }
};

TEST_F(Guarded, NothingWithoutAToken) {
  StartWith(LineFor("one", kAlpha, "*"));
  Consumer silent(feed_->port());
  silent.EndInput();
  ExpectRefused(silent, "auth_required");
  Consumer without(feed_->port());
  without.Hello();
  ExpectRefused(without, "auth_required");
  Consumer wrong(feed_->port());
  wrong.Hello(With("beta"));
  ExpectRefused(wrong, "auth_failed");
  Wait([this] { return Closed(static_cast<size_t>(CloseReason::kNotAllowed)) == 3; });
}

TEST_F(Guarded, SlowHelloIsWaitedFor) {
  options_.hello_timeout = std::chrono::milliseconds(10);
  StartWith(LineFor("one", kAlpha, "*"));
  Consumer consumer(feed_->port());
  std::this_thread::sleep_for(std::chrono::milliseconds(200));
  consumer.Hello(With("alpha"));
  EXPECT_THAT(consumer.Line(), StartsWith(R"({"type":"hello")"));
}

TEST_F(Guarded, AskedBeforeThereIsAHistory) {
  Write(LineFor("one", kAlpha, "*"));
  StartUnbound();
  Consumer consumer(feed_->port());
  consumer.Hello(With("alpha"));
  EXPECT_THAT(consumer.Line(), HasSubstr("upstream_down"));
  Bind();
  feed_->Announce();
  EXPECT_THAT(consumer.Line(), StartsWith(R"({"type":"hello")"));
}

TEST_F(Guarded, EachHelloNeedsItsToken) {
  StartWith(LineFor("one", kAlpha, "*"));
  Consumer consumer(feed_->port());
  consumer.Hello(With("alpha"));
  consumer.LineOf("live");
  consumer.Hello();
  ExpectRefused(consumer, "auth_required");
}

TEST_F(Guarded, RefusedHelloTakesNoNameAway) {
  StartWith(LineFor("one", kAlpha, "*"));
  Consumer holder(feed_->port());
  holder.Hello(With("alpha") + R"(,"name":"billing")");
  holder.LineOf("live");
  Consumer thief(feed_->port());
  thief.Hello(With("beta") + R"(,"name":"billing")");
  ExpectRefused(thief, "auth_failed");
  CommitTo("todos", 0x2000);
  EXPECT_EQ(CursorOf(holder.LineOf("change")), CursorText(0x2000));
}

TEST_F(Guarded, NameBelongsToTheTokenThatTookItFirst) {
  std::string both = LineFor("one", kAlpha, "*") + LineFor("two", kBeta, "*");
  StartWith(both);
  Commit(0x2000);
  {
    Consumer holder(feed_->port());
    holder.Hello(With("alpha") + R"(,"name":"billing")");
    holder.LineOf("live");
    Consumer thief(feed_->port());
    thief.Hello(With("beta") + R"(,"name":"billing","from":"latest")");
    ExpectRefused(thief, "forbidden_name");
    Commit(0x2008);
    EXPECT_EQ(CursorOf(holder.LineOf("change")), CursorText(0x2008)) << "it was not superseded";
  }
  for (int restarts = 0; restarts < 2; ++restarts) {
    Consumer thief(feed_->port());
    thief.Hello(With("beta") + R"(,"name":"billing","from":"latest")");
    ExpectRefused(thief, "forbidden_name");
    Consumer other(feed_->port());
    other.Hello(With("beta") + R"(,"name":"audit")");
    other.LineOf("live");
    feed_.reset();
    journal_.reset();
    Start();
  }
  EXPECT_EQ(journal_->consumers().Find("billing")->acknowledged.ToString(), CursorText(0x2000));
  EXPECT_EQ(journal_->consumers().Find("audit")->token, "two");
}

TEST_F(Guarded, NewTokenOfTheSameNameIsKnownBesideTheOldOne) {
  StartWith(LineFor("one", kAlpha, "*") + LineFor("one", kBeta, "*"));
  for (const char* token : {"alpha", "beta", "alpha"}) {
    Consumer consumer(feed_->port());
    consumer.Hello(With(token) + R"(,"name":"billing")");
    EXPECT_THAT(consumer.Line(), StartsWith(R"({"type":"hello")"));
  }
}

TEST_F(Guarded, NameIsHeldBeforeThereIsAHistoryToo) {
  Write(LineFor("one", kAlpha, "*") + LineFor("two", kBeta, "*"));
  StartUnbound();
  Consumer one(feed_->port());
  one.Hello(With("alpha") + R"(,"name":"billing")");
  EXPECT_THAT(one.Line(), HasSubstr("upstream_down"));
  Consumer two(feed_->port());
  two.Hello(With("beta") + R"(,"name":"billing")");
  std::string refused = two.Line();
  EXPECT_THAT(refused, HasSubstr(R"("code":"forbidden_name")"));
  EXPECT_THAT(refused, HasSubstr(R"("retry":true)")) << "nobody has it yet";
  Bind();
  feed_->Announce();
  EXPECT_THAT(one.Line(), StartsWith(R"({"type":"hello")"));
  EXPECT_EQ(journal_->consumers().Find("billing")->token, "one");
}

TEST_F(Guarded, WhoWasRefusedHoldsNoName) {
  StartWith(LineFor("one", kAlpha, "*") + LineFor("two", kBeta, "*"));
  Commit(0x2000);
  Consumer ahead(feed_->port());
  ahead.Hello(With("alpha") + R"(,"name":"billing","from":")" + CursorText(0x9000) + "\"");
  EXPECT_THAT(ahead.Line(), HasSubstr("cursor_ahead"));
  Consumer two(feed_->port());
  two.Hello(With("beta") + R"(,"name":"billing")");
  EXPECT_THAT(two.Line(), StartsWith(R"({"type":"hello")"));
}

TEST_F(Guarded, AnotherNameOnTheLineIsNothingToThoseWithoutOne) {
  StartWith(LineFor("one", kAlpha, "*"));
  Consumer consumer(feed_->port());
  consumer.Hello(With("alpha"));
  EXPECT_THAT(consumer.LineOf("live"), StartsWith("{"));
  Write(LineFor("uno", kAlpha, "*") + LineFor("two", kBeta, "*"));
  Wait([this] {
    Consumer two(feed_->port());
    two.Hello(With("beta"));
    return two.Line().starts_with(R"({"type":"hello")");
  });
  CommitTo("todos", 0x2000);
  EXPECT_EQ(CursorOf(consumer.LineOf("change")), CursorText(0x2000));
}

TEST_F(Guarded, NameIsFreeForOthersOnlyWhenItIsGivenToThem) {
  StartWith(LineFor("one", kAlpha, "*") + LineFor("two", kBeta, "*"));
  Commit(0x2000);
  auto billing = [this](const char* token) {
    Consumer consumer(feed_->port());
    consumer.Hello(With(token) + R"(,"name":"billing")");
    std::string line = consumer.Line();
    consumer.Vanish();
    Wait([this] { return !journal_->consumers().Find("billing")->connected; });
    return line.substr(0, line.find(',', 9));
  };
  EXPECT_EQ(billing("alpha"), R"({"type":"hello")");
  EXPECT_EQ(billing("beta"), R"({"type":"error")");
  Commit(0x2008);
  EXPECT_EQ(journal_->consumers().GiveIdle("billing", "two"), journal::Consumers::Outcome::kDone);
  EXPECT_EQ(billing("alpha"), R"({"type":"error")");
  EXPECT_EQ(billing("beta"), R"({"type":"hello")");
  EXPECT_EQ(journal_->consumers().Find("billing")->acknowledged.ToString(), CursorText(0x2000));
}

TEST_F(Guarded, AnotherNameOnTheLineEndsItsConsumersAtOnce) {
  StartWith(LineFor("one", kAlpha, "*"));
  Consumer consumer(feed_->port());
  consumer.Hello(With("alpha") + R"(,"name":"billing")");
  consumer.LineOf("live");
  Write(LineFor("uno", kAlpha, "*"));
  EXPECT_THAT(consumer.LineOf("bye"), HasSubstr("rights_changed"));
  Consumer again(feed_->port());
  again.Hello(With("alpha") + R"(,"name":"billing")");
  ExpectRefused(again, "forbidden_name");
}

TEST_F(Guarded, WithoutTokensWhoeverConnectsMayTakeANameAndLeavesItToItsToken) {
  StartWith(LineFor("one", kAlpha, "*") + LineFor("two", kBeta, "*"));
  auto restart = [this](const std::string& file) {
    feed_.reset();
    journal_.reset();
    options_.tokens_file = file;
    Start();
  };
  std::string file = options_.tokens_file;
  {
    Consumer one(feed_->port());
    one.Hello(With("alpha") + R"(,"name":"billing")");
    one.LineOf("live");
  }
  restart("");
  {
    Consumer anybody(feed_->port());
    anybody.Hello(R"(,"name":"billing","from":"earliest")");
    EXPECT_THAT(anybody.Line(), StartsWith(R"({"type":"hello")"));
  }
  restart(file);
  Consumer two(feed_->port());
  two.Hello(With("beta") + R"(,"name":"billing")");
  ExpectRefused(two, "forbidden_name");
}

// The name is written before it is greeted, and must not pass over the gap by that.
TEST_F(Guarded, NameThatATokenTakesBehindRetentionMeetsItsGapAgain) {
  StartWith(LineFor("one", kAlpha, "*"));
  Commit(0x2000);
  journal_->consumers().Move("billing", {epoch_, {replication::Lsn(8), 0}}, 1);
  journal_->consumers().Save();
  for (int times = 0; times < 2; ++times) {
    Consumer consumer(feed_->port());
    consumer.Hello(With("alpha") + R"(,"name":"billing","on_gap":"continue")");
    EXPECT_EQ(CursorOf(consumer.LineOf("hello"), "start"), CursorText(8));
    EXPECT_THAT(consumer.Line(), StartsWith("{\"type\":\"gap\""));
  }
}

TEST_F(Guarded, NameFromBeforeThereWereTokensGoesToTheFirst) {
  StartWith(LineFor("one", kAlpha, "*") + LineFor("two", kBeta, "*"));
  Commit(0x2000);
  journal_->consumers().Move("billing", {epoch_, {replication::Lsn(0x1000), 0}}, 1);
  journal_->consumers().Save();
  {
    Consumer first(feed_->port());
    first.Hello(With("alpha") + R"(,"name":"billing")");
    EXPECT_EQ(CursorOf(first.LineOf("hello"), "start"), CursorText(0x1000));
  }
  Consumer second(feed_->port());
  second.Hello(With("beta") + R"(,"name":"billing")");
  ExpectRefused(second, "forbidden_name");
  journal::Consumers as_saved(journal_options_.directory);
  EXPECT_EQ(as_saved.Find("billing")->token, "one");
}

TEST_F(Guarded, OnlyTheCollectionsOfTheToken) {
  StartWith(LineFor("one", kAlpha, "todos,notes"));
  Consumer all(feed_->port());
  all.Hello(With("alpha"));
  EXPECT_THAT(all.Line(), HasSubstr(R"("collections":["notes","todos"])"));
  Consumer some(feed_->port());
  some.Hello(With("alpha") + R"(,"collections":["notes"])");
  EXPECT_THAT(some.Line(), HasSubstr(R"("collections":["notes"])"));
  Consumer other(feed_->port());
  other.Hello(With("alpha") + R"(,"collections":["notes","salaries"])");
  ExpectRefused(other, "forbidden_collection");
  CommitTo("salaries", 0x2000);
  CommitTo("todos", 0x2008);
  CommitTo("notes", 0x2010);
  EXPECT_EQ(CursorOf(all.LineOf("change")), CursorText(0x2008));
  EXPECT_EQ(CursorOf(all.LineOf("change")), CursorText(0x2010));
  EXPECT_EQ(CursorOf(some.LineOf("change")), CursorText(0x2010));
}

TEST_F(Guarded, TokenThatIsGoneEndsItsConsumers) {
  StartWith(LineFor("one", kAlpha, "*") + LineFor("two", kBeta, "*"));
  Consumer one(feed_->port());
  one.Hello(With("alpha"));
  one.LineOf("live");
  Consumer two(feed_->port());
  two.Hello(With("beta"));
  two.LineOf("live");
  Write(LineFor("two", kBeta, "*"));
  ExpectRefused(one, "auth_failed");
  CommitTo("todos", 0x2000);
  EXPECT_EQ(CursorOf(two.LineOf("change")), CursorText(0x2000)) << "others are not disturbed";
}

TEST_F(Guarded, OtherRightsMeanComeAgain) {
  StartWith(LineFor("one", kAlpha, "todos"));
  Consumer consumer(feed_->port());
  consumer.Hello(With("alpha"));
  consumer.LineOf("live");
  Write(LineFor("one", kAlpha, "todos,notes"));
  std::string bye = consumer.Line();
  EXPECT_THAT(bye, StartsWith(R"({"type":"bye","code":"rights_changed","cursor":")"));
  EXPECT_EQ(consumer.Line(), "");
  CommitTo("notes", 0x2000);
  Consumer again(feed_->port());
  again.Hello(With("alpha") + R"(,"from":")" + CursorOf(bye) + "\"");
  EXPECT_EQ(CursorOf(again.LineOf("change")), CursorText(0x2000));
}

TEST_F(Guarded, FileThatCannotBeUnderstoodChangesNothing) {
  StartWith(LineFor("one", kAlpha, "*"));
  Consumer consumer(feed_->port());
  consumer.Hello(With("alpha") + R"(,"heartbeat":1)");
  consumer.LineOf("live");
  Write("nonsense\n");
  for (int beats = 0; beats < 3; ++beats) consumer.LineOf("heartbeat");
  Consumer another(feed_->port());
  another.Hello(With("alpha"));
  EXPECT_THAT(another.Line(), StartsWith(R"({"type":"hello")"));
  Write(LineFor("one", kBeta, "*"));
  EXPECT_THAT(consumer.LineOf("error"), HasSubstr("auth_failed"));
}

TEST_F(Guarded, NeitherMissingNorWrongFileAtTheStart) {
  EXPECT_THROW(StartUnbound(), std::runtime_error);
  Write("nonsense\n");
  EXPECT_THROW(StartUnbound(), std::runtime_error);
}

TEST_F(Guarded, ListensWhereOthersCanConnect) {
  options_.listen = "0.0.0.0:0";
  StartWith(LineFor("one", kAlpha, "*"));
  EXPECT_GT(feed_->port(), 0);
}

}  // namespace
}  // namespace syncflow::feed
