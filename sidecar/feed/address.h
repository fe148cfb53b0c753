#pragma once

#include <asio/ip/tcp.hpp>
#include <string>

namespace syncflow::feed {

// host:port or [v6]:port, numeric or localhost. Throws std::runtime_error with a sentence that
// names feed.listen.
asio::ip::tcp::endpoint ParseAddress(const std::string& listen);

}  // namespace syncflow::feed
