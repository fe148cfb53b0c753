// Connection strings as text: what SyncFlow adds to libpq's, and what may be shown of them. Pure.
#pragma once

#include <optional>
#include <string>

namespace syncflow::adapter {

// N of ?max=N (SyncFlow's pool size, a parameter libpq does not know); nullopt without it. Throws
// std::invalid_argument when N is no number from 1 to 1000.
std::optional<int> PoolMaxOf(const std::string& url);

// The connection string as libpq takes it: without max=N.
std::string WithoutPoolMax(const std::string& url);

// For messages: every password replaced by ***. What cannot be told apart is masked with it.
std::string MaskPassword(const std::string& url);

}  // namespace syncflow::adapter
