// host:port to listen on, as text. Pure.
#pragma once

#include <string>

namespace syncflow::config {

// 127.0.0.1:7433, [::1]:7433 or localhost:7433; port 0 picks a free one.
bool IsAddress(const std::string& text);
// Of an address: only this machine can reach it.
bool IsLoopback(const std::string& address);

}  // namespace syncflow::config
