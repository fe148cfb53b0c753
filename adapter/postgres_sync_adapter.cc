#include "adapter/postgres_sync_adapter.h"

#include <stdexcept>

namespace syncflow::adapter {

PostgresSyncAdapter::PostgresSyncAdapter(AdapterOptions options)
    : options_(std::move(options)), pool_(options_.pool) {}

PostgresSyncAdapter::~PostgresSyncAdapter() {
  Disconnect();
}

// The server may have gone between the pool's look at a connection and the work on it.
template <typename Work>
auto PostgresSyncAdapter::WithConnection(const Work& work) {
  try {
    auto connection = pool_.Borrow();
    return work(*connection);
  } catch (const Error& error) {
    if (!error.NeedsReconnect()) throw;
  }
  auto connection = pool_.Borrow();
  return work(*connection);
}

void PostgresSyncAdapter::Initialize() {
  WithConnection(
      [&](Connection& connection) { CreateSchema(connection, options_.schema, options_.notify); });
}

void PostgresSyncAdapter::Disconnect() {
  {
    std::lock_guard held(mutex_);
    disconnected_ = true;
    for (ChangeListener* listener : listeners_) listener->Stop();
  }
  pool_.Close();
}

std::vector<Operation> PostgresSyncAdapter::GetChanges(const ChangesRequest& request) {
  return WithConnection([&](Connection& connection) {
    return adapter::GetChanges(connection, options_.schema, request);
  });
}

Acceptance PostgresSyncAdapter::AcceptOperations(const std::vector<Operation>& operations) {
  return WithConnection([&](Connection& connection) {
    return adapter::AcceptOperations(connection, options_.schema, operations);
  });
}

Acceptance PostgresSyncAdapter::AcceptOperationsJson(std::string_view array) {
  return WithConnection([&](Connection& connection) {
    return adapter::AcceptOperationsJson(connection, options_.schema, array);
  });
}

std::optional<std::string> PostgresSyncAdapter::GetDocument(const std::string& collection,
                                                            const std::string& id) {
  return WithConnection([&](Connection& connection) {
    return adapter::GetDocument(connection, options_.schema, collection, id);
  });
}

std::vector<std::string> PostgresSyncAdapter::QueryDocuments(const std::string& collection,
                                                             const DocumentQuery& query) {
  return WithConnection([&](Connection& connection) {
    return adapter::QueryDocuments(connection, options_.schema, collection, query);
  });
}

Stats PostgresSyncAdapter::GetStats() {
  return WithConnection(
      [&](Connection& connection) { return adapter::GetStats(connection, options_.schema); });
}

CompactResult PostgresSyncAdapter::Compact(const CompactOptions& options) {
  Connection connection(options_.pool.connect);
  return adapter::Compact(connection, options_.schema, options);
}

void PostgresSyncAdapter::ListenForChanges(const ChangeEvents& events) {
  if (options_.notify == NotifyMode::kOff)
    throw std::logic_error("listening needs the trigger: NotifyMode::kTrigger, or read the feed");
  ChangeListenerOptions options;
  options.connect = options_.pool.connect;
  options.schema = options_.schema;
  ChangeListener listener(options);
  {
    std::lock_guard held(mutex_);
    if (disconnected_) return;
    listeners_.insert(&listener);
  }
  struct Leave {
    PostgresSyncAdapter& self;
    ChangeListener* listener;
    ~Leave() {
      std::lock_guard held(self.mutex_);
      self.listeners_.erase(listener);
    }
  } leave{*this, &listener};
  listener.Run(events);
}

}  // namespace syncflow::adapter
