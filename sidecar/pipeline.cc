#include "sidecar/pipeline.h"

#include <poll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <algorithm>
#include <thread>
#include <utility>

#include "sidecar/log/log.h"
#include "sidecar/reconcile.h"

namespace syncflow {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

// A batch waits at most this long for more of the same burst.
constexpr milliseconds kBatchAge{1};
// Without new lines the journal records a position this often or after this much foreign WAL, so
// that an idle feed does not pin WAL; each record is a small write.
constexpr seconds kMarkInterval{2};
constexpr uint64_t kMarkBytes = 16ull << 20;
// PostgreSQL cannot shut down while a receiver stays connected without confirming.
constexpr seconds kBlockedMax{10};
constexpr milliseconds kRetrySpace{500};
constexpr milliseconds kServerWaits{5};
constexpr seconds kStallMax{9};
constexpr seconds kStall{2};  // this long without an answer from the disk, no stream is opened
constexpr seconds kFinishMax{4};
constexpr seconds kSilenceMax{15};
// More has come at once, or it followed sooner, than commits that wait for each other can bring.
constexpr uint64_t kBurstBytes = 8 << 10;
constexpr std::chrono::microseconds kBurstGap{100};
constexpr milliseconds kBurstNap{1};
constexpr seconds kStuckPause{300};
constexpr seconds kStandbyPause{1};
constexpr const char* kObjectInUse = "55006";
constexpr const char* kUndefinedObject = "42704";

// A connection attempt ends at once when the pipeline is stopped.
UpstreamOptions WithStop(UpstreamOptions options, int stop_fd) {
  options.connect.stop_fd = stop_fd;
  return options;
}

std::chrono::nanoseconds SinceTime(int64_t microseconds) {
  return std::chrono::system_clock::now().time_since_epoch() -
         std::chrono::microseconds(microseconds);
}

}  // namespace

Pipeline::Pipeline(PipelineOptions options, journal::Journal& journal, feed::Feed& feed,
                   notify::Watch* watch, PipelineProbe& probe)
    : wake_fd_(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)),
      options_(std::move(options)),
      journal_(journal),
      feed_(feed),
      watch_(watch),
      probe_(probe),
      upstream_(WithStop(options_.upstream, wake_fd_), journal, probe) {}

Pipeline::~Pipeline() {
  close(wake_fd_);
}

void Pipeline::Stop() {
  stopping_ = true;
  eventfd_write(wake_fd_, 1);
}

void Pipeline::Saw(const Sight& sight) {
  std::lock_guard held(sight_mutex_);
  sight_ = sight;
  sight_is_new_ = true;
}

void Pipeline::Run() {
  while (!stopping_) {
    ThrowIfSyncFailed();
    try {
      Stream();
    } catch (const JournalIsFull& error) {
      RetreatFor(ReconnectReason::kBlocked, error.Explain(), backoff_.Next());
    } catch (const adapter::Error& error) {
      Retreat(error);
    } catch (const replication::DecodeError& error) {
      Retreat(error);
    } catch (const GaveUp&) {
      RetreatFor(ReconnectReason::kBlocked,
                 "the journal's disk is full: free space or lower journal.retain_size; PostgreSQL "
                 "keeps what has no room",
                 kRetrySpace);
    }
  }
  probe_.state = PipelineState::kStopping;
}

// ---- the route ----

void Pipeline::Stream() {
  AwaitSpace();
  if (probe_.state != PipelineState::kStandby) probe_.state = PipelineState::kConnecting;
  replication::Stream stream = upstream_.Open([this] { return DiskHangs(); });
  upstream_.RequireUnmoved();
  opened_at_ = adapter::Clock::now();
  ++probe_.connects_ok;
  stream_ = &stream;
  continuity_.emplace(journal_, stream.received());
  silent_ = false;
  decoder_ = upstream_.MakeDecoder();
  encoder_.emplace(*journal_.epoch(), options_.line_bytes_max);
  open_.reset();
  safe_ = resumed_ = journal_.recorded();
  probe_.state = PipelineState::kStreaming;
  log::Info("pipeline", "streaming",
            {{"slot", options_.upstream.slot}, {"from", journal_.recorded().ToString()}});
  feed_.UpstreamDown("");  // before anybody new is welcomed
  feed_.Announce();
  Pump(stream);
  Finish(stream);
}

void Pipeline::Pump(replication::Stream& stream) {
  while (!stopping_) {
    if (sight_is_new_.exchange(false)) Consider(Sighted(), stream);
    bool more = stream.Fill();                               // Receive
    while (auto message = stream.Receive()) Take(*message);  // Decode, Encode, Append
    if (!more || FlushIsDue()) Flush();                      // Announce
    Confirm(stream);
    LetABurstGather(more);
    if (more) continue;
    auto idle = adapter::Clock::now();
    auto deadline = idle + (stream.server_waits() ? kServerWaits : seconds(1));
    stream.Wait(std::min(deadline, stream.next_status()), wake_fd_);
    busy_since_ = adapter::Clock::now();
    awaited_ = busy_since_ - idle;
  }
}

// The walsender writes message by message. In the middle of a burst, which is when much has come
// since the last wait, or little by little for a while, a short nap lets many gather, which halves
// the cost of reading, writing and delivering them; a lone commit is never kept waiting. With TLS
// each reading brings one message, however many there are, and naps would gather nothing.
void Pipeline::LetABurstGather(bool more) {
  uint64_t received = probe_.stream.received_bytes.load(std::memory_order_relaxed);
  uint64_t turn = received - std::exchange(received_before_, received);
  burst_bytes_ += turn;
  bool little = turn < kBurstBytes;
  if (std::exchange(napped_, false) && little) naps_gather_ = false;
  bool burst = burst_bytes_ >= kBurstBytes || (burst_bytes_ > 0 && awaited_ < kBurstGap);
  if (more) {
    napped_ = little && naps_gather_ && adapter::Clock::now() - busy_since_ >= kBurstNap;
  } else {
    burst_bytes_ = 0;
    naps_gather_ = true;
  }
  if (more ? napped_ : burst) std::this_thread::sleep_for(kBurstNap);
}

void Pipeline::Take(const replication::WalMessage& message) {
  std::visit([this](const auto& kind) { Take(kind); }, message);
}

void Pipeline::Take(const replication::XLogData& data) {
  std::visit([this](const auto& event) { Take(event); }, decoder_->Decode(data.payload));
}

void Pipeline::Take(const replication::Keepalive& keepalive) {
  // Everything before a keepalive's end has been sent, so with nothing open it may be forgotten.
  if (open_) return;
  RequireAgreement(continuity_->Passed(keepalive.wal_end));
  Progressed(keepalive.wal_end);
}

void Pipeline::Take(const replication::Begin& begin) {
  RequireAgreement(continuity_->Passed(begin.commit_lsn));
  open_ = begin;
}

void Pipeline::Take(const replication::Change& change) {
  // PostgreSQL repeats what was not confirmed; the journal already holds it under the same cursor.
  if (journal::Position{change.commit_lsn, change.index} <= journal_.appended())
    return RequireAgreement(continuity_->Repeated(change));
  if (encoder_->holds()) AppendHeld(false);
  encoder_->Encode(change);
  if (watch_ != nullptr) watch_->Delivered(change.operation.id);
  probe_.last_commit_time.store(change.commit_time, std::memory_order_relaxed);
}

void Pipeline::Take(const replication::Commit& commit) {
  if (encoder_->holds()) {
    AppendHeld(true);
    probe_.transactions.fetch_add(1, std::memory_order_relaxed);
    probe_.commit_to_append.Observe(SinceTime(probe_.last_commit_time));
  }
  open_.reset();
  Progressed(commit.end_lsn);
}

void Pipeline::RequireAgreement(const std::optional<std::string>& contradiction) {
  if (contradiction) upstream_.Forked(*contradiction);
}

// A stream that fails at the same place again and again is tried less and less often.
void Pipeline::Progressed(replication::Lsn end) {
  safe_ = std::max(safe_, end);
  if (end <= furthest_) return;
  furthest_ = end;
  backoff_.Reset();
  operator_backoff_.Reset();
}

void Pipeline::AppendHeld(bool last) {
  if (!pending_) pending_since_ = adapter::Clock::now();
  pending_ = true;
  journal::Position position = encoder_->position();
  std::string_view line = encoder_->Finish(last);
  while (journal_.appended() <
         position) {  // a full disk may refuse it before or after taking it in
    try {
      journal_.Append(position, line);
    } catch (const journal::Error& error) {
      WaitForSpace(error);
    }
  }
  probe_.changes.fetch_add(1, std::memory_order_relaxed);
}

bool Pipeline::FlushIsDue() const {
  return pending_ && adapter::Clock::now() - pending_since_ >= kBatchAge;
}

bool Pipeline::MarkIsDue() const {
  if (safe_ <= journal_.recorded()) return false;
  return stream_->server_waits() || safe_.bytes() - journal_.recorded().bytes() >= kMarkBytes ||
         adapter::Clock::now() - marked_at_ >= kMarkInterval;
}

void Pipeline::Flush() {
  if (!pending_ && !MarkIsDue()) return;
  try {
    journal_.Flush(safe_);
  } catch (const journal::Error& error) {
    WaitForSpace(error);
  }
  pending_ = false;
  marked_at_ = adapter::Clock::now();
  if (stream_->server_waits()) journal_.SyncSoon();
  if (watch_ != nullptr) watch_->FlushDelivered();
}

void Pipeline::Confirm(replication::Stream& stream) {
  ThrowIfSyncFailed();
  // The only line that lets PostgreSQL forget anything. `durable` is what the journal's fdatasync
  // has returned for, recorded there beforehand, so a slot that stands further was moved by
  // somebody else. What PostgreSQL has not repeated yet may turn out to be another history.
  if (SpeaksOfThisStream(stream)) stream.Confirm(std::min(journal_.durable(), stream.received()));
  stream.SendStatusIfDue();
  NoteSilence(stream);
  ReportPositions(stream);
}

// What an earlier connection has recorded says nothing of lines that this one brings below it: a
// server that was restored may have written them anew, when the journal had nothing there.
bool Pipeline::SpeaksOfThisStream(const replication::Stream& stream) const {
  if (journal_.durable() > resumed_) return true;
  return stream.received() >= resumed_ && !open_ && !pending_ && journal_.all_durable();
}

Sight Pipeline::Sighted() {
  std::lock_guard held(sight_mutex_);
  return sight_;
}

// A stream sees neither what is left out of it nor that its other end is gone.
void Pipeline::Consider(const Sight& sight, const replication::Stream& stream) {
  if (sight.at < opened_at_) return;
  if (!replication::IsSameTable(upstream_.table_version(), sight.table_version))
    throw adapter::Error("the table or its publication has changed: the stream is opened anew");
  if (silent_ && sight.at >= adapter::Clock::now() - stream.silence() &&
      sight.reader != upstream_.walsender())
    throw adapter::Error("the connection is half open: its walsender has ended long ago");
}

// Nobody reconnects because of it: wal2json is silent while it filters a large foreign transaction,
// and would begin anew with it.
void Pipeline::NoteSilence(const replication::Stream& stream) {
  bool silent = stream.silence() >= kSilenceMax;
  if (silent == std::exchange(silent_, silent)) return;
  std::string sentence =
      silent ? "PostgreSQL has sent nothing for 15 s and does not answer: look at the walsender in "
               "pg_stat_replication"
             : "";
  probe_.state = silent ? PipelineState::kSilent : PipelineState::kStreaming;
  feed_.UpstreamDown(sentence);
  if (!silent) return log::Info("pipeline", "PostgreSQL answers again");
  probe_.last_error.Set(sentence);
  log::Warning("pipeline", sentence);
}

void Pipeline::Finish(replication::Stream& stream) {
  encoder_->Drop();
  Flush();
  journal_.SyncSoon();
  auto deadline = adapter::Clock::now() + kFinishMax;
  while (journal_.durable() < journal_.recorded() && adapter::Clock::now() < deadline &&
         !journal_.sync_failure()) {
    poll(nullptr, 0, 5);
  }
  if (SpeaksOfThisStream(stream)) stream.Confirm(std::min(journal_.durable(), stream.received()));
  stream.SendStatus();
  stream.End();
  stream_ = nullptr;
  ThrowIfSyncFailed();
}

// ---- what can fail ----

void Pipeline::ThrowIfSyncFailed() const {
  if (auto failure = journal_.sync_failure())
    throw journal::Error(journal::Error::Kind::kIo, *failure);
}

// For what an earlier connection left over when the disk was full.
void Pipeline::AwaitSpace() {
  AwaitDisk();
  if (!pending_ || TryFlush()) return;
  probe_.state = PipelineState::kBlocked;
  while (!stopping_ && !TryFlush()) {
    ThrowIfSyncFailed();
    Pause(kRetrySpace);
  }
}

// A disk that hangs would make every stream hang.
void Pipeline::AwaitDisk() {
  if (journal_.stall() < kStall) return;
  TellOfStall();
  while (!stopping_ && journal_.stall() >= kStall) Pause(kRetrySpace);
}

// Runs on the stream's own thread too, while the ingest thread hangs in a write.
bool Pipeline::DiskHangs() {
  if (journal_.stall() < kStallMax) return false;
  TellOfStall();
  return true;
}

void Pipeline::TellOfStall() {
  std::string sentence =
      "the journal's disk does not answer: look at it; PostgreSQL keeps what is not synced";
  probe_.state = PipelineState::kBlocked;
  probe_.last_error.Set(sentence);
  log::Error("pipeline", sentence);
}

// A full disk loses nothing: PostgreSQL keeps what is not confirmed, consumers are served from what
// is there. The connection is kept alive for a while, then given up so that the server can shut
// down.
void Pipeline::WaitForSpace(const journal::Error& error) {
  if (error.kind() != journal::Error::Kind::kDiskFull) throw error;
  probe_.state = PipelineState::kBlocked;
  probe_.last_error.Set(error.what());
  log::Error("pipeline", error.what());
  auto give_up = adapter::Clock::now() + kBlockedMax;
  while (!TryFlush()) {
    if (stopping_ || adapter::Clock::now() >= give_up) throw GaveUp{};
    Confirm(*stream_);
    Pause(kRetrySpace);
  }
  probe_.state = PipelineState::kStreaming;
}

bool Pipeline::TryFlush() {
  try {
    journal_.Flush(journal_.recorded());
    pending_ = false;
    return true;
  } catch (const journal::Error& error) {
    if (error.kind() != journal::Error::Kind::kDiskFull) throw;
    return false;
  }
}

// Another sidecar reads the slot: nothing is wrong, and it may end at any moment.
void Pipeline::StandBy(const std::string& sentence) {
  if (probe_.state != PipelineState::kStandby || probe_.last_error.Get() != sentence)
    log::Info("pipeline", sentence);
  probe_.state = PipelineState::kStandby;
  probe_.last_error.Set(sentence);
  feed_.UpstreamDown(sentence);
  Pause(kStandbyPause);
}

void Pipeline::Retreat(const adapter::Error& error) {
  if (error.sqlstate() == kObjectInUse) return StandBy(error.what());
  // pgoutput looks the publication up as it was when a change was written, for ever.
  if (error.sqlstate() == kUndefinedObject && stream_ != nullptr) upstream_.NoteHole(error.what());
  if (stream_ == nullptr) ++probe_.connects_failed;
  ReconnectReason reason = error.sqlstate().empty() ? ReconnectReason::kLost
                           : error.NeedsReconnect() ? ReconnectReason::kEnded
                                                    : ReconnectReason::kRefused;
  RetreatFor(reason, error.Explain(),
             error.NeedsOperator() ? operator_backoff_.Next() : backoff_.Next());
}

void Pipeline::Retreat(const replication::DecodeError& error) {
  ++probe_.decode_errors;
  RetreatFor(ReconnectReason::kDecode, error.what(), operator_backoff_.Next());
}

void Pipeline::RetreatFor(ReconnectReason reason, const std::string& sentence, milliseconds delay) {
  probe_.Count(reason);
  bool blocked = reason == ReconnectReason::kBlocked;
  probe_.state = blocked ? PipelineState::kBlocked : PipelineState::kConnecting;
  probe_.last_error.Set(sentence);
  log::Warning("pipeline", sentence, {{"retry_ms", delay.count()}});
  feed_.UpstreamDown(sentence);
  // Whole lines stay: they are committed and PostgreSQL repeats them under the same cursor. The
  // held one is repeated too.
  if (encoder_) encoder_->Drop();
  bool streamed = std::exchange(stream_, nullptr) != nullptr;
  bool poisoned = streamed && open_ && reason != ReconnectReason::kEnded && !blocked &&
                  upstream_.poison().Met(*open_);
  if (poisoned) return Stick(sentence);
  Pause(delay);
}

// More attempts do not help, and each makes the server decode everything up to the failure.
void Pipeline::Stick(const std::string& sentence) {
  Poison& poison = upstream_.poison();
  std::string whole = poison.Advice() + "; it fails with: " + sentence;
  probe_.state = PipelineState::kStuck;
  probe_.last_error.Set(whole);
  log::Error("pipeline", whole);
  feed_.UpstreamDown(whole);
  Pause(kStuckPause, [&poison] { return poison.MaySkip(); });
  if (stopping_ || !poison.MaySkip()) return;
  try {
    AwaitSpace();
    poison.Skip(journal_, whole);
    ++probe_.skipped;
    probe_.Tell("transaction_skipped", whole);
  } catch (const journal::Error& error) {
    if (error.kind() != journal::Error::Kind::kDiskFull) throw;
    log::Error("pipeline", error.what());  // the wish stays until there is space
  }
}

void Pipeline::Pause(milliseconds delay, const std::function<bool()>& wakes) {
  auto end = adapter::Clock::now() + delay;
  while (!stopping_ && adapter::Clock::now() < end && !(wakes && wakes())) {
    probe_.Beat();
    pollfd wake{wake_fd_, POLLIN, 0};
    auto left = std::chrono::duration_cast<milliseconds>(end - adapter::Clock::now());
    poll(&wake, 1, static_cast<int>(std::clamp<long>(left.count(), 1, 1000)));
  }
}

void Pipeline::ReportPositions(const replication::Stream& stream) {
  probe_.Beat();
  auto received = std::max(stream.received(), safe_);  // before what it repeats has come
  probe_.received_position.store(received.bytes(), std::memory_order_relaxed);
  probe_.appended_position.store(safe_.bytes(), std::memory_order_relaxed);
  probe_.durable_position.store(journal_.durable().bytes(), std::memory_order_relaxed);
  probe_.confirmed_position.store(stream.confirmed().bytes(), std::memory_order_relaxed);
}

}  // namespace syncflow
