#include "sidecar/feed/address.h"

#include <charconv>
#include <stdexcept>

namespace syncflow::feed {
namespace {

[[noreturn]] void Refuse(const std::string& listen) {
  throw std::runtime_error(
      "feed.listen '" + listen +
      "' is no address: write it like 127.0.0.1:7433, 0.0.0.0:7433 or [::1]:7433");
}

}  // namespace

asio::ip::tcp::endpoint ParseAddress(const std::string& listen) {
  size_t colon = listen.rfind(':');
  if (colon == std::string::npos) Refuse(listen);
  std::string host = listen.substr(0, colon);
  std::string port_text = listen.substr(colon + 1);
  uint16_t port = 0;
  auto [end, error] = std::from_chars(port_text.data(), port_text.data() + port_text.size(), port);
  if (port_text.empty() || error != std::errc() || end != port_text.data() + port_text.size())
    Refuse(listen);
  bool brackets = host.starts_with('[') && host.ends_with(']');
  if (brackets) host = host.substr(1, host.size() - 2);
  if (host == "localhost") host = "127.0.0.1";
  std::error_code wrong;
  auto address = asio::ip::make_address(host, wrong);
  if (wrong || address.is_v6() != brackets) Refuse(listen);
  return {address, port};
}

}  // namespace syncflow::feed
