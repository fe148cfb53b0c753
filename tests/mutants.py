"""Real bugs of this kind of program, planted one at a time; the tests must catch each.

Each mutant replaces a text that occurs exactly once (`--check` tells, without building, whether all still do), is built
without sanitizers in build/mutants, and runs only the tests that ought to notice. A mutant that survives is a hole in the
tests. `scripts/test --mutants` runs them; words after it choose by name.

A test is a black-box script with its arguments, or a GoogleTest program with a filter.
"""

import argparse
import fcntl
import os
import shutil
import subprocess
import sys
import time
from dataclasses import dataclass

ROOT = os.path.abspath(os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))
WORK = os.path.join(ROOT, "build", "mutants")
COPIED = ["CMakeLists.txt", "CMakePresets.json", "cmake", "adapter", "replication", "sidecar", "config", "tests", "README.md",
          "LICENSE", "CHANGELOG.md", ".clang-tidy", ".clang-format", "examples"]
PATIENCE = "30"  # seconds of a wait inside a test
LIMIT = 120  # seconds; what hangs has noticed something


@dataclass
class Mutant:
    name: str
    bug: str  # who had it, or what it would be
    file: str
    old: str
    new: str
    tests: list  # of words


def blackbox(script, *words):
    return [f"{script}_test.py", *words]


KILLS = ["torture.py", "--rounds", "6", "--seed", "3", "--faults", "sidecar,sidecar twice,server,sidecar and server,walsender,consumer"]

MUTANTS = [
    # ---- positions ----
    Mutant("ack-on-receive", "go-pq-cdc 7076c0c", "sidecar/pipeline.cc",
           "  if (SpeaksOfThisStream(stream)) stream.Confirm(std::min(journal_.durable(), stream.received()));\n  stream.SendStatusIfDue();",
           "  stream.Confirm(stream.received());\n  stream.SendStatusIfDue();", [blackbox("stall", "-k", "P3")]),
    Mutant("heartbeat-waits-for-standby", "a transaction open for ever, which every new slot waits for", "sidecar/slot_watch.cc",
           "SET synchronous_commit = local", "SET synchronous_commit = on", [blackbox("snapshot", "-k", "own_heartbeats")]),
    Mutant("ack-too-high", "PostgreSQL believes any position (P4)", "replication/stream.cc",
           "StatusUpdate update{received_, durable_, durable_,", "StatusUpdate update{received_, Lsn(durable_.bytes() + (1 << 20)), durable_,",
           [KILLS]),
    Mutant("confirmed-for-another-stream", "a position recorded before a restore", "sidecar/pipeline.cc",
           "  if (journal_.durable() > resumed_) return true;", "  return true;", [blackbox("stall", "-k", "P7")]),
    Mutant("recorded-is-durable", "durable before fdatasync", "sidecar/journal/journal.cc",
           "  return state_->durable;\n}", "  return state_->recorded;\n}", [["journal_test", "SyncTest*"]]),
    Mutant("no-sync", "NATS JetStream", "sidecar/journal/file.cc",
           'if (fdatasync(fd_) != 0) Throw("sync");', "", [["power_loss_test", "*"]]),
    Mutant("folder-not-synced", "a file whose name a power cut takes away", "sidecar/journal/file.cc",
           "  int result = fsync(fd);", "  int result = 0;", [["power_loss_test", "*"]]),
    Mutant("lines-not-checked", "an index entry whose lines never came to the disk", "sidecar/journal/recovery.cc",
           "Crc32c(data_.ReadAt(entry.offset, entry.length)) != entry.data_crc", "false", [["power_loss_test", "*"]]),
    Mutant("unsaved-acks-let-go", "history_lost after a crash for a consumer that is not behind", "sidecar/journal/consumers.cc",
           "position = std::min(position, entry.saved->position);", ";", [["journal_test", "ConsumersTest*"]]),
    Mutant("retry-after-failed-sync", "PostgreSQL's fsyncgate", "sidecar/journal/journal.cc",
           "    return Fail(error.what());", "    held.lock(); dirty = true; return;", [["journal_test", "SyncTest*"]]),
    Mutant("index-before-lines", "an index that points beyond its file", "sidecar/journal/segment.cc",
           "  data_.Sync();\n  index_.Sync();\n}", "  index_.Sync();\n  data_.Sync();\n}", [["journal_test", "SyncTest*"]]),
    Mutant("no-keepalive-ack", "go-pq-cdc 50b5285", "sidecar/pipeline.cc",
           "  Progressed(keepalive.wal_end);", "", [blackbox("slot_life", "-k", "P15")]),
    Mutant("keepalive-ack-inside-a-transaction", "P14: the rest of it is forgotten", "sidecar/pipeline.cc",
           "  if (open_) return;\n", "", [blackbox("faults", "-k", "P14")]),
    Mutant("keepalive-on-request-only", "wal2json#270", "replication/stream.cc",
           "    if (!held || adapter::Clock::now() < next_status_) continue;", "    continue;", [blackbox("stall", "-k", "S7")]),
    Mutant("hanging-disk-keeps-the-server-up", "S9", "sidecar/pipeline.cc",
           "if (journal_.stall() < kStallMax) return false;", "return false;", [blackbox("stall", "-k", "S9")]),

    # ---- transactions ----
    Mutant("skip-by-commit-lsn", "debezium#7531: a group with one LSN counted once", "sidecar/pipeline.cc",
           "  if (journal::Position{change.commit_lsn, change.index} <= journal_.appended())",
           "  if (change.commit_lsn <= journal_.appended().commit_lsn)", [["pipeline_pgtest", "*"], KILLS]),
    Mutant("repeated-is-new", "debezium#4152: < where <= belongs", "sidecar/pipeline.cc",
           "  if (journal::Position{change.commit_lsn, change.index} <= journal_.appended())",
           "  if (journal::Position{change.commit_lsn, change.index} < journal_.appended())", [KILLS]),
    Mutant("last-change-dropped", "go-pq-cdc#85", "sidecar/pipeline.cc",
           "    AppendHeld(true);", "    encoder_->Drop();", [blackbox("commands"), blackbox("bad_slot", "-k", "another_plugin")]),
    Mutant("index-goes-on", "numbering that depends on the connection", "replication/pgoutput.cc",
           "  change.index = 0;\n", "", [["replication_test", "PgOutput*"]]),
    Mutant("stale-relation", "a relation cache that is never replaced", "replication/pgoutput.cc",
           "  relations[id] = std::move(relation);", "  relations.emplace(id, std::move(relation));", [["replication_test", "PgOutput*"]]),
    Mutant("integer-by-double", "pgstream 2dd6e3e", "replication/pgoutput.cc",
           "  return value;\n}", "  return static_cast<int64_t>(static_cast<double>(value));\n}", [["replication_test", "PgOutput*"]]),

    # ---- history ----
    Mutant("start-at-the-servers-end", "pgcapture#56", "sidecar/upstream.cc",
           "    return poison_.Behind(slot->confirmed_flush);", "    return poison_.Behind(system.flushed);", [KILLS]),
    Mutant("lost-slot-made-anew-in-silence", "Debezium's documentation", "sidecar/upstream.cc",
           '  if (!slot) return "the replication slot \'" + options_.slot + "\' is gone (a failover keeps none)";',
           '  if (!slot) return "";', [blackbox("healing", "-k", "S4_slot_dropped_while")]),
    Mutant("slot-is-trusted", "Debezium's trust_slot", "sidecar/upstream.cc",
           "  if (slot->confirmed_flush <= journal_.recorded()) return suspicion_;", "  return suspicion_;", [blackbox("healing", "-k", "P6")]),
    Mutant("new-journal-asks-no-questions", "a journal lost while its slot stands", "sidecar/upstream.cc",
           "      journal_.Bind(identity, kBeginning, loss);\n", "", [blackbox("healing", "-k", "P27_journal")]),
    Mutant("start-is-trusted", "a slot that was moved after the look at it", "sidecar/pipeline.cc",
           "  upstream_.RequireUnmoved();\n", "", [blackbox("healing", "-k", "P6_slot_advanced_between")]),
    Mutant("invalidated-slot-is-tried", "timescaledb-event-streamer#316", "sidecar/upstream.cc",
           "  if (replication::IsInvalidated(*slot)) {\n    return", "  if (false) {\n    return", [blackbox("healing", "-k", "S1")]),
    Mutant("everything-recovered-twice", "a snapshot without an anti-join", "sidecar/reconcile.cc",
           "if (!known.Contains(row.Get(0, 0))) Append(row);", "Append(row);", [blackbox("healing", "-k", "S4")]),
    Mutant("half-recovered-is-taken-for-removed", "a first start that was cut off in one large transaction", "sidecar/reconcile.cc",
           "journal_.earliest().base.commit_lsn > kBeginning && oldest.xid != 0", "oldest.xid != 0",
           [blackbox("healing", "-k", "large_transaction")]),
    Mutant("another-snapshot", "connect#4584: the snapshot is not the slot's", "sidecar/reconcile.cc",
           '    connection_.Execute("SET TRANSACTION SNAPSHOT " + connection_.QuoteLiteral(slot_.snapshot));\n', "",
           [blackbox("healing", "-k", "S4_slot_dropped_under", "-k", "P27_operations")]),
    Mutant("fork-is-not-noticed", "a restored server (P7)", "sidecar/pipeline.cc",
           "  if (contradiction) upstream_.Forked(*contradiction);", "", [blackbox("bad_history", "-k", "P7_server")]),
    Mutant("server-behind-is-not-noticed", "P5", "sidecar/upstream.cc",
           "  if (bound && journal_.recorded() > system.flushed) {", "  if (false) {", [blackbox("bad_history", "-k", "P5")]),
    Mutant("failover-forgets-the-switch-point", "P8", "sidecar/upstream.cc",
           "  if (journal_.recorded() > *at || journal_.appended().commit_lsn >= *at) {", "  if (false) {",
           [blackbox("healing", "-k", "P8_standby")]),
    Mutant("renamed-table-is-not-noticed", "W12", "sidecar/pipeline.cc",
           "  if (!replication::IsSameTable(upstream_.table_version(), sight.table_version))", "  if (false)",
           [blackbox("slot_life", "-k", "W12_not_logged_for_a_moment")]),
    Mutant("table-is-forgotten-at-the-end", "W12: changed while no sidecar ran", "sidecar/upstream.cc",
           "  if (slot->confirmed_flush <= journal_.recorded()) return suspicion_;",
           '  if (slot->confirmed_flush <= journal_.recorded()) return "";', [blackbox("slot_life", "-k", "W12_renamed_while")]),
    Mutant("publication-is-not-looked-at", "O6", "replication/table_version.cc",
           "  return publication.empty() || publication_now.empty() || publication == publication_now;", "  return true;",
           [blackbox("bad_slot", "-k", "O6")]),
    Mutant("half-open-for-ever", "RisingWave#25199", "sidecar/pipeline.cc",
           "      sight.reader != upstream_.walsender())", "      false)", [blackbox("slot_life", "-k", "P23_half")]),
    Mutant("young-publication-is-read", "O1: left out in silence", "sidecar/upstream.cc",
           "  if (!ReadsPublication(connection)) {\n    NoteHole", "  if (false) {\n    NoteHole", [blackbox("bad_slot", "-k", "lost_its_publication")]),
    Mutant("living-reader-is-ended", "P22", "sidecar/upstream.cc",
           "  if (reader_.pid != pid || reader_.heard != heard) reader_ = {pid, heard, now};",
           "  if (reader_.pid != pid) reader_ = {pid, heard, now};", [blackbox("slot_life", "-k", "P22_living")]),
    Mutant("skipped-without-a-gap", "D9", "sidecar/poison.cc",
           '  AppendGap(journal, at, "transaction_skipped", reason);\n', "", [blackbox("poison", "-k", "wal2json")]),
    Mutant("skips-whatever-is-stuck", "D9: any wish skips any transaction", "sidecar/poison.cc",
           "  return times_ > 0 && journal::AskedToSkip(folder_) == met_.commit_lsn;",
           "  return times_ > 0 && journal::AskedToSkip(folder_).has_value();", [blackbox("poison", "-k", "wal2json")]),

    # ---- journal and feed ----
    Mutant("no-checksum", "a torn write is read", "sidecar/journal/recovery.cc",
           "    if (!trusted && Crc32c(data_.ReadAt(entry.offset, entry.length)) != entry.data_crc)\n      return false;\n", "",
           [["journal_test", "*"]]),
    Mutant("below-retention-without-a-word", "resumes at the oldest in silence", "sidecar/journal/journal.cc",
           "  std::shared_ptr<Segment> segment = state_->SegmentOf(position);\n  if (!segment) return Miss::kLost;",
           "  std::shared_ptr<Segment> segment = state_->SegmentOf(position);\n  if (!segment) return earliest().offset;",
           [["journal_test", "*"], ["feed_test", "*"]]),
    Mutant("held-back-is-shown", "cursors that may change", "sidecar/journal/journal.cc",
           "  if (!held_back) announced = head;", "  announced = head;", [["journal_test", "*"]]),
    Mutant("bookmark-ahead-of-data", "etcd#15220", "sidecar/feed/session_send.cc",
           "  control_ += LiveLine(CursorAt(delivery_.delivered()));", "  control_ += LiveLine(CursorAt({replication::Lsn(~0ull), 0}));",
           [["feed_test", "*"]]),
    Mutant("documents-of-another-moment", "supabase/realtime#303: snapshot and tail joined by hand", "sidecar/documents_reader.cc",
           '    rows.Execute("SET TRANSACTION SNAPSHOT " + rows.QuoteLiteral(slot.snapshot));\n', "",
           [blackbox("snapshot", "-k", "every_look")]),
    Mutant("tail-begins-at-the-head", "what was committed during the download is skipped", "sidecar/feed/session_send.cc",
           "  delivery_.Start(offset, position);\n}", "  delivery_.Start(hub_.journal.head().offset, position);\n}",
           [["feed_test", "FromSnapshot*"]]),
    Mutant("every-change-is-the-last", "transaction boundaries that lie", "sidecar/feed/encode.cc",
           '  line_.insert(last_at_, last ? "true" : "false");', '  line_.insert(last_at_, "true");', [["feed_test", "Encoder*"]]),
    Mutant("gap-is-passed-over", "the place behind a gap is kept before the gap is told", "sidecar/feed/session_start.cc",
           "  return behind ? CursorAt(delivery_.delivered()) : hello_->cursor;", "  return CursorAt(delivery_.delivered());",
           [["feed_test", "Named*"]]),
    Mutant("names-of-others", "whoever has a token moves everybody's places", "sidecar/feed/session_start.cc",
           "  if (owner.empty() || owner == Token()) return true;", "  return true;", [["feed_test", "Guarded*"]]),
    Mutant("compaction-without-a-limit", "a clock that jumped deletes everything", "adapter/compact.cc",
           "std::min(result_.eligible, share);", "result_.eligible;", [["compact_pgtest", "*"]]),
    Mutant("compaction-counts-anew", "each attempt takes a share of what the one before has left", "sidecar/compaction/scheduler.cc",
           "    if (IsLimited()) options.deleted_max = run_.left;\n", "", [["scheduler_pgtest", "*"]]),
    Mutant("compaction-of-what-came-late", "what a client stored after a year offline goes before others pull it", "adapter/compact.cc",
           "greatest(o.timestamp, extract(epoch FROM o.received_at) * 1000)", "o.timestamp", [["compact_pgtest", "*"]]),
    Mutant("compaction-without-a-fence", "what is not in the journal yet is deleted", "adapter/compact.cc",
           '"age(o.writer) > age($8::text::xid8::xid)) AND "', '"true) AND "',
           [["compact_pgtest", "*"]]),
    Mutant("compaction-ahead-of-the-journal", "what the journal does not hold durably is deleted", "sidecar/compaction/fence.cc",
           "journal_.durable() < server.position", "false", [["fence_pgtest", "*"]]),
    Mutant("compaction-of-a-changed-table", "what the stream has left out is deleted", "sidecar/compaction/fence.cc",
           "  if (!replication::IsSameTable(", "  if (false && !replication::IsSameTable(", [["fence_pgtest", "*"]]),
    Mutant("compaction-without-the-snapshot", "what was committed behind the fence is deleted", "sidecar/compaction/scheduler.cc",
           "    options.written_before = passed.written_before;\n", "", [["scheduler_pgtest", "*"]]),
    Mutant("compaction-of-a-namesake", "rows of a table that took the name are deleted", "sidecar/compaction/scheduler.cc",
           "    options.table_oid = passed.table_oid;\n", "", [["scheduler_pgtest", "*"]]),
    Mutant("compaction-without-consumers", "a consumer that the journal cannot serve is forgotten", "sidecar/compaction/fence.cc",
           "    if (needed >= earliest) continue;", "    continue;", [["fence_pgtest", "*"]]),
    Mutant("consumers-by-the-wall-clock", "a clock that jumped makes who is away forgotten", "sidecar/journal/consumers.h",
           " && missed > age", "", [["journal_test", "ConsumersTest*"], ["fence_pgtest", "*"]]),
    Mutant("compaction-everywhere", "two sidecars run a job at once", "sidecar/compaction/scheduler.cc",
           """  if (locked.Get(0, 0) != "t") return false;""", "", [["scheduler_pgtest", "*"]]),
    Mutant("compaction-forgets-the-newest", "keep_last counts one too few", "adapter/compact.cc",
           "greatest($9::bigint - 1, 0)", "greatest($9::bigint - 2, 0)", [["compact_pgtest", "*"]]),
]


def source(mutant):
    return os.path.join(ROOT, mutant.file)


def check():
    """Sentences about mutants whose text is not there exactly once."""
    wrong = []
    for mutant in MUTANTS:
        with open(source(mutant), encoding="utf-8") as file:
            count = file.read().count(mutant.old)
        if count != 1:
            wrong.append(f"{mutant.name}: its text occurs {count} times in {mutant.file}")
    return wrong


def copy_tree():
    tree = os.path.join(WORK, "tree")
    os.makedirs(tree, exist_ok=True)
    for name in COPIED:
        path = os.path.join(ROOT, name)
        if os.path.isdir(path):
            shutil.copytree(path, os.path.join(tree, name), dirs_exist_ok=True, copy_function=copy_if_newer)
        elif os.path.exists(path):
            copy_if_newer(path, os.path.join(tree, name))
    return tree


def copy_if_newer(path, to):
    """Keeps times, so that an earlier build is of use."""
    if not os.path.exists(to) or open(path, "rb").read() != open(to, "rb").read():
        shutil.copy2(path, to)
        os.utime(to)
    return to


def build(targets):
    command = ["cmake", "--build", os.path.join(WORK, "build"), "--target", *targets]
    return subprocess.run(command, check=False, capture_output=True, text=True)


def targets_of(tests):
    named = {words[0] for words in tests if not words[0].endswith(".py")}
    return sorted(named | {"syncflow-sidecar", "stall"})


def fails(tree, words):
    """Whether this test notices something."""
    if words[0].endswith(".py"):
        command = ["/usr/bin/python3", os.path.join(tree, "tests", "blackbox", words[0]), *words[1:]]
    else:
        command = [os.path.join(WORK, "build", words[0]), f"--gtest_filter={words[1]}"]
    environment = {
        **os.environ, "SYNCFLOW_SIDECAR": os.path.join(WORK, "build", "syncflow-sidecar"), "SYNCFLOW_PATIENCE": PATIENCE,
        "SYNCFLOW_STALL_LIBRARY": os.path.join(WORK, "build", "tests", "blackbox", "libstall.so"), "PYTHONDONTWRITEBYTECODE": "1",
    }
    with open(os.path.join(WORK, "output"), "w", encoding="utf-8") as output:
        process = subprocess.Popen(["setpriv", "--pdeathsig=KILL", *command], env=environment, stdout=output, stderr=output)
        try:
            return process.wait(timeout=LIMIT) != 0
        except subprocess.TimeoutExpired:
            process.terminate()
            process.wait()
            return True


def verdict(tree, mutant):
    path = os.path.join(tree, mutant.file)
    with open(path, encoding="utf-8") as file:
        text = file.read()
    try:
        with open(path, "w", encoding="utf-8") as file:
            file.write(text.replace(mutant.old, mutant.new))
        done = build(targets_of(mutant.tests))
        if done.returncode != 0:
            return "DOES NOT BUILD: " + done.stdout[-800:]
        return "caught" if any(fails(tree, words) for words in mutant.tests) else "SURVIVED"
    finally:
        with open(path, "w", encoding="utf-8") as file:
            file.write(text)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="only whether every text is there once")
    parser.add_argument("names", nargs="*", help="parts of names; all without")
    arguments = parser.parse_args()
    wrong = check()
    print("\n".join(wrong) or f"{len(MUTANTS)} mutants can be planted")
    if wrong or arguments.check:
        sys.exit(1 if wrong else 0)
    os.makedirs(WORK, exist_ok=True)
    alone = open(os.path.join(WORK, "lock"), "w", encoding="utf-8")  # held until the end
    try:
        fcntl.flock(alone, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        sys.exit(f"another run is planting in {WORK}")
    tree = copy_tree()
    configure = ["cmake", "-G", "Ninja", "-S", tree, "-B", os.path.join(WORK, "build"), "-DCMAKE_BUILD_TYPE=Debug",
                 "-DCMAKE_CXX_FLAGS_DEBUG=-O1", "-DSYNCFLOW_WARNINGS_ARE_ERRORS=OFF"]
    subprocess.run(configure, check=True, stdout=subprocess.DEVNULL)
    chosen = [m for m in MUTANTS if not arguments.names or any(name in m.name for name in arguments.names)]
    everything = [words for mutant in chosen for words in mutant.tests]
    done = build(targets_of(everything))
    if done.returncode != 0:
        sys.exit(done.stdout[-2000:])
    for words in sorted({tuple(words) for words in everything}):
        if fails(tree, list(words)):
            with open(os.path.join(WORK, "output"), encoding="utf-8", errors="replace") as output:
                sys.exit(f"without any mutant this fails already: {words}\n{output.read()[-4000:]}")
    survivors = 0
    for number, mutant in enumerate(chosen, 1):
        began = time.monotonic()
        outcome = verdict(tree, mutant)
        survivors += outcome != "caught"
        print(f"{number:2}/{len(chosen)} {mutant.name}: {outcome} ({time.monotonic() - began:.0f} s) [{mutant.bug}]", flush=True)
    print(f"{len(chosen) - survivors} of {len(chosen)} mutants caught")
    sys.exit(1 if survivors else 0)


if __name__ == "__main__":
    main()
