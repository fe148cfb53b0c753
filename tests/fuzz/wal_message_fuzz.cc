// The replication envelope: what is taken apart can be put together again.
#include "replication/wal_message.h"

#include "replication/error.h"
#include "tests/fuzz/expect.h"

using namespace syncflow;

namespace {

constexpr size_t kSentAt = 8;  // bytes that nobody reads

std::string BigEndian(uint64_t value) {
  std::string out;
  for (int shift = 56; shift >= 0; shift -= 8) out.push_back(static_cast<char>(value >> shift));
  return out;
}

std::string Rebuilt(const replication::XLogData& data, std::string_view sent_at) {
  std::string out = "w" + BigEndian(data.start.bytes()) + BigEndian(data.wal_end.bytes());
  return out.append(sent_at).append(data.payload);
}

void CheckKeepalive(const replication::Keepalive& keepalive, std::string_view text) {
  std::string begin = "k" + BigEndian(keepalive.wal_end.bytes());
  fuzz::Expect(text.starts_with(begin), "a keepalive names the server's position");
  fuzz::Expect(text.size() == begin.size() + kSentAt + 1, "a keepalive has one size");
  fuzz::Expect(keepalive.reply_requested == (text.back() != 0), "a keepalive may want an answer");
}

// What a client sends; the server would read it like this.
void CheckStatusUpdate(std::string_view text) {
  if (text.size() < 24) return;
  auto number = [&](size_t at) {
    uint64_t value = 0;
    for (size_t i = 0; i < 8; ++i) value = value << 8 | static_cast<uint8_t>(text[at + i]);
    return replication::Lsn(value);
  };
  replication::StatusUpdate update{number(0), number(8), number(16), {}, text.size() % 2 == 1};
  std::string encoded = replication::EncodeStatusUpdate(update);
  fuzz::Expect(encoded.size() == 34 && encoded[0] == 'r', "a status update has one form");
  fuzz::Expect(encoded.substr(1, 24) == text.substr(0, 24), "it names three positions");
  fuzz::Expect((encoded.back() != 0) == update.reply_requested, "it may want an answer");
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  std::string_view text = fuzz::Text(data, size);
  CheckStatusUpdate(text);
  try {
    auto message = replication::ParseWalMessage(text);
    if (auto* xlog = std::get_if<replication::XLogData>(&message))
      fuzz::Expect(Rebuilt(*xlog, text.substr(17, kSentAt)) == text, "XLogData holds every byte");
    if (auto* keepalive = std::get_if<replication::Keepalive>(&message))
      CheckKeepalive(*keepalive, text);
  } catch (const replication::DecodeError&) {
    bool right = size >= 25 ? text[0] == 'w' : size == 18 && text[0] == 'k';
    fuzz::Expect(!right, "only what is wrong is refused");
  }
  return 0;
}
