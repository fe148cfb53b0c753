#include "replication/wal_message.h"

#include <cstdint>

#include "replication/error.h"

namespace syncflow::replication {
namespace {

constexpr size_t kXLogDataHeader = 1 + 8 + 8 + 8;
constexpr size_t kKeepaliveSize = 1 + 8 + 8 + 1;
constexpr std::chrono::seconds kPostgresEpoch{946'684'800};  // 2000-01-01 after 1970-01-01

uint64_t ReadUint64(std::string_view bytes, size_t at) {
  uint64_t value = 0;
  for (size_t i = 0; i < 8; ++i) value = value << 8 | static_cast<unsigned char>(bytes[at + i]);
  return value;
}

void AppendUint64(std::string& out, uint64_t value) {
  for (int shift = 56; shift >= 0; shift -= 8) out.push_back(static_cast<char>(value >> shift));
}

XLogData ParseXLogData(std::string_view bytes) {
  if (bytes.size() < kXLogDataHeader) throw DecodeError("an XLogData message is cut short");
  return {Lsn(ReadUint64(bytes, 1)), Lsn(ReadUint64(bytes, 9)), bytes.substr(kXLogDataHeader)};
}

Keepalive ParseKeepalive(std::string_view bytes) {
  if (bytes.size() != kKeepaliveSize) throw DecodeError("a keepalive message has the wrong size");
  return {Lsn(ReadUint64(bytes, 1)), bytes[17] != 0};
}

}  // namespace

WalMessage ParseWalMessage(std::string_view bytes) {
  if (bytes.empty()) throw DecodeError("a replication message is empty");
  if (bytes[0] == 'w') return ParseXLogData(bytes);
  if (bytes[0] == 'k') return ParseKeepalive(bytes);
  throw DecodeError("a replication message has the unknown kind " +
                    std::to_string(static_cast<unsigned char>(bytes[0])));
}

std::string EncodeStatusUpdate(const StatusUpdate& update) {
  using std::chrono::microseconds;
  auto sent_at =
      std::chrono::duration_cast<microseconds>(update.sent_at.time_since_epoch() - kPostgresEpoch);
  std::string out;
  out.reserve(34);
  out.push_back('r');
  AppendUint64(out, update.written.bytes());
  AppendUint64(out, update.flushed.bytes());
  AppendUint64(out, update.applied.bytes());
  AppendUint64(out, static_cast<uint64_t>(sent_at.count()));
  out.push_back(update.reply_requested ? 1 : 0);
  return out;
}

}  // namespace syncflow::replication
