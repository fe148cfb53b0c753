// A journal in a folder of its own, with the verbs of the domain.
#pragma once

#include <gtest/gtest.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <functional>
#include <memory>
#include <sstream>
#include <string>
#include <thread>
#include <vector>

#include "sidecar/journal/journal.h"

namespace syncflow::journal {

using replication::Lsn;

class JournalRig : public ::testing::Test {
 protected:
  JournalRig() {
    std::string name = (Temporary() / "syncflow-journal-XXXXXX").string();
    options_.directory = mkdtemp(name.data());
    options_.allow_any_filesystem = true;  // a test runs wherever the temporary folder is
    options_.sync_interval = std::chrono::milliseconds(1);
  }
  ~JournalRig() override {
    journal_.reset();
    std::filesystem::remove_all(options_.directory);
  }

  static Identity Home() {
    return {"7300000000000000001", 1, "app", "public.operations", "syncflow_sidecar"};
  }

  Journal& Open() {
    journal_.reset();
    journal_ = std::make_unique<Journal>(options_);
    epoch_ = journal_->Bind(Home(), Lsn(kStart));
    return *journal_;
  }
  Journal& Reopen() { return Open(); }
  void Close() { journal_.reset(); }

  // Ends the journal as kill -9 does: the files as they were, without its closing sync and seals.
  void Crash() {
    std::filesystem::path copy = options_.directory;
    copy += "-copy";
    std::filesystem::create_directory(copy);
    // The sync thread may be removing the oldest meanwhile; in this order the copy has no hole that
    // a disk would not have: newest first, and the index before its lines.
    std::vector<std::filesystem::path> files;
    for (const auto& file : std::filesystem::directory_iterator(options_.directory))
      files.push_back(file.path());
    std::sort(files.begin(), files.end(), [](const auto& a, const auto& b) {
      return a.stem() != b.stem() ? a.stem() > b.stem() : a.extension() < b.extension();
    });
    for (const auto& file : files) {
      std::error_code gone;
      std::filesystem::copy(file, copy / file.filename(), gone);
    }
    Close();
    std::filesystem::remove_all(options_.directory);
    std::filesystem::rename(copy, options_.directory);
  }

  std::string LineAt(Position position, size_t size = 0) const {
    std::string line = "{\"type\":\"change\",\"cursor\":\"" + Cursor{epoch_, position}.ToString() +
                       "\",\"pad\":\"";
    line.append(size > line.size() + 3 ? size - line.size() - 3 : 0,
                static_cast<char>('a' + position.index % 26));
    return line + "\"}\n";
  }

  // One transaction of `lines` lines at `commit`; flushed, with the following LSN safe.
  void Append(uint64_t commit, int lines, size_t size = 100) {
    for (int i = 0; i < lines; ++i) {
      Position position{Lsn(commit), static_cast<uint64_t>(i)};
      std::string line = LineAt(position, size);
      journal_->Append(position, line);
      written_ += line;
    }
    journal_->Flush(Lsn(commit + 8));
  }

  void WaitDurable() {
    journal_->SyncSoon();
    while (journal_->durable() < journal_->recorded())
      std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }

  void WaitDurableOrFailed() {
    journal_->SyncSoon();
    while (journal_->durable() < journal_->recorded() && !journal_->sync_failure())
      std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }

  // Everything from `offset` to the head by segment files; stops where a piece is missing.
  std::string ReadFiles(uint64_t offset, uint64_t max_bytes = 100'000) const {
    std::string out;
    while (offset < journal_->head().offset) {
      auto found = journal_->Read(offset, max_bytes);
      if (std::holds_alternative<Miss>(found)) return out;
      auto slice = std::get<Slice>(found);
      std::string piece(slice.length, '\0');
      EXPECT_EQ(pread(slice.fd, piece.data(), piece.size(), static_cast<off_t>(slice.file_offset)),
                static_cast<ssize_t>(piece.size()));
      EXPECT_EQ(piece.back(), '\n');
      out += piece;
      offset += slice.length;
    }
    return out;
  }

  // The same from memory; stops where memory does not reach.
  std::string ReadTail(uint64_t offset, uint64_t max_bytes = 100'000) const {
    std::string out;
    for (;;) {
      auto view = journal_->Tail(offset, max_bytes);
      if (!view || view->bytes.empty()) return out;
      out += view->bytes;
      offset += view->bytes.size();
    }
  }

  // What `action` is refused with; the sentence is kept.
  Error::Kind Refusal(const std::function<void()>& action) {
    sentence_.clear();
    try {
      action();
    } catch (const Error& error) {
      sentence_ = error.what();
      return error.kind();
    }
    ADD_FAILURE() << "nothing was refused";
    return Error::Kind::kIo;
  }

  std::vector<std::filesystem::path> Files(const std::string& extension) const {
    std::vector<std::filesystem::path> out;
    for (const auto& file : std::filesystem::directory_iterator(options_.directory)) {
      if (file.path().extension() == extension) out.push_back(file.path());
    }
    std::sort(out.begin(), out.end());
    return out;
  }

  static std::string Content(const std::filesystem::path& path) {
    std::ifstream in(path, std::ios::binary);
    std::stringstream text;
    text << in.rdbuf();
    return text.str();
  }
  static void Put(const std::filesystem::path& path, const std::string& content) {
    std::ofstream(path, std::ios::binary | std::ios::trunc) << content;
  }

  // Memory where there is some: most of these tests reopen a journal a thousand times.
  static std::filesystem::path Temporary() {
    return access("/dev/shm", W_OK) == 0 ? "/dev/shm" : std::filesystem::temp_directory_path();
  }

  static constexpr uint64_t kStart = 0x1000;
  Options options_;
  std::unique_ptr<Journal> journal_;
  Epoch epoch_{};
  std::string written_;  // every line appended, in order
  std::string sentence_;
};

}  // namespace syncflow::journal
