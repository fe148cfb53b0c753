// What depends on the server's version, all of it. Numbers as PQserverVersion gives them.
#pragma once

namespace syncflow::replication {

inline constexpr int kOldestServer = 140'000;

// Row filters and column lists.
constexpr bool HasPublicationFilters(int server) {
  return server >= 150'000;
}
// Slots that standbys keep as well.
constexpr bool HasFailoverSlots(int server) {
  return server >= 170'000;
}

// The end of CREATE_REPLICATION_SLOT … LOGICAL …, with a snapshot to read the table under.
constexpr const char* ExportSnapshot(int server) {
  if (HasFailoverSlots(server)) return " (SNAPSHOT 'export', FAILOVER true)";
  return server >= 150'000 ? " (SNAPSHOT 'export')" : " EXPORT_SNAPSHOT";
}
// The same for a slot that only tries whether it can be made.
constexpr const char* NoSnapshot(int server) {
  return server >= 150'000 ? " (SNAPSHOT 'nothing')" : " NOEXPORT_SNAPSHOT";
}

}  // namespace syncflow::replication
