// SyncFlow's PostgreSQL adapter: its nine methods over a pool of connections. Each is one function
// of the headers below, where shapes, units and errors stand; this class lends it a connection.
#pragma once

#include <mutex>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "adapter/accept.h"
#include "adapter/change_listener.h"
#include "adapter/changes.h"
#include "adapter/compact.h"
#include "adapter/documents.h"
#include "adapter/pool.h"
#include "adapter/schema.h"

namespace syncflow::adapter {

struct AdapterOptions {
  PoolOptions pool;
  std::string schema = "public";
  NotifyMode notify = NotifyMode::kTrigger;
};

// Used by any thread. A call whose connection is lost is made once more on a new one, since each
// can be repeated without harm; only compact is not, its caller decides. Throws Error.
class PostgresSyncAdapter {
 public:
  explicit PostgresSyncAdapter(AdapterOptions options);  // opens nothing yet
  ~PostgresSyncAdapter();
  PostgresSyncAdapter(const PostgresSyncAdapter&) = delete;
  PostgresSyncAdapter& operator=(const PostgresSyncAdapter&) = delete;

  // Creates what is missing of SyncFlow's schema.
  void Initialize();
  // Ends ListenForChanges and closes the connections; calls under way end first. For good.
  void Disconnect();

  std::vector<Operation> GetChanges(const ChangesRequest& request);
  Acceptance AcceptOperations(const std::vector<Operation>& operations);
  Acceptance AcceptOperationsJson(std::string_view array);
  std::optional<std::string> GetDocument(const std::string& collection, const std::string& id);
  std::vector<std::string> QueryDocuments(const std::string& collection,
                                          const DocumentQuery& query);
  Stats GetStats();
  CompactResult Compact(const CompactOptions& options);  // on a connection of its own
  // On the caller's thread until Disconnect, with two connections of its own. Throws
  // std::logic_error without the trigger: nothing would be heard.
  void ListenForChanges(const ChangeEvents& events);

  PoolProbe pool_probe() const { return pool_.probe(); }

 private:
  template <typename Work>
  auto WithConnection(const Work& work);

  AdapterOptions options_;
  Pool pool_;
  std::mutex mutex_;
  bool disconnected_ = false;
  std::set<ChangeListener*> listeners_;
};

}  // namespace syncflow::adapter
