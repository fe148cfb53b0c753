#include "sidecar/feed/feed.h"

#include <pthread.h>
#include <signal.h>

#include <asio/post.hpp>
#include <asio/steady_timer.hpp>
#include <atomic>
#include <deque>
#include <future>
#include <thread>
#include <utility>

#include "sidecar/feed/hub.h"
#include "sidecar/feed/listener.h"
#include "sidecar/feed/peer.h"
#include "sidecar/feed/session.h"
#include "sidecar/log/log.h"

namespace syncflow::feed {
namespace {

using Clock = std::chrono::steady_clock;
using std::chrono::milliseconds;
using std::chrono::seconds;

// Who is one too many is told so, as far as this goes: their descriptors are counted among those
// that a process keeps free for the journal.
constexpr size_t kTurnedAwayMax = 16;

// sendfile knows no MSG_NOSIGNAL.
void BlockSigpipe() {
  sigset_t set;
  sigemptyset(&set);
  sigaddset(&set, SIGPIPE);
  pthread_sigmask(SIG_BLOCK, &set, nullptr);
}

// What could not be written is tried again; until then nobody is told that it is durable.
void Save(const journal::Journal& journal) {
  try {
    journal.consumers().Save();
  } catch (const journal::Error& error) {
    log::Error("feed", error.what());
  }
}

}  // namespace

struct Feed::State {
  State(Options given, const journal::Journal& journal)
      : hub(std::move(given), journal, [this] { AnnounceDocuments(); }),
        tokens_file(hub.options.tokens_file),
        tls_files(hub.options.tls),
        listener(hub),
        grace_timer(hub.io),
        tick_timer(hub.io) {
    hub.await_hello = [this](std::shared_ptr<Session> session) { AwaitHello(session); };
    if (!hub.options.tokens_file.empty()) hub.tokens = tokens_file.ReadIfChanged();
    if (!hub.options.tls.certificate.empty()) hub.tls = tls_files.ReadIfChanged();
  }

  void Run();
  void Announce();
  void AnnounceDocuments();
  void Welcome(Socket socket);
  void AwaitHello(const std::shared_ptr<Session>& session);
  void AwaitGrace();
  void Tick();
  void SaveAcks();
  void AcksSaved();
  void ReadFiles();
  void ReadTokens();
  void TakeTokens(std::shared_ptr<const Tokens> tokens);
  void ReadTls();
  void EachSession(const std::function<void(Session&)>& visit);
  void Stop();

  Hub hub;
  TokensFile tokens_file;  // the cold reader's, once the feed has started
  TlsFiles tls_files;      // likewise
  Listener listener;
  // Who has not spoken yet, in the order of their deadlines.
  std::deque<std::pair<Clock::time_point, std::weak_ptr<Session>>> young;
  asio::steady_timer grace_timer;
  asio::steady_timer tick_timer;
  uint64_t saves_told = 0;
  std::atomic<bool> announced{false};
  std::atomic<bool> documents_announced{false};
  std::atomic<bool> reading_files{false};
  std::promise<void> empty;  // by Stop: no session is left
  bool told_empty = false;
  std::thread thread;
};

Feed::Feed(Options options, const journal::Journal& journal)
    : state_(std::make_unique<State>(std::move(options), journal)) {}

Feed::~Feed() {
  Stop(milliseconds(0));
}

uint16_t Feed::port() const {
  return state_->listener.port();
}
const Probe& Feed::probe() const {
  return state_->hub.probe;
}

void Feed::Start() {
  state_->listener.Start(
      [state = state_.get()](Socket socket) { state->Welcome(std::move(socket)); });
  state_->Tick();
  state_->thread = std::thread([state = state_.get()] { state->Run(); });
}

void Feed::State::Run() {
  BlockSigpipe();
  hub.io.run();
}

// ---- who comes ----

void Feed::State::Welcome(Socket socket) {
  if (hub.sessions.size() >= hub.options.connections_max + kTurnedAwayMax) {
    ++hub.probe.refused;
    return;  // without a word: too many are being told already
  }
  ++hub.probe.consumers;
  std::error_code ignored;
  socket.non_blocking(true, ignored);
  SetOptions(socket.native_handle());
  auto session = std::make_shared<Session>(hub, std::move(socket));
  hub.sessions.push_back(session);
  bool full = hub.sessions.size() > hub.options.connections_max;
  if (full) ++hub.probe.refused;
  session->Start(std::prev(hub.sessions.end()), full);
}

void Feed::State::AwaitHello(const std::shared_ptr<Session>& session) {
  young.emplace_back(Clock::now() + hub.options.hello_timeout, session);
  if (young.size() == 1) AwaitGrace();
}

void Feed::State::AwaitGrace() {
  grace_timer.expires_at(young.front().first);
  grace_timer.async_wait([this](std::error_code cancelled) {
    if (cancelled) return;
    while (!young.empty() && young.front().first <= Clock::now()) {
      auto session = young.front().second.lock();
      young.pop_front();
      if (session) session->GraceOver();
    }
    if (!young.empty()) AwaitGrace();
  });
}

void Feed::State::Tick() {
  tick_timer.expires_after(seconds(1));
  tick_timer.async_wait([this](std::error_code cancelled) {
    if (cancelled) return;
    auto now = Clock::now();
    EachSession([now](Session& session) { session.Tick(now); });
    SaveAcks();
    hub.snapshots.Tick();
    if (!reading_files.exchange(true)) asio::post(hub.cold, [this] { ReadFiles(); });
    Tick();
  });
}

// Once a second, by the thread that may wait for the disk.
void Feed::State::SaveAcks() {
  journal::Consumers& consumers = hub.journal.consumers();
  if (consumers.all_saved() && consumers.saves() == saves_told) return;
  asio::post(hub.cold, [this] {
    Save(hub.journal);
    asio::post(hub.io, [this] { AcksSaved(); });
  });
}

void Feed::State::AcksSaved() {
  uint64_t saves = hub.journal.consumers().saves();
  if (std::exchange(saves_told, saves) == saves) return;
  EachSession([](Session& session) { session.AcksSaved(); });
}

// By the thread that may wait for the disk.
void Feed::State::ReadFiles() {
  if (!hub.options.tokens_file.empty()) ReadTokens();
  if (!hub.options.tls.certificate.empty()) ReadTls();
  reading_files = false;
}

// A file that cannot be understood changes nothing.
void Feed::State::ReadTokens() {
  try {
    auto tokens = tokens_file.ReadIfChanged();
    if (tokens) asio::post(hub.io, [this, tokens] { TakeTokens(tokens); });
  } catch (const std::runtime_error& error) {
    log::Error("feed", std::string(error.what()) + "; the tokens that were read before stay");
  }
}

void Feed::State::TakeTokens(std::shared_ptr<const Tokens> tokens) {
  hub.tokens = std::move(tokens);
  log::Info("feed", "the tokens were read again");
  EachSession([](Session& session) { session.Reauthorise(); });
}

// Who is connected goes on with what was in force.
void Feed::State::ReadTls() {
  try {
    auto tls = tls_files.ReadIfChanged();
    if (!tls) return;
    asio::post(hub.io, [this, tls] { hub.tls = tls; });
    log::Info("feed", "the certificate was read again");
  } catch (const std::runtime_error& error) {
    log::Error("feed", std::string(error.what()) + "; the certificate that was read before stays");
  }
}

// A visit may end the session.
void Feed::State::EachSession(const std::function<void(Session&)>& visit) {
  for (auto next = hub.sessions.begin(); next != hub.sessions.end();) {
    std::shared_ptr<Session> session = *next++;
    visit(*session);
  }
}

// ---- what all are told ----

void Feed::Announce() {
  state_->Announce();
}

// Only the first announcement of a burst posts; the turn that follows sends whatever is there by
// then.
void Feed::State::Announce() {
  if (announced.exchange(true)) return;
  asio::post(hub.io, [this] {
    announced = false;
    EachSession([](Session& session) { session.Announced(); });
  });
}

void Feed::State::AnnounceDocuments() {
  if (documents_announced.exchange(true)) return;
  asio::post(hub.io, [this] {
    documents_announced = false;
    EachSession([](Session& session) { session.SnapshotGrew(); });
  });
}

void Feed::UpstreamDown(const std::string& reason) {
  asio::post(state_->hub.io, [state = state_.get(), reason] {
    bool news = !reason.empty() && state->hub.upstream_down.empty();
    state->hub.upstream_down = reason;
    if (news) state->EachSession([](Session& session) { session.UpstreamDown(); });
  });
}

// ---- the end ----

void Feed::State::Stop() {
  listener.Close();
  hub.on_empty = [this] {
    if (!std::exchange(told_empty, true)) empty.set_value();
  };
  EachSession([](Session& session) { session.Bye(); });
  hub.SessionEnded();
}

void Feed::Stop(milliseconds deadline) {
  if (!state_->thread.joinable()) return;
  auto empty = state_->empty.get_future();
  asio::post(state_->hub.io, [state = state_.get()] { state->Stop(); });
  empty.wait_for(deadline);
  state_->hub.io.stop();
  state_->thread.join();
  state_->hub.snapshots.Stop();
  state_->hub.cold.join();
  // The feed thread has ended, so its sessions may be touched here.
  state_->listener.Close();
  state_->EachSession([](Session& session) { session.Abandon(); });
  Save(state_->hub.journal);
}

}  // namespace syncflow::feed
